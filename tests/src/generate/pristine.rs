//! A workspace of untouched starters: what the red gate and the book's recorded runs stand on.
//!
//! `target/gantry/pristine` looks like the workspace itself: `chapters/` freshly generated, the switchboard
//! released, `solutions/` copied, all else the real thing by symbolic links. So a learner's edits and adoptions
//! do not show in it, and what a check breaks in it does not show outside. Files are written only when they
//! change, so that cargo has nothing to build the second time.
//!
//! Build in it with [`workspace::cargo`], which gives it a target folder of its own, whatever
//! `CARGO_TARGET_DIR` says. Sharing one would be wrong, not only slow: cargo tells crates apart by their paths
//! from the workspace's root, so the two `chapters/01-process` are one and the same to it, and a learner's
//! binary would be taken for the starter's. The price is 4 seconds, once.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{Files, starter, stray};
use crate::course::{Chapter, Course};
use crate::{switchboard, workspace};

/// Makes or refreshes the pristine workspace of the workspace at `root`, and returns its folder.
///
/// # Errors
/// A starter cannot be generated, or a file not written.
pub fn pristine(root: &Path) -> Result<PathBuf> {
    pristine_in(root, &workspace::pristine_dir(root))
}

/// As [`pristine`], in another `folder` right below `target/gantry`: for those who break what is in it.
///
/// # Errors
/// As [`pristine`].
pub fn pristine_in(root: &Path, folder: &Path) -> Result<PathBuf> {
    let course = Course::load(root)?;
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    for name in ["book", "tests", ".cargo", "rustfmt.toml"] {
        link(&root.join(name), &folder.join(name))?;
    }
    let manifest = switchboard::all_released(&workspace::read(&root.join("Cargo.toml"))?, &course)?;
    let lock = fs::read(root.join("Cargo.lock")).context("read Cargo.lock")?;
    for chapter in course.chapters.iter().filter(|chapter| chapter.has_crate()) {
        replace(&chapter.starter_dir(folder), starter(root, chapter)?)?;
        replace(&chapter.solution_dir(folder), solution(root, chapter)?)?;
    }
    let top = Files::from([("Cargo.toml".into(), manifest.into_bytes()), ("Cargo.lock".into(), lock)]);
    write_changed(folder, top)?;
    Ok(folder.to_owned())
}

/// Lets `folder` hold these files and no others.
///
/// # Errors
/// A file cannot be written or removed.
pub fn replace(folder: &Path, files: Files) -> Result<()> {
    for path in stray(folder, &files)? {
        fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
    }
    write_changed(folder, files)
}

/// The reference crate's files as they are.
fn solution(root: &Path, chapter: &Chapter) -> Result<Files> {
    let folder = chapter.solution_dir(root);
    let read = |name: PathBuf| {
        let path = folder.join(&name);
        Ok((name, fs::read(&path).with_context(|| format!("read {}", path.display()))?))
    };
    workspace::files(&folder)?.into_iter().map(read).collect()
}

fn write_changed(folder: &Path, files: Files) -> Result<()> {
    for (name, bytes) in files {
        let path = folder.join(name);
        if !fs::read(&path).is_ok_and(|old| old == bytes) {
            workspace::write_atomically(&path, &bytes)?;
        }
    }
    Ok(())
}

fn link(target: &Path, place: &Path) -> Result<()> {
    match fs::read_link(place) {
        Ok(old) if old == target => return Ok(()),
        Ok(_) => fs::remove_file(place).with_context(|| format!("remove {}", place.display()))?,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("look at {}", place.display())),
    }
    symlink(target, place).with_context(|| format!("link {} to {}", place.display(), target.display()))
}
