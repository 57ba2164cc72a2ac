//! Listings: lines of a real file, by path and anchor, strictly.
//!
//! `01-process/src/clone3.rs:clone3` names the lines between `// ANCHOR: clone3` and `// ANCHOR_END: clone3`
//! of that file below `solutions/`; paths that begin with `chapters/`, `tests/` or `book/` are taken from the
//! workspace. `path:anchor | a title` folds the listing under that title. Anchor lines never show. The lines are moved to the left margin together. A missing file, a
//! missing, unclosed or doubled anchor, and an empty listing are errors: a listing is never silently blank.
//!
//! Left out: mdBook's `{{#include}}` with its line ranges. Line numbers go stale; anchors do not.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::fence;
use crate::html;
use crate::site::Site;

/// Folders of the workspace that a listing may name; all else stands below `solutions/`.
const FROM_ROOT: [&str; 4] = ["chapters/", "tests/", "book/", "solutions/"];

/// Lines of a file, ready to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// The file, relative to the workspace.
    pub file: PathBuf,
    /// The lines, dedented, each with its 1-based number in the file.
    pub lines: Vec<(usize, String)>,
}

impl Excerpt {
    /// The lines as one text.
    pub fn text(&self) -> String {
        self.lines.iter().map(|(_, line)| format!("{line}\n")).collect()
    }

    /// The names of the functions that begin in it: those at the margin, and those of an `impl` there.
    pub fn functions(&self) -> Vec<&str> {
        let found: Vec<(usize, &str)> = self
            .lines
            .iter()
            .filter_map(|(_, line)| function(line).map(|name| (indent(line), name)))
            .collect();
        let margin = found.iter().map(|(indent, _)| *indent).min().unwrap_or(0);
        found.into_iter().filter(|(indent, _)| *indent <= margin + 4).map(|(_, name)| name).collect()
    }

    /// The listing as Markdown: a figure with the file as its caption.
    pub fn markdown(&self) -> String {
        let text = self.text();
        let ticks = fence::ticks_for(&text);
        let file = html::escape(&self.file.display().to_string());
        let language = language(&self.file);
        format!(
            "\n<figure class=\"listing\">\n<figcaption>{file}</figcaption>\n\n\
             {ticks}{language}\n{text}{ticks}\n\n</figure>\n\n"
        )
    }
}

/// The lines that `spec` (`path` or `path:anchor`) names.
///
/// # Errors
/// See the module.
pub fn excerpt(site: &Site, spec: &str) -> Result<Excerpt> {
    let (path, anchor) = match spec.split_once(':') {
        Some((path, anchor)) => (path.trim(), Some(anchor.trim())),
        None => (spec.trim(), None),
    };
    let file = match FROM_ROOT.iter().any(|folder| path.starts_with(folder)) {
        true => PathBuf::from(path),
        false => Path::new("solutions").join(path),
    };
    let text = std::fs::read_to_string(site.root.join(&file))
        .with_context(|| format!("cannot include {}", file.display()))?;
    let lines = match anchor {
        Some(anchor) => anchored(&text, anchor).with_context(|| format!("in {}", file.display()))?,
        None => code_lines(&text),
    };
    let lines = dedent(trim(lines));
    if lines.is_empty() {
        bail!("listing `{spec}` has no lines");
    }
    Ok(Excerpt { file, lines })
}

/// All lines of `text` but those of anchors, numbered.
pub fn code_lines(text: &str) -> Vec<(usize, String)> {
    let numbered = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    numbered.filter(|(_, line)| mark(line).is_none()).map(|(n, line)| (n, line.to_owned())).collect()
}

/// The lines of `text` between the marks of `anchor`.
fn anchored(text: &str, anchor: &str) -> Result<Vec<(usize, String)>> {
    let mut lines = Vec::new();
    let mut inside = false;
    let mut seen = 0;
    for (index, line) in text.lines().enumerate() {
        match mark(line) {
            Some((true, name)) if name == anchor => {
                inside = true;
                seen += 1;
            }
            Some((false, name)) if name == anchor => inside = false,
            Some(_) => {}
            None if inside => lines.push((index + 1, line.to_owned())),
            None => {}
        }
    }
    match seen {
        0 => bail!("there is no anchor `{anchor}`; it has {}", names(text)),
        1 if inside => bail!("anchor `{anchor}` is never closed with `ANCHOR_END: {anchor}`"),
        1 => Ok(lines),
        _ => bail!("anchor `{anchor}` is there {seen} times"),
    }
}

