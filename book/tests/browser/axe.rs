//! axe-core, the accessibility checker that runs inside a page.
//!
//! It is not ours to ship, so it is named by `GANTRY_AXE` or fetched once into `target/gantry/axe` by npm.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::chromium::{Chromium, Result};

/// The file with axe-core, fetched if it must be.
pub fn find(root: &Path) -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("GANTRY_AXE") {
        return Some(named.into());
    }
    let folder = root.join("target/gantry/axe");
    let file = folder.join("node_modules/axe-core/axe.min.js");
    if !file.is_file() {
        fetch(&folder);
    }
    if !file.is_file() {
        eprintln!("accessibility tests need axe-core: npm could not fetch it; name its file in GANTRY_AXE");
        return None;
    }
    Some(file)
}

fn fetch(folder: &Path) {
    if std::fs::create_dir_all(folder).is_err() {
        return;
    }
    let _ = Command::new("npm")
        .args([
            "install",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--no-save",
            "--fetch-retries=0",
            "--prefix",
        ])
        .arg(folder)
        .arg("axe-core@4")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

/// The violations of the page that is open, one line each: the rule, and where.
pub fn violations(browser: &mut Chromium, axe: &str) -> Result<Vec<String>> {
    browser.evaluate(&format!("{axe}\n;undefined"))?;
    let found = browser.evaluate(
        "axe.run(document, { resultTypes: ['violations'] }).then(result => result.violations.flatMap(v => \
         v.nodes.map(node => `${v.id}: ${node.target.join(' ')}: ${node.any.concat(node.all, node.none)\
         .map(check => check.message).join('; ')}`)))",
    )?;
    let lines = found.as_array().ok_or("axe-core gave no list")?;
    Ok(lines.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}
