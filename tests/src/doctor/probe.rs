//! One finding about this machine, as data.
//!
//! A probe says what was seen, what that means for the course, which chapters need it, and how to mend it.
//! Making probes and showing them are apart: tests and other commands read the list, only
//! [`super::report`] prints it.

use crate::course::{Chapter, Need};

/// How a probe came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is there.
    Ok,
    /// It is there in part: the chapters can be done, something is missing on the way.
    Partly,
    /// It is not there: its chapters cannot be done on this machine itself.
    Missing,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What was looked for, in one or two words.
    pub name: &'static str,
    /// How it came out.
    pub outcome: Outcome,
    /// What was seen, in a short phrase.
    pub seen: String,
    /// What follows from it; empty if all is well.
    pub means: String,
    /// What to do about it; empty if all is well, or if nothing can be done.
    pub fix: String,
    /// The chapters that need it, by number.
    pub chapters: Vec<u8>,
    /// The need by which `book/course.toml` calls it, if it has one.
    pub need: Option<Need>,
    /// Whether the kernel lab offers it, whatever this machine does.
    pub in_kernel_lab: bool,
}

impl Probe {
    /// A probe that found what it looked for.
    pub fn ok(name: &'static str, seen: impl Into<String>) -> Probe {
        Probe {
            name,
            outcome: Outcome::Ok,
            seen: seen.into(),
            means: String::new(),
            fix: String::new(),
            chapters: Vec::new(),
            need: None,
            in_kernel_lab: true,
        }
    }

    /// A probe that found only a part.
    pub fn partly(name: &'static str, seen: impl Into<String>, gap: Gap) -> Probe {
        Probe { outcome: Outcome::Partly, means: gap.means, fix: gap.fix, ..Probe::ok(name, seen) }
    }

    /// A probe that found nothing.
    pub fn missing(name: &'static str, seen: impl Into<String>, gap: Gap) -> Probe {
        Probe { outcome: Outcome::Missing, ..Probe::partly(name, seen, gap) }
    }

    /// The same, needed by these chapters.
    pub fn for_chapters(self, chapters: impl IntoIterator<Item = u8>) -> Probe {
        Probe { chapters: chapters.into_iter().collect(), ..self }
    }

    /// The same, needed wherever the course's table says so.
    pub fn for_need(self, need: Need) -> Probe {
        Probe { need: Some(need), ..self }
    }

    /// The same, with no help from the kernel lab.
    pub fn not_in_kernel_lab(self) -> Probe {
        Probe { in_kernel_lab: false, ..self }
    }

    /// Whether `chapter` cannot be done on this machine itself because of it.
    pub fn blocks(&self, chapter: &Chapter) -> bool {
        self.outcome == Outcome::Missing && self.is_needed_by(chapter)
    }

    /// Whether `chapter` needs it.
    pub fn is_needed_by(&self, chapter: &Chapter) -> bool {
        self.chapters.contains(&chapter.number) || self.need.is_some_and(|need| chapter.needs.contains(&need))
    }
}

/// What a gap means and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// What follows from it.
    pub means: String,
    /// What to do.
    pub fix: String,
}

impl Gap {
    /// Both in words.
    pub fn new(means: impl Into<String>, fix: impl Into<String>) -> Gap {
        Gap { means: means.into(), fix: fix.into() }
    }
}
