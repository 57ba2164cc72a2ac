//! One page of the book: its file, its Markdown, and its pieces with their lines.
//!
//! [`workshop::prose`] takes the Markdown apart. It counts lines for directives and blocks; this module
//! adds them for plain text, so that everything found in a page can be reported with its line.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use workshop::prose::{self, Piece};

use crate::fence::{self, Fence};
use crate::site::Site;

/// A page, taken apart.
#[derive(Debug, Clone)]
pub struct Page {
    /// The file below `src/`, `01-process.md`.
    pub name: PathBuf,
    /// The file as messages name it, `book/src/01-process.md`.
    pub shown: PathBuf,
    /// The whole Markdown.
    pub markdown: String,
    /// Its pieces in order.
    pub parts: Vec<Part>,
}

/// A piece and where its content starts.
#[derive(Debug, Clone)]
pub struct Part {
    /// The 1-based line of the first line of text, of the directive, or of the opening `:::`.
    pub line: usize,
    /// What stands there.
    pub piece: Piece,
}

impl Page {
    /// Reads the page `name` of `site`.
    ///
    /// # Errors
    /// The file cannot be read, or its blocks are not closed properly.
    pub fn load(site: &Site, name: &Path) -> Result<Page> {
        let path = site.src().join(name);
        let markdown = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        Page::parse(site, name, &markdown)
    }

    /// The page `name` with this Markdown.
    ///
    /// # Errors
    /// Its blocks are not closed properly.
    pub fn parse(site: &Site, name: &Path, markdown: &str) -> Result<Page> {
        let mut line = 1;
        let mut parts = Vec::new();
        for piece in prose::parse(markdown)? {
            let length = match &piece {
                Piece::Text(text) => text.lines().count(),
                Piece::Block { body, .. } => body.lines().count() + 2,
                Piece::Directive { .. } => 1,
            };
            parts.push(Part { line, piece });
            line += length;
        }
        let shown = site.shown(&site.src().join(name));
        Ok(Page { name: name.to_owned(), shown, markdown: markdown.to_owned(), parts })
    }

    /// Every stretch of Markdown with the line where it starts, also those inside blocks, and the name of
    /// the block (empty outside of one).
    pub fn texts(&self) -> impl Iterator<Item = (usize, &str, &str)> {
        self.parts.iter().filter_map(|part| match &part.piece {
            Piece::Text(text) => Some((part.line, text.as_str(), "")),
            Piece::Block { name, body, .. } => Some((part.line + 1, body.as_str(), name.as_str())),
            Piece::Directive { .. } => None,
        })
    }

    /// Every code fence of the page, in order.
    pub fn fences(&self) -> Vec<Fence> {
        self.texts().flat_map(|(line, text, _)| fence::fences(text, line)).collect()
    }

    /// The blocks called `name`: line, words, body.
    pub fn blocks<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (usize, &'a [String], &'a str)> {
        self.parts.iter().filter_map(move |part| match &part.piece {
            Piece::Block { name: found, words, body, .. } if found == name => {
                Some((part.line, words.as_slice(), body.as_str()))
            }
            _ => None,
        })
    }

    /// The first line that contains `text`, or 1.
    pub fn line_of(&self, text: &str) -> usize {
        self.markdown.lines().position(|line| line.contains(text)).map_or(1, |index| index + 1)
    }
}
