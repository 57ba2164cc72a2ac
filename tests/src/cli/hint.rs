//! `hint`: one more hint each time, read out of the chapter itself.

use std::fmt::Write;

use anyhow::{Context, Result, bail};
use workshop::course::Exercise;
use workshop::progress::Progress;
use workshop::terminal::{self, Look, styled};
use workshop::{prose, workspace};

use super::Here;
use super::target::Target;

/// Shows the next hint, or those of before again.
pub fn show(here: &Here, target: &Target, again: bool) -> Result<u8> {
    let (chapter, exercise) = target.exercise(&here.course)?;
    let page = chapter.markdown(&here.root);
    let hints = prose::hints(&workspace::read(&page)?, &exercise.id)
        .with_context(|| workspace::shown(&here.root, &page))?;
    if hints.is_empty() {
        bail!(
            "the book has no hint for {} yet: read \"Build it\" in chapter {}",
            exercise.number,
            chapter.number
        );
    }
    let seen = Progress::load(&here.root)?.of(exercise).hints.min(hints.len());
    let text = if again { repeat(exercise, &hints, seen) } else { one_more(here, exercise, &hints)? };
    terminal::print(&text)?;
    Ok(0)
}

/// The next hint; behind the last one, the last one once more.
fn one_more(here: &Here, exercise: &Exercise, hints: &[String]) -> Result<String> {
    let (count, fresh) = Progress::update(&here.root, |progress| {
        let seen = progress.of(exercise).hints;
        let count = (seen + 1).min(hints.len());
        progress.hinted(exercise, count);
        (count, seen < hints.len())
    })?;
    let mut out = String::new();
    if !fresh {
        writeln!(out, "You have seen all hints. Here is the last one again.\n")?;
    }
    out.push_str(&one(exercise, hints, count - 1));
    out.push_str(&afterwards(exercise, count, hints.len()));
    Ok(out)
}

fn repeat(exercise: &Exercise, hints: &[String], seen: usize) -> String {
    let number = &exercise.number;
    if seen == 0 {
        return format!(
            "You have not asked for a hint yet.\n\nThe first one: cargo workshop hint {number}\n"
        );
    }
    let shown: String = (0..seen).map(|index| one(exercise, hints, index)).collect();
    shown + &afterwards(exercise, seen, hints.len())
}

fn one(exercise: &Exercise, hints: &[String], index: usize) -> String {
    let head = format!("Hint {} of {} for {} {}", index + 1, hints.len(), exercise.number, exercise.title);
    format!("{}\n\n{}\n", styled(Look::Bold, head), terminal::markdown(&hints[index]))
}

fn afterwards(exercise: &Exercise, count: usize, all: usize) -> String {
    let number = &exercise.number;
    if count < all {
        return format!("One more: cargo workshop hint {number}\n");
    }
    format!("That was the last hint. One solution: cargo workshop solution {number}\n")
}
