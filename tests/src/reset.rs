//! Putting the starter back: a whole chapter, or the functions of one exercise.
//!
//! What was there is kept aside first ([`crate::kept`]). Files that the starter does not have are the
//! learner's own and stay where they are.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::course::{Chapter, Exercise};
use crate::kept::Keeper;
use crate::{anchor, generate, workspace};

/// What a reset did.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The files that are as in the starter again; empty if they all were before.
    pub restored: Vec<PathBuf>,
    /// Where their old versions are.
    pub kept: Option<PathBuf>,
    /// Files in the chapter that the starter does not have.
    pub own: Vec<PathBuf>,
}

/// Puts the whole chapter back.
///
/// # Errors
/// The starter cannot be made, or a file not read or written.
pub fn chapter(root: &Path, chapter: &Chapter) -> Result<Outcome> {
    let starter = generate::starter(root, chapter)?;
    let folder = chapter.starter_dir(root);
    let own = generate::stray(&folder, &starter)?;
    let outcome = put(root, &folder, starter)?;
    Ok(Outcome { own, ..outcome })
}

/// Puts back the functions inside this exercise's anchor, and nothing else.
///
/// # Errors
/// As [`chapter`], or the learner's file has lost the anchor's marks.
pub fn exercise(root: &Path, chapter: &Chapter, exercise: &Exercise) -> Result<Outcome> {
    let starter = generate::starter(root, chapter)?;
    let name = PathBuf::from(&exercise.file);
    let fresh = starter.get(&name).with_context(|| format!("the starter has no {}", exercise.file))?;
    let fresh = std::str::from_utf8(fresh).context("Rust sources are UTF-8")?;
    let path = chapter.starter_dir(root).join(&name);
    let mine = workspace::read(&path)?;
    let place = anchor::range(&mine, &exercise.anchor).with_context(|| {
        format!(
            "{}: without its two lines, the place of exercise {} is not known; put them back around your \
             function, or take the whole chapter back with `cargo workshop reset {}`",
            workspace::shown(root, &path),
            exercise.number,
            chapter.number
        )
    })?;
    let mut text = mine.clone();
    text.replace_range(place, &fresh[anchor::range(fresh, &exercise.anchor)?]);
    put(root, &chapter.starter_dir(root), BTreeMap::from([(name, text.into_bytes())]))
}

fn put(root: &Path, folder: &Path, files: generate::Files) -> Result<Outcome> {
    let mut keeper = Keeper::new(root);
    let mut outcome = Outcome::default();
    for (name, bytes) in files {
        let path = folder.join(name);
        let old = fs::read(&path).ok();
        if old.as_ref() == Some(&bytes) {
            continue;
        }
        if old.is_some() {
            keeper.keep(&path)?;
        }
        workspace::write_atomically(&path, &bytes)?;
        outcome.restored.push(path);
    }
    outcome.kept = keeper.folder().map(Path::to_owned);
    Ok(outcome)
}
