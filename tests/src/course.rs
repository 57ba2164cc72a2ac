//! The course's one table, `book/course.toml`, as data.
//!
//! Whatever can be counted or named about the course stands there and only there: chapters, minutes,
//! needs, goals, exercises and the names of their tests. The book's headers, the learner's command, the
//! generator of `chapters/` and the tests all read it through this module.
//!
//! Left out: hints and all other prose. They live in the chapters' Markdown, see [`crate::prose`].

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// The whole course, as `book/course.toml` tells it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Course {
    /// The course's name, as the book's title shows it.
    pub title: String,
    /// The chapters in reading order; `chapters[n].number == n`.
    #[serde(rename = "chapter")]
    pub chapters: Vec<Chapter>,
}

/// One chapter and the crate that it builds.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chapter {
    /// 0 for the introduction, then one a crate.
    pub number: u8,
    /// The folder below `solutions/` and `chapters/`, `01-process`; empty where nothing is built.
    #[serde(default)]
    pub dir: String,
    /// The crate's plain name, `process`; the learner's is `my-process`. Empty where nothing is built.
    #[serde(default, rename = "crate")]
    pub krate: String,
    /// The chapter's heading.
    pub title: String,
    /// Its Markdown file, relative to `book/src`.
    pub file: String,
    /// How long it takes.
    pub minutes: Minutes,
    /// What a machine must offer for it.
    #[serde(default)]
    pub needs: Vec<Need>,
    /// What the reader can do afterwards, one sentence each.
    pub goals: Vec<String>,
    /// What yesterday's program shows, for the card.
    pub before: String,
    /// What today's program shows, for the card.
    pub after: String,
    /// Percent of the solution's lines that the book must show.
    #[serde(default)]
    pub woven: u8,
    /// Tests of the stage that belong to no exercise: they pass on the starter.
    #[serde(default)]
    pub extra_tests: Vec<String>,
    /// What the reader writes.
    #[serde(default, rename = "exercise")]
    pub exercises: Vec<Exercise>,
}

/// How long a chapter takes, in minutes.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Minutes {
    /// To read it.
    pub read: u16,
    /// To write its exercises.
    pub build: u16,
    /// To attack the result.
    #[serde(rename = "break")]
    pub break_it: u16,
}

/// Something that a machine may or may not offer; `cargo workshop doctor` tells which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// The real root user.
    Root,
    /// Unprivileged user namespaces (root does as well).
    UserNamespaces,
    /// Links, addresses and nftables in a network namespace.
    Network,
    /// A delegated cgroup subtree.
    CgroupDelegation,
}

/// One task of a chapter: a few lines of one function.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exercise {
    /// The stable name, `mount.pivot`: never reused, never renumbered.
    pub id: String,
    /// The number that the reader types, `2.3`.
    pub number: String,
    /// A short title in the imperative.
    pub title: String,
    /// The file below the crate's folder, `src/root.rs`.
    pub file: String,
    /// The anchor in that file whose function bodies the reader writes.
    pub anchor: String,
    /// What is true when it is done, in a sentence.
    pub goal: String,
    /// The names of its tests, in the order in which they are shown.
    pub tests: Vec<String>,
}

impl Course {
    /// Reads and checks `book/course.toml` of the workspace at `root`.
    ///
    /// # Errors
    /// A missing or malformed file, a chapter out of order, or a number or id given twice.
    pub fn load(root: &Path) -> Result<Course> {
        let path = root.join("book/course.toml");
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        Course::parse(&text).with_context(|| format!("in {}", path.display()))
    }

    /// The table in `text`, checked.
    ///
    /// # Errors
    /// As [`Course::load`].
    pub fn parse(text: &str) -> Result<Course> {
        let course: Course = toml_edit::de::from_str(text)?;
        let mut seen = std::collections::BTreeSet::new();
        for (index, chapter) in course.chapters.iter().enumerate() {
            if usize::from(chapter.number) != index {
                bail!("chapter {} stands in place {index}", chapter.number);
            }
            for exercise in &chapter.exercises {
                let (number, _) = exercise.number.split_once('.').unwrap_or_default();
                if number != chapter.number.to_string() {
                    bail!("exercise {} stands in chapter {}", exercise.number, chapter.number);
                }
                for key in [&exercise.id, &exercise.number] {
                    if !seen.insert(key.clone()) {
                        bail!("exercise `{key}` is there twice");
                    }
                }
            }
        }
        Ok(course)
    }

    /// Chapter `number`, with a message that says which ones there are.
    ///
    /// # Errors
    /// There is no such chapter.
    pub fn chapter(&self, number: u8) -> Result<&Chapter> {
        let last = self.chapters.len().saturating_sub(1);
        self.chapters
            .get(usize::from(number))
            .with_context(|| format!("there is no chapter {number} yet: the course has 0 to {last}"))
    }

    /// The exercise with this number (`2.3`) or id (`mount.resolve`), and its chapter.
    ///
    /// # Errors
    /// There is no such exercise.
    pub fn exercise(&self, key: &str) -> Result<(&Chapter, &Exercise)> {
        self.chapters
            .iter()
            .flat_map(|chapter| chapter.exercises.iter().map(move |exercise| (chapter, exercise)))
            .find(|(_, exercise)| exercise.number == key || exercise.id == key)
            .with_context(|| format!("there is no exercise {key}: `cargo workshop` lists them"))
    }
}

impl Chapter {
    /// Whether the reader builds a crate in it (chapter 0 builds none).
    pub fn has_crate(&self) -> bool {
        !self.krate.is_empty()
    }

    /// The learner's crate name, `my-process`, also of its binary.
    pub fn my_crate(&self) -> String {
        format!("my-{}", self.krate.replace('_', "-"))
    }

    /// The reference crate's folder in the workspace at `root`.
    pub fn solution_dir(&self, root: &Path) -> PathBuf {
        root.join("solutions").join(&self.dir)
    }

    /// The learner's folder in the workspace at `root`.
    pub fn starter_dir(&self, root: &Path) -> PathBuf {
        root.join("chapters").join(&self.dir)
    }

    /// The chapter's Markdown in the workspace at `root`.
    pub fn markdown(&self, root: &Path) -> PathBuf {
        root.join("book/src").join(&self.file)
    }
}
