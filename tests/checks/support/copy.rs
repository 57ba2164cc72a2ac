//! A copy of the workspace that a check may break, and the stages' tests run on what is built in it.
//!
//! It lies in `target/gantry/gate` with a target folder of its own, begins pristine every time, and is built
//! only where it differs from the last time. One check has it at a time: the others wait for its lock.

// Each check takes the part that it needs.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use nix::fcntl::{Flock, FlockArg};
use workshop::course::{Chapter, Course};
use workshop::lab::{Ground, PROBE};
use workshop::stage::runner::{self, Subject};
use workshop::stage::verdict::Outcome;
use workshop::{build, generate, rootfs, workspace};

/// What came out, by the tests' names.
pub type Outcomes = BTreeMap<String, Outcome>;

/// The copy, ours until it is dropped.
pub struct Copy {
    /// The real workspace.
    pub root: PathBuf,
    /// The copy's root.
    pub folder: PathBuf,
    /// The course, the same in both.
    pub course: Course,
    _lock: Flock<File>,
}

/// The workspace that these tests were compiled in.
pub fn root() -> PathBuf {
    workspace::root_above(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("the workspace")
}

impl Copy {
    /// A pristine copy.
    pub fn new() -> Result<Copy> {
        let root = root();
        let cache = workspace::cache_dir(&root);
        fs::create_dir_all(&cache).context("create target/gantry")?;
        let lock = File::create(cache.join("gate.lock")).context("create gate.lock")?;
        let lock =
            Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, errno)| errno).context("lock gate")?;
        let folder = generate::pristine_in(&root, &cache.join("gate"))?;
        let state = workspace::state_dir(&folder);
        if state.exists() {
            fs::remove_dir_all(&state).context("remove the copy's progress")?;
        }
        let copy = Copy { course: Course::load(&root)?, root, folder, _lock: lock };
        // What a check takes out leaves things unused: no news here.
        copy.edit("Cargo.toml", r#"unused = { level = "warn""#, r#"unused = { level = "allow""#)?;
        Ok(copy)
    }

    /// The chapters in which something is built.
    pub fn chapters(&self) -> impl Iterator<Item = &Chapter> {
        self.course.chapters.iter().filter(|chapter| chapter.has_crate())
    }

    /// The text of one of the copy's files.
    pub fn read(&self, name: &str) -> Result<String> {
        workspace::read(&self.folder.join(name))
    }

    /// Writes one of the copy's files.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        workspace::write_atomically(&self.folder.join(name), text.as_bytes())
    }

    /// Replaces what must stand in a file exactly once; the old text of the file.
    pub fn edit(&self, name: &str, from: &str, to: &str) -> Result<String> {
        let old = self.read(name)?;
        let count = old.matches(from).count();
        ensure!(count == 1, "{name} must hold this once and holds it {count} times:\n{from}");
        self.write(name, &old.replace(from, to))?;
        Ok(old)
    }

    /// Writes the answers of the first `done` exercises into the learner's crate, and leaves the others open.
    pub fn answer(&self, chapter: &Chapter, done: usize) -> Result<()> {
        let files = generate::partly(&self.root, chapter, done)?;
        generate::replace(&chapter.starter_dir(&self.folder), files)
    }

    /// Builds `package` in the copy, as the binary that the chapter's tests look at.
    pub fn subject(&self, chapter: &Chapter, package: &str) -> Result<Subject> {
        subject_of(&self.root, chapter, build::binary_in_silence(&self.folder, package)?)
    }
}

/// A binary and what its lab needs.
pub fn subject_of(root: &Path, chapter: &Chapter, program: PathBuf) -> Result<Subject> {
    let probe = PathBuf::from(env!("CARGO_BIN_EXE_probe"));
    let programs = vec![(chapter.my_crate(), program), (PROBE.to_owned(), probe)];
    Ok(Subject { chapter: chapter.number, binary: chapter.my_crate(), programs, demo: rootfs::demo(root)? })
}

/// Runs these tests of the subject's chapter.
pub fn outcomes(subject: &Subject, ground: Ground, names: &[String]) -> Result<Outcomes> {
    let mut found = Outcomes::new();
    runner::run(subject, ground, names, &mut |report| {
        found.insert(report.name.clone(), report.outcome.clone());
    })?;
    Ok(found)
}

/// What a test says, on a line.
pub fn told(name: &str, outcome: Option<&Outcome>) -> String {
    match outcome {
        None => format!("{name} did not run"),
        Some(Outcome::Passed) => format!("{name} passed"),
        Some(Outcome::Skipped(why)) => format!("{name} was skipped: {why}"),
        Some(Outcome::Failed(failure)) => {
            format!("{name} failed: {}: expected {}, seen {}", failure.ran, failure.expected, failure.seen)
        }
    }
}
