//! The book on paper: Chromium prints the page that holds all chapters.
//!
//! Chromium is the only program that this crate starts besides the transcripts' own commands. It runs
//! headless with a profile of its own that is thrown away, and reads the page from the disk: it has no reason
//! to ask the network for anything, and the flags tell it not to.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::site::Site;

/// Names under which distributions install it.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Flags for a browser that shows nothing, asks nobody, and keeps nothing.
pub const QUIET: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
];

/// The installed Chromium: `GANTRY_CHROMIUM`, or the first of its usual names on the PATH.
pub fn chromium() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("GANTRY_CHROMIUM") {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    NAMES.iter().find_map(|name| folders.iter().map(|folder| folder.join(name)).find(|file| file.is_file()))
}

/// Prints the built book of `site` to `gantry.pdf` beside its output.
///
/// # Errors
/// There is no Chromium, or it fails.
pub fn print(site: &Site) -> Result<()> {
    let Some(chromium) = chromium() else {
        bail!(
            "printing needs Chromium: `apt install chromium`, `dnf install chromium`, or name yours in GANTRY_CHROMIUM; or open {} in any browser and print it there",
            site.out.join("print.html").display()
        );
    };
    let pdf = site.out.with_file_name("gantry.pdf");
    print_page(&chromium, &site.out.join("print.html"), &pdf)?;
    let size = std::fs::metadata(&pdf).with_context(|| format!("look at {}", pdf.display()))?.len();
    println!("{} ({} kB)", site.shown(&pdf).display(), size / 1000);
    Ok(())
}

/// Prints one page.
fn print_page(chromium: &Path, page: &Path, pdf: &Path) -> Result<()> {
    let profile = std::env::temp_dir().join(format!("gantry-pdf-{}", std::process::id()));
    let mut to = std::ffi::OsString::from("--print-to-pdf=");
    to.push(pdf);
    let mut data = std::ffi::OsString::from("--user-data-dir=");
    data.push(&profile);
    let output = Command::new(chromium)
        .args(QUIET)
        .args([&data, &to])
        .args(["--no-pdf-header-footer", "--virtual-time-budget=10000"])
        .arg(format!("file://{}", page.display()))
        .stdin(Stdio::null())
        .output();
    // The profile is of no use to anyone; that it cannot be removed is no reason to fail.
    let _ = std::fs::remove_dir_all(&profile);
    let output = output.with_context(|| format!("start {}", chromium.display()))?;
    if !output.status.success() || !pdf.is_file() {
        bail!("{} did not print ({}): {}", chromium.display(), output.status, last_lines(&output.stderr));
    }
    Ok(())
}

fn last_lines(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(3)..].join(" / ")
}
