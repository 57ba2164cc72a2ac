//! The workspace on disk: where its root is, what we may write there, and how `cargo` is called in it.
//!
//! Everything that the learner's command keeps for itself stands in `.gantry/` (git-ignored): progress and
//! kept-aside files. Caches that can be made again stand in `target/gantry/`. Files that matter are written
//! beside their place and renamed into it, so that a crash leaves the old one or the new one whole.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

/// The root of the workspace that the current folder is in.
///
/// # Errors
/// The current folder is in none.
pub fn root() -> Result<PathBuf> {
    let here = std::env::current_dir().context("ask for the current folder: was it deleted?")?;
    root_above(&here).with_context(|| {
        format!("{} is not inside a Gantry workspace: change into your clone first", here.display())
    })
}

/// The nearest folder at or above `folder` that holds `book/course.toml`.
pub fn root_above(folder: &Path) -> Option<PathBuf> {
    folder.ancestors().find(|above| above.join("book/course.toml").is_file()).map(Path::to_owned)
}

/// Where progress and kept-aside files are; may not exist yet.
pub fn state_dir(root: &Path) -> PathBuf {
    root.join(".gantry")
}

/// Where caches are that can be made again; may not exist yet.
pub fn cache_dir(root: &Path) -> PathBuf {
    root.join("target/gantry")
}

/// Where [`crate::generate::pristine()`] puts its workspace; may not exist yet.
pub fn pristine_dir(root: &Path) -> PathBuf {
    cache_dir(root).join("pristine")
}

/// A `cargo` command in the workspace: the same `cargo` that started us, if one did.
///
/// In a pristine workspace (right below `target/gantry`) it has a target folder of its own, for the reason
/// given there.
pub fn cargo(root: &Path) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(program);
    command.current_dir(root);
    if root.parent().is_some_and(|folder| folder.ends_with(cache_dir(Path::new("")))) {
        command
            .env("CARGO_TARGET_DIR", root.join("target"))
            .env("CARGO_BUILD_BUILD_DIR", root.join("target"));
    }
    command
}

/// `path` as a reader would type it at the workspace's root.
pub fn shown(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

/// Reads a text file, with an error that names it.
///
/// # Errors
/// The file is missing, unreadable or not UTF-8.
pub fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

/// Replaces `path` by `bytes` in one step: temporary file in the same folder, fsync, rename, fsync folder.
///
/// # Errors
/// Any of these steps failed; the old file is then still whole.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().context("a file stands in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    let name = path.file_name().context("a file has a name")?.to_string_lossy();
    let beside = folder.join(format!(".{name}.{}", std::process::id()));
    let written = write_synced(&beside, bytes)
        .and_then(|()| fs::rename(&beside, path))
        .and_then(|()| File::open(folder)?.sync_all());
    if written.is_err() {
        // Best effort: what counts is the error that brought us here.
        let _ = fs::remove_file(&beside);
    }
    written.with_context(|| format!("write {}", path.display()))
}

fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Every regular file below `folder`, as sorted paths relative to it.
///
/// Left out: `target`, `Cargo.lock`, and names that begin with a dot or end with a tilde, which are the
/// marks of editors and not of anybody's code.
///
/// # Errors
/// A folder cannot be read, or there is something other than files and folders.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    collect(folder, Path::new(""), &mut found)?;
    found.sort();
    Ok(found)
}

fn collect(top: &Path, below: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let folder = top.join(below);
    for entry in fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))? {
        let entry = entry.with_context(|| format!("list {}", folder.display()))?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        if text.starts_with('.') || text.ends_with('~') || text == "target" || text == "Cargo.lock" {
            continue;
        }
        let kind = entry.file_type().with_context(|| format!("look at {}", entry.path().display()))?;
        let path = below.join(&name);
        if kind.is_dir() {
            collect(top, &path, found)?;
        } else if kind.is_file() {
            found.push(path);
        } else {
            anyhow::bail!("{} is neither a file nor a folder", entry.path().display());
        }
    }
    Ok(())
}

/// A folder in the machine's temporary folder that goes when this value does.
///
/// Its name carries our process id, so that `cargo workshop clean` can tell a living one from a leftover.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes `gantry-PURPOSE-PID-COUNT`.
    ///
    /// # Errors
    /// The temporary folder cannot be written to.
    pub fn new(purpose: &str) -> Result<Scratch> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("gantry-{purpose}-{}-{count}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(Scratch { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A folder that cannot be removed is what `cargo workshop clean` is for.
        let _ = fs::remove_dir_all(&self.path);
    }
}
