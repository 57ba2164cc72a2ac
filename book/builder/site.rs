//! Where everything of the book stands: the workspace, the book's own folder, the output, the course.
//!
//! A site is usually the workspace's book. The tests make others: a demo book that uses every directive, and
//! a large one that is measured. So nothing in this crate knows a path that does not come from a [`Site`].

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use workshop::course::{Chapter, Course};

/// The folder of the escape lab's pages.
const ESCAPES: &str = "escapes";

/// A book to build, with all that it is built from.
#[derive(Debug, Clone)]
pub struct Site {
    /// The workspace: `solutions/`, `chapters/` and `tests/` are looked up here.
    pub root: PathBuf,
    /// The book's folder with `book.toml`, `src/`, `figures/` and `theme/`.
    pub book: PathBuf,
    /// Where the pages go.
    pub out: PathBuf,
    /// The course's table.
    pub course: Course,
}

impl Site {
    /// The book of the workspace at `root`.
    ///
    /// # Errors
    /// `book/course.toml` is missing or wrong.
    pub fn at(root: &Path) -> Result<Site> {
        Ok(Site {
            root: root.to_owned(),
            book: root.join("book"),
            out: root.join("target/gantry/book"),
            course: Course::load(root)?,
        })
    }

    /// The book of the workspace that the current folder belongs to.
    ///
    /// # Errors
    /// No folder from here upwards holds `book/course.toml`.
    pub fn find() -> Result<Site> {
        let here = std::env::current_dir().context("ask for the current folder")?;
        match here.ancestors().find(|folder| folder.join("book/course.toml").is_file()) {
            Some(root) => Site::at(root),
            None => bail!("no book/course.toml in {} or above: start it in the workspace", here.display()),
        }
    }

    /// The Markdown of the pages.
    pub fn src(&self) -> PathBuf {
        self.book.join("src")
    }

    /// `path` as it is named in messages: relative to the workspace.
    pub fn shown(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.root).unwrap_or(path).to_owned()
    }

    /// Whether the transcripts of the page `file` are recorded: those of chapters and of the escape lab, which lies in
    /// a folder of its own.
    pub fn is_recorded(&self, file: &Path) -> bool {
        self.chapter_of(file).is_some() || file.starts_with(ESCAPES)
    }

    /// The chapter whose page is `file` (`01-process.md`); the start page has none.
    pub fn chapter_of(&self, file: &Path) -> Option<&Chapter> {
        self.course.chapters.iter().find(|chapter| Path::new(&chapter.file) == file)
    }
}
