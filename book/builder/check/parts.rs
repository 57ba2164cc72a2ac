//! The anatomy of a chapter: its parts, all of them, in order.
//!
//! Also here: no code that may be wrong unnoticed. A `rust` fence in a page is refused, because only a
//! listing, which comes out of a crate, is known to build; and a transcript stands where it is recorded.

use workshop::course::Chapter;
use workshop::prose::Piece;

use crate::finding::Findings;
use crate::page::Page;

/// The parts of a chapter that builds something.
const BUILDING: [&str; 12] = [
    "The gap",
    "Predict",
    "Try it in a shell",
    "The idea",
    "Build it",
    "Check",
    "Use it",
    "Break it",
    "How the real ones do it",
    "Check yourself",
    "When it goes wrong",
    "Recap",
];

/// The parts that a chapter without a crate leaves out.
const NEEDS_A_CRATE: [&str; 2] = ["Build it", "Check"];

/// Checks title, card, goals, parts, and the instructor's notes of a chapter's page.
pub fn check(chapter: &Chapter, page: &Page, findings: &mut Findings) {
    head(chapter, page, findings);
    let required: Vec<&str> =
        BUILDING.into_iter().filter(|part| chapter.has_crate() || !NEEDS_A_CRATE.contains(part)).collect();
    let found = headings(page);
    for part in &required {
        if !found.iter().any(|(_, name)| name == part) {
            findings.add(&page.shown, 1, format!("the part `## {part}` is missing"));
        }
    }
    let mut last: Option<(usize, &str)> = None;
    for (line, name) in &found {
        let Some(place) = required.iter().position(|part| part == name) else {
            findings.add(&page.shown, *line, format!("`## {name}` is no part of this chapter: use `###`"));
            continue;
        };
        match last {
            Some((before, earlier)) if place <= before => {
                findings.add(&page.shown, *line, format!("`## {name}` stands behind `## {earlier}`"));
            }
            _ => last = Some((place, name)),
        }
    }
    instructor(page, findings);
}

/// `# Title`, the card and the goals stand above the first part.
fn head(chapter: &Chapter, page: &Page, findings: &mut Findings) {
    let title = format!("# {}", chapter.title);
    if page.markdown.lines().next() != Some(&title) {
        findings.add(&page.shown, 1, format!("the first line is `{title}`, the title of course.toml"));
    }
    let first_part = headings(page).first().map_or(usize::MAX, |(line, _)| *line);
    for name in ["card", "goals"] {
        let is_it = |piece: &Piece| matches!(piece, Piece::Directive { name: found, .. } if found == name);
        if !page.parts.iter().any(|part| is_it(&part.piece) && part.line < first_part) {
            findings.add(&page.shown, 1, format!("`{{{{#{name}}}}}` is missing above the first part"));
        }
    }
}

/// The instructor's notes are there, and last.
fn instructor(page: &Page, findings: &mut Findings) {
    let notes = page.blocks("instructor").count();
    if notes != 1 {
        findings.add(&page.shown, 1, format!("a chapter has one `::: instructor` block, this one {notes}"));
    }
    let mut behind = page
        .parts
        .iter()
        .rev()
        .take_while(|part| !matches!(&part.piece, Piece::Block { name, .. } if name == "instructor"));
    let text = behind.find(|part| !matches!(&part.piece, Piece::Text(text) if text.trim().is_empty()));
    if let Some(part) = text.filter(|_| notes == 1) {
        findings.add(&page.shown, part.line, "`::: instructor` is the last block of a chapter");
    }
}

/// The `## ` headings outside blocks and fences, with their lines.
fn headings(page: &Page) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (line, text, _) in page.texts().filter(|(_, _, block)| block.is_empty()) {
        let mut in_fence = false;
        for (offset, text) in text.lines().enumerate() {
            in_fence ^= text.trim_start().starts_with("```");
            if let Some(name) = text.strip_prefix("## ").filter(|_| !in_fence) {
                found.push((line + offset, name.trim().to_owned()));
            }
        }
    }
    found
}

/// Code blocks that nobody keeps true: Rust that is not compiled, transcripts that are not recorded.
pub fn code_blocks(page: &Page, is_recorded: bool, findings: &mut Findings) {
    for fence in page.fences() {
        let what = match fence.language() {
            "rust" | "rs" => {
                "nobody compiles this: show it with `{{#listing file:anchor}}`, or mark it `text`"
            }
            "console" if fence.indent > 0 => "a console block stands at the margin, not in a list",
            "console" if !is_recorded => {
                "the transcripts of this page are not recorded: mark this one `text`"
            }
            "" => "say what this is: `console`, `text`, `c`, ..",
            _ => continue,
        };
        findings.add(&page.shown, fence.line, what);
    }
}
