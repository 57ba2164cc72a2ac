//! Writes `chapters/` from `solutions/`: what a learner begins with.
//!
//! Everything in a chapter's folder is made from the reference crate by [`crate::starter`]; nothing there
//! is written by hand, and `generate --check` proves it. A file is replaced without a word only when it is
//! what an earlier run wrote (`.gantry/generated.toml` remembers); else somebody worked on it, and it is
//! kept aside. A file that no reference crate has is removed only when an earlier run wrote it.
//!
//! Left out: the text changes ([`crate::starter`]), a whole workspace of starters ([`pristine()`]).

mod pristine;

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::course::{Chapter, Course, Exercise};
use crate::kept::Keeper;
use crate::{starter, workspace};

pub use pristine::{pristine, pristine_in, replace};

/// A crate's files by their paths below its folder.
pub type Files = BTreeMap<PathBuf, Vec<u8>>;

/// The chapter as a learner begins it.
///
/// # Errors
/// The reference crate cannot be read, or an exercise of `course.toml` does not fit it.
pub fn starter(root: &Path, chapter: &Chapter) -> Result<Files> {
    crate_files(root, chapter, &chapter.exercises.iter().collect::<Vec<_>>())
}

/// The chapter as a learner ends it: the starter with every body in place.
///
/// # Errors
/// As [`starter()`].
pub fn answer(root: &Path, chapter: &Chapter) -> Result<Files> {
    crate_files(root, chapter, &[])
}

/// The chapter on the way: the first `done` exercises written, the others open.
///
/// # Errors
/// As [`starter()`].
pub fn partly(root: &Path, chapter: &Chapter, done: usize) -> Result<Files> {
    crate_files(root, chapter, &chapter.exercises.iter().skip(done).collect::<Vec<_>>())
}

fn crate_files(root: &Path, chapter: &Chapter, blanked: &[&Exercise]) -> Result<Files> {
    let folder = chapter.solution_dir(root);
    let mut files = Files::new();
    for name in workspace::files(&folder)? {
        let path = folder.join(&name);
        let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        let here: Vec<_> = blanked.iter().copied().filter(|e| Path::new(&e.file) == name).collect();
        let bytes = one_file(&name, bytes, chapter, &here).with_context(|| workspace::shown(root, &path))?;
        files.insert(name, bytes);
    }
    if let Some(lost) = blanked.iter().find(|e| !files.contains_key(Path::new(&e.file))) {
        bail!("exercise {}: {} has no file {}", lost.number, workspace::shown(root, &folder), lost.file);
    }
    Ok(files)
}

fn one_file(name: &Path, bytes: Vec<u8>, chapter: &Chapter, blanked: &[&Exercise]) -> Result<Vec<u8>> {
    let is_rust = name.extension().is_some_and(|extension| extension == "rs");
    if !is_rust && name != Path::new("Cargo.toml") {
        return Ok(bytes);
    }
    let mut text = String::from_utf8(bytes).context("it is not UTF-8")?;
    if name == Path::new("Cargo.toml") {
        return Ok(starter::manifest(&text, chapter)?.into_bytes());
    }
    text = starter::blank(&text, blanked)?;
    if outside_the_library(name) {
        text = starter::rename(&text, chapter)?;
    }
    Ok(text.into_bytes())
}

/// Whether a source sees its crate's library from outside, under the crate's own name.
fn outside_the_library(name: &Path) -> bool {
    let beside = ["src/bin", "benches", "examples", "tests"];
    name == Path::new("src/main.rs") || beside.iter().any(|folder| name.starts_with(folder))
}

/// Whether the learner has not changed any file of the chapter yet.
///
/// # Errors
/// As [`starter()`].
pub fn untouched(root: &Path, chapter: &Chapter) -> Result<bool> {
    let folder = chapter.starter_dir(root);
    let same = |(name, bytes): (PathBuf, Vec<u8>)| fs::read(folder.join(name)).is_ok_and(|old| old == bytes);
    Ok(starter(root, chapter)?.into_iter().all(same))
}

/// The files in a chapter's folder that `files` does not have.
///
/// # Errors
/// The folder is there, but cannot be read.
pub fn stray(folder: &Path, files: &Files) -> Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let names = workspace::files(folder)?;
    Ok(names.into_iter().filter(|name| !files.contains_key(name)).map(|name| folder.join(name)).collect())
}

