//! mdBook's anchors: the one kind of mark that sources carry.
//!
//! `// ANCHOR: name` and `// ANCHOR_END: name`, each alone on a line, name a stretch of a file. The book
//! shows it; an exercise names the one whose function bodies the reader writes. Anchors may overlap and
//! nest; a name stands for one stretch of one file.

use std::ops::Range;

use anyhow::{Result, bail};

/// The name that an opening or closing line carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark<'a> {
    Open(&'a str),
    Close(&'a str),
}

fn mark(line: &str) -> Option<Mark<'_>> {
    let comment = line.trim().trim_start_matches(['/', '#']).trim_start();
    if let Some(name) = comment.strip_prefix("ANCHOR:") {
        return Some(Mark::Open(name.trim()));
    }
    comment.strip_prefix("ANCHOR_END:").map(|name| Mark::Close(name.trim()))
}

/// The bytes between the two marks of `name`, the marks' own lines left out.
///
/// # Errors
/// A mark is missing, there twice, or they stand in the wrong order.
pub fn range(text: &str, name: &str) -> Result<Range<usize>> {
    let (mut open, mut close) = (None, None);
    for (start, line) in lines(text) {
        let (place, at) = match mark(line) {
            Some(Mark::Open(found)) if found == name => (&mut open, start + line.len()),
            Some(Mark::Close(found)) if found == name => (&mut close, start),
            _ => continue,
        };
        if place.replace(at).is_some() {
            bail!("the anchor `{name}` is there twice");
        }
    }
    match (open, close) {
        (Some(open), Some(close)) if open <= close => Ok(open..close),
        (Some(_), Some(_)) => bail!("the anchor `{name}` ends before it begins"),
        (Some(_), None) => bail!("the line `// ANCHOR_END: {name}` is missing"),
        (None, Some(_)) => bail!("the line `// ANCHOR: {name}` is missing"),
        (None, None) => bail!("there is no anchor `{name}`"),
    }
}

/// What stands between the marks of `name`, without the marks of other anchors, moved to the left margin.
///
/// # Errors
/// As [`range`].
pub fn text(text: &str, name: &str) -> Result<String> {
    let inside = &text[range(text, name)?];
    let kept: Vec<&str> = inside.lines().filter(|line| mark(line).is_none()).collect();
    let indent = |line: &&str| line.len() - line.trim_start().len();
    let margin = kept.iter().filter(|line| !line.trim().is_empty()).map(indent).min().unwrap_or(0);
    Ok(kept.iter().map(|line| format!("{}\n", line.get(margin..).unwrap_or(""))).collect())
}

/// The names of the anchors that `text` opens, in order.
pub fn opened(text: &str) -> Vec<&str> {
    let open = |line| match mark(line) {
        Some(Mark::Open(name)) => Some(name),
        _ => None,
    };
    text.lines().filter_map(open).collect()
}

/// Checks that every anchor of a file has both of its marks, once.
///
/// # Errors
/// As [`range`], for the first anchor that is broken.
pub fn check(text: &str) -> Result<()> {
    for line in text.lines() {
        if let Some(Mark::Open(name) | Mark::Close(name)) = mark(line) {
            range(text, name)?;
        }
    }
    Ok(())
}

/// The lines of `text` with their line breaks and where each begins.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split_inclusive('\n').scan(0, |at, line| {
        let start = *at;
        *at += line.len();
        Some((start, line))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "a\n    // ANCHOR: one\n    b\n    // ANCHOR: two\n        c\n    // ANCHOR_END: two\n\n    // ANCHOR_END: one\n";

    #[test]
    fn an_anchor_is_shown_without_marks_and_indent() {
        assert_eq!(text(SOURCE, "one").unwrap(), "b\n    c\n\n");
        assert_eq!(text(SOURCE, "two").unwrap(), "c\n");
        assert_eq!(opened(SOURCE), ["one", "two"]);
        check(SOURCE).unwrap();
    }

    #[test]
    fn a_name_that_begins_like_another_is_another() {
        assert!(range("// ANCHOR: gates\n// ANCHOR_END: gates\n", "gate").is_err());
    }

    #[test]
    fn what_is_missing_is_named() {
        let says = |source: &str| range(source, "x").unwrap_err().to_string();
        assert!(says("").contains("no anchor `x`"));
        assert!(says("// ANCHOR: x\n").contains("`// ANCHOR_END: x` is missing"));
        assert!(says("// ANCHOR_END: x\n").contains("`// ANCHOR: x` is missing"));
        assert!(says("// ANCHOR_END: x\n// ANCHOR: x\n").contains("ends before"));
        assert!(says("// ANCHOR: x\n// ANCHOR: x\n// ANCHOR_END: x\n").contains("twice"));
    }
}
