//! How much of a solution its chapter shows: "woven".
//!
//! Every line of code of the crate's `src/` counts, blank lines and anchor marks aside. It is woven if a
//! listing or an exercise's solution on the chapter's own page shows it. course.toml says how many percent a
//! chapter must reach.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use workshop::course::Chapter;

use crate::finding::Findings;
use crate::listing;
use crate::page::Page;
use crate::site::Site;

/// What a chapter shows of its crate.
pub struct Woven {
    /// Lines shown.
    pub shown: usize,
    /// Lines in all.
    pub all: usize,
    /// The lines not shown, `file:line: code`.
    pub missing: Vec<String>,
}

impl fmt::Display for Woven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = (self.shown * 100).checked_div(self.all).unwrap_or(100);
        write!(f, "{percent} % ({} of {} lines)", self.shown, self.all)
    }
}

impl Woven {
    /// Compares with what course.toml demands.
    pub fn judge(&self, chapter: &Chapter, page: &Page, findings: &mut Findings) {
        if self.shown * 100 < self.all * usize::from(chapter.woven) {
            let what =
                format!("woven {self}, but course.toml demands {} %: see `check --woven`", chapter.woven);
            findings.add(&page.shown, 1, what);
        }
    }
}

/// Compares the crate of `chapter` with the lines that its page shows.
pub fn measure(site: &Site, chapter: &Chapter, shown: &BTreeSet<(PathBuf, usize)>) -> Result<Woven> {
    let mut woven = Woven { shown: 0, all: 0, missing: Vec::new() };
    for path in rust_files(&chapter.solution_dir(&site.root).join("src"))? {
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let file = site.shown(&path);
        for (line, code) in listing::code_lines(&text) {
            if code.trim().is_empty() {
                continue;
            }
            woven.all += 1;
            if shown.contains(&(file.clone(), line)) {
                woven.shown += 1;
            } else {
                woven.missing.push(format!("{}:{line}: {code}", file.display()));
            }
        }
    }
    Ok(woven)
}

/// The Rust files below `folder`, sorted.
fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
