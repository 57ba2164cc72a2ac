//! How far a learner has come: `.gantry/progress.toml`, git-ignored, readable with `cat`.
//!
//! By exercise id: when its tests first passed, how many hints were shown, when its solution was. Ids never
//! change (numbers may), so progress outlives a new edition of the course. Several commands may run at
//! once, a `watch` beside a `hint`: each change is read, made and written under one `flock`, and the file
//! is replaced as a whole.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::course::{Chapter, Exercise};
use crate::{clock, workspace};

const HEAD: &str =
    "# Your progress in the course, kept by `cargo workshop`. Delete this file to start afresh.\n\n";

/// A learner's progress.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Steps that belong to no exercise, `doctor` and `tour`, and when each was first done.
    #[serde(default)]
    pub steps: BTreeMap<String, String>,
    /// What happened to each exercise, by its id.
    #[serde(default, rename = "exercise")]
    pub exercises: BTreeMap<String, Mark>,
}

/// What happened to one exercise. Times are RFC 3339 in UTC.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// When its tests first passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed: Option<String>,
    /// How many of its hints were shown.
    #[serde(default)]
    pub hints: usize,
    /// When its solution was first shown, if that was before its tests passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub solution: Option<String>,
    /// When any of this last happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
}

impl Progress {
    /// Reads the progress of the workspace at `root`; none yet is an empty one.
    ///
    /// # Errors
    /// The file is there, but cannot be read or understood.
    pub fn load(root: &Path) -> Result<Progress> {
        let path = file(root);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Progress::default()),
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        };
        toml_edit::de::from_str(&text)
            .with_context(|| format!("{} is damaged: mend it, or delete it to start afresh", path.display()))
    }

    /// Reads, changes and writes the progress of the workspace at `root`, alone among all commands.
    ///
    /// # Errors
    /// The file or its lock cannot be read or written.
    pub fn update<T>(root: &Path, change: impl FnOnce(&mut Progress) -> T) -> Result<T> {
        let _alone = lock(root)?;
        let mut progress = Progress::load(root)?;
        let before = progress.clone();
        let result = change(&mut progress);
        if progress != before {
            let text = toml_edit::ser::to_string_pretty(&progress).context("write progress as TOML")?;
            workspace::write_atomically(&file(root), format!("{HEAD}{text}").as_bytes())?;
        }
        Ok(result)
    }

    /// What happened to this exercise so far.
    pub fn of(&self, exercise: &Exercise) -> Mark {
        self.exercises.get(&exercise.id).cloned().unwrap_or_default()
    }

    /// Whether its tests passed.
    pub fn passed(&self, exercise: &Exercise) -> bool {
        self.of(exercise).passed.is_some()
    }

    /// How many of a chapter's exercises passed.
    pub fn count(&self, chapter: &Chapter) -> usize {
        chapter.exercises.iter().filter(|exercise| self.passed(exercise)).count()
    }

    /// The tests of this exercise passed, now or before.
    pub fn pass(&mut self, exercise: &Exercise) {
        if !self.passed(exercise) {
            let now = clock::now();
            let mark = self.touch(exercise, &now);
            mark.passed = Some(now);
        }
    }

    /// The exercise is to be written again; whether it had passed.
    pub fn unpass(&mut self, exercise: &Exercise) -> bool {
        self.exercises.get_mut(&exercise.id).is_some_and(|mark| mark.passed.take().is_some())
    }

    /// So many of its hints were shown.
    pub fn hinted(&mut self, exercise: &Exercise, count: usize) {
        let mark = self.touch(exercise, &clock::now());
        mark.hints = mark.hints.max(count);
    }

    /// Its solution was shown. Who has passed compares, and needs no note of it.
    pub fn solution_shown(&mut self, exercise: &Exercise) {
        if self.passed(exercise) {
            return;
        }
        let now = clock::now();
        let mark = self.touch(exercise, &now);
        mark.solution.get_or_insert(now);
    }

    /// `doctor` or `tour` was done.
    pub fn step_done(&mut self, step: &str) {
        self.steps.entry(step.to_owned()).or_insert_with(clock::now);
    }

    fn touch(&mut self, exercise: &Exercise, now: &str) -> &mut Mark {
        let mark = self.exercises.entry(exercise.id.clone()).or_default();
        mark.last = Some(now.to_owned());
        mark
    }
}

fn file(root: &Path) -> PathBuf {
    workspace::state_dir(root).join("progress.toml")
}

/// A lock of its own: the progress file itself is replaced, and a lock on it would go with the old one.
fn lock(root: &Path) -> Result<Flock<File>> {
    let path = workspace::state_dir(root).join("lock");
    fs::create_dir_all(workspace::state_dir(root)).with_context(|| format!("create {}", path.display()))?;
    let file = File::options().create(true).append(true).open(&path);
    let file = file.with_context(|| format!("open {}", path.display()))?;
    Flock::lock(file, FlockArg::LockExclusive)
        .map_err(|(_, errno)| errno)
        .with_context(|| format!("flock {}", path.display()))
}
