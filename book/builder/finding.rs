//! What is wrong with the book, and where: one line each, `file:line: what`.
//!
//! Nothing stops at its first error. Every step adds its findings to a [`Findings`], and the command prints
//! them all at the end, in the order of the files, so that one run tells an author everything.
//!
//! Left out: severity. A finding is an error; what is not an error is not reported.

use std::fmt;
use std::path::{Path, PathBuf};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file, relative to the workspace where it can be.
    pub file: PathBuf,
    /// The 1-based line.
    pub line: usize,
    /// What is wrong and, where it is not plain, what would be right.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.what)
    }
}

/// A growing list of findings about one file after the other.
#[derive(Debug, Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// Notes that `what` is wrong in `file` at `line`.
    pub fn add(&mut self, file: &Path, line: usize, what: impl Into<String>) {
        self.0.push(Finding { file: file.to_owned(), line, what: what.into() });
    }

    /// Takes over what another step found.
    pub fn absorb(&mut self, other: Findings) {
        self.0.extend(other.0);
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of it, sorted by file and line, each finding once.
    pub fn into_sorted(mut self) -> Vec<Finding> {
        self.0.sort();
        self.0.dedup();
        self.0
    }
}