/// The anchors of a file, for a message.
fn names(text: &str) -> String {
    let found: Vec<&str> =
        text.lines().filter_map(mark).filter(|(start, _)| *start).map(|(_, name)| name).collect();
    if found.is_empty() { "no anchors".to_owned() } else { found.join(", ") }
}

/// Whether a line is an anchor's mark: true at its start, false at its end; and the anchor's name.
pub fn mark(line: &str) -> Option<(bool, &str)> {
    let comment = line.trim_start();
    let text = comment.trim_start_matches(['/', '#', ';', '-', '!', '<', '*', ' ']);
    if text.len() == comment.len() {
        return None;
    }
    let (start, rest) = match text.strip_prefix("ANCHOR:") {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix("ANCHOR_END:")?),
    };
    Some((start, rest.split_whitespace().next().unwrap_or_default()))
}

/// Without the blank lines at both ends.
fn trim(mut lines: Vec<(usize, String)>) -> Vec<(usize, String)> {
    while lines.last().is_some_and(|(_, line)| line.trim().is_empty()) {
        lines.pop();
    }
    let first = lines.iter().position(|(_, line)| !line.trim().is_empty()).unwrap_or(0);
    lines.drain(..first);
    lines
}

/// All lines moved to the left by what they share.
fn dedent(mut lines: Vec<(usize, String)>) -> Vec<(usize, String)> {
    let full = lines.iter().filter(|(_, line)| !line.trim().is_empty());
    let margin = full.map(|(_, line)| indent(line)).min().unwrap_or(0);
    for (_, line) in &mut lines {
        line.drain(..margin.min(line.len()));
    }
    lines
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The name of the function whose signature begins on this line.
fn function(line: &str) -> Option<&str> {
    const MODIFIERS: [&str; 8] =
        ["pub", "pub(crate)", "pub(super)", "const", "async", "unsafe", "extern", "\"C\""];
    let mut rest = line.trim_start();
    while let Some((word, after)) = rest.split_once(' ') {
        rest = after;
        if word == "fn" {
            return rest.split(['(', '<']).next();
        }
        if !MODIFIERS.contains(&word) {
            return None;
        }
    }
    None
}

/// The language of a file for the highlighter.
fn language(file: &Path) -> &'static str {
    match file.extension().and_then(|extension| extension.to_str()).unwrap_or_default() {
        "rs" => "rust",
        "toml" => "toml",
        "json" => "json",
        "c" | "h" => "c",
        "sh" => "bash",
        _ => "text",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
mod a;
    // ANCHOR: one

    fn one() {
        // ANCHOR: inner
        body();
        // ANCHOR_END: inner
    }
    // ANCHOR_END: one
// ANCHOR: open
fn open() {}
";

    #[test]
    fn an_anchor_gives_its_lines_dedented_without_marks() {
        let lines = dedent(trim(anchored(FILE, "one").unwrap()));
        let text: Vec<&str> = lines.iter().map(|(_, line)| line.as_str()).collect();
        assert_eq!(text, ["fn one() {", "    body();", "}"]);
        assert_eq!(lines[1].0, 6);
    }

    #[test]
    fn a_missing_or_open_anchor_is_an_error_that_helps() {
        let missing = anchored(FILE, "two").unwrap_err().to_string();
        assert!(missing.contains("no anchor `two`") && missing.contains("one, inner, open"), "{missing}");
        assert!(anchored(FILE, "open").unwrap_err().to_string().contains("never closed"));
        let twice = format!("{FILE}{FILE}");
        assert!(anchored(&twice, "one").unwrap_err().to_string().contains("2 times"));
    }

    #[test]
    fn only_comments_are_marks() {
        assert_eq!(mark("  // ANCHOR: x"), Some((true, "x")));
        assert_eq!(mark("# ANCHOR_END: x"), Some((false, "x")));
        assert_eq!(mark("let s = \"ANCHOR: x\";"), None);
        assert_eq!(mark("ANCHOR: x"), None);
    }

    #[test]
    fn functions_are_named_with_any_modifier() {
        assert_eq!(function("pub(crate) fn gate(x: u8) {"), Some("gate"));
        assert_eq!(function("pub unsafe fn child<T>(x: T)"), Some("child"));
        assert_eq!(function("fn plain()"), Some("plain"));
        assert_eq!(function("// a fn here()"), None);
        assert_eq!(function("let f = |fn_name| 1;"), None);
    }
}