/// How a file in `chapters/` differs from what would be generated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// It should be there.
    Missing(PathBuf),
    /// Its text is another one.
    Differs(PathBuf),
    /// No reference crate has it.
    Stray(PathBuf),
}

/// Every difference between `chapters/` and what `generate` would write.
///
/// # Errors
/// As [`starter()`].
pub fn differences(root: &Path, course: &Course) -> Result<Vec<Difference>> {
    let mut found = Vec::new();
    for chapter in course.chapters.iter().filter(|chapter| chapter.has_crate()) {
        let files = starter(root, chapter)?;
        let folder = chapter.starter_dir(root);
        found.extend(stray(&folder, &files)?.into_iter().map(Difference::Stray));
        for (name, bytes) in files {
            let path = folder.join(name);
            match fs::read(&path) {
                Ok(old) if old == bytes => {}
                Ok(_) => found.push(Difference::Differs(path)),
                Err(_) => found.push(Difference::Missing(path)),
            }
        }
    }
    Ok(found)
}

/// What a run of [`write()`] did.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The files that were written.
    pub written: Vec<PathBuf>,
    /// The files that were removed: written by an earlier run, gone from the reference crates.
    pub removed: Vec<PathBuf>,
    /// Files that no run wrote: left alone.
    pub stray: Vec<PathBuf>,
    /// Where edited files were kept aside before they were replaced.
    pub kept: Option<PathBuf>,
}

/// Writes every chapter.
///
/// # Errors
/// As [`starter()`], or a file cannot be written. All chapters are made before the first is written.
pub fn write(root: &Path, course: &Course) -> Result<Outcome> {
    let mut all = Vec::new();
    for chapter in course.chapters.iter().filter(|chapter| chapter.has_crate()) {
        all.push((chapter.starter_dir(root), starter(root, chapter)?));
    }
    let mut memory = Memory::load(root)?;
    let mut keeper = Keeper::new(root);
    let mut outcome = Outcome::default();
    for (folder, files) in all {
        for path in stray(&folder, &files)? {
            if memory.wrote(&path) {
                fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
                memory.forget(&path);
                outcome.removed.push(path);
            } else {
                outcome.stray.push(path);
            }
        }
        for (name, bytes) in files {
            write_one(folder.join(name), &bytes, &mut memory, &mut keeper, &mut outcome)?;
        }
    }
    outcome.kept = keeper.folder().map(Path::to_owned);
    memory.save()?;
    Ok(outcome)
}

fn write_one(
    path: PathBuf,
    bytes: &[u8],
    memory: &mut Memory,
    keeper: &mut Keeper,
    outcome: &mut Outcome,
) -> Result<()> {
    let old = fs::read(&path).ok();
    if old.as_deref() != Some(bytes) {
        if old.is_some() && !memory.wrote(&path) {
            keeper.keep(&path)?;
        }
        workspace::write_atomically(&path, bytes)?;
        outcome.written.push(path.clone());
    }
    memory.remember(&path, bytes);
    Ok(())
}

/// Which bytes earlier runs wrote where, as hashes. Losing it is harmless: then every changed file counts
/// as edited and is kept aside.
struct Memory {
    root: PathBuf,
    hashes: BTreeMap<String, String>,
}

impl Memory {
    fn load(root: &Path) -> Result<Memory> {
        let text = fs::read_to_string(Memory::file(root)).unwrap_or_default();
        Ok(Memory { root: root.to_owned(), hashes: toml_edit::de::from_str(&text).unwrap_or_default() })
    }

    fn save(&self) -> Result<()> {
        let text = toml_edit::ser::to_string_pretty(&self.hashes).context("write as TOML")?;
        workspace::write_atomically(&Memory::file(&self.root), text.as_bytes())
    }

    fn file(root: &Path) -> PathBuf {
        workspace::state_dir(root).join("generated.toml")
    }

    fn key(&self, path: &Path) -> String {
        workspace::shown(&self.root, path)
    }

    fn hash(bytes: &[u8]) -> String {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }

    /// Whether the file holds what an earlier run wrote.
    fn wrote(&self, path: &Path) -> bool {
        let known = self.hashes.get(&self.key(path));
        known.is_some_and(|hash| fs::read(path).is_ok_and(|bytes| Memory::hash(&bytes) == *hash))
    }

    fn remember(&mut self, path: &Path, bytes: &[u8]) {
        self.hashes.insert(self.key(path), Memory::hash(bytes));
    }

    fn forget(&mut self, path: &Path) {
        let key = self.key(path);
        self.hashes.remove(&key);
    }
}
