//! `diff`: where the learner's code differs from the reference, line by line.
//!
//! For a chapter, every file that differs; for an exercise, what stands inside its anchor. The reference is
//! shown as it would stand in the learner's crate: under her crate's name.

use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};
use similar::{ChangeTag, TextDiff};
use workshop::course::{Chapter, Exercise};
use workshop::terminal::{self, Look, styled};
use workshop::{anchor, generate, workspace};

use super::target::Target;
use super::{Consent, Here, check, solution};

/// Shows the differences; the exit code is 0 with or without any.
pub fn show(here: &Here, target: &Target, consent: &Consent) -> Result<u8> {
    let (chapter, exercise) = target.find(&here.course)?;
    check::must_exist(here, chapter)?;
    let revealed: Vec<&Exercise> =
        exercise.map_or_else(|| chapter.exercises.iter().collect(), |one| vec![one]);
    let differences = match exercise {
        Some(exercise) => of_exercise(here, chapter, exercise)?,
        None => of_chapter(here, chapter)?,
    };
    if differences.is_empty() {
        terminal::print("No difference: yours is the reference, line by line.\n")?;
        return Ok(0);
    }
    if !solution::agreed(here, chapter, &revealed, consent)? {
        return Ok(1);
    }
    let legend = format!("{} yours   {} the reference\n", styled(Look::Red, "-"), styled(Look::Green, "+"));
    terminal::print(&(legend + &differences))?;
    Ok(0)
}

fn of_exercise(here: &Here, chapter: &Chapter, exercise: &Exercise) -> Result<String> {
    let name = Path::new(&exercise.file);
    let path = chapter.starter_dir(&here.root).join(name);
    let shown = workspace::shown(&here.root, &path);
    let answer = generate::answer(&here.root, chapter)?;
    let reference = answer.get(name).map(|bytes| String::from_utf8_lossy(bytes)).unwrap_or_default();
    let mine = workspace::read(&path)?;
    let inside = anchor::range(&mine, &exercise.anchor).with_context(|| shown.clone())?;
    let lines_before = mine[..inside.start].lines().count();
    Ok(one(&shown, lines_before, &mine[inside], &reference[anchor::range(&reference, &exercise.anchor)?]))
}

fn of_chapter(here: &Here, chapter: &Chapter) -> Result<String> {
    let folder = chapter.starter_dir(&here.root);
    let answer = generate::answer(&here.root, chapter)?;
    let mut out = String::new();
    for (name, reference) in &answer {
        let path = folder.join(name);
        let mine = std::fs::read(&path).unwrap_or_default();
        let (mine, reference) = (String::from_utf8_lossy(&mine), String::from_utf8_lossy(reference));
        out.push_str(&one(&workspace::shown(&here.root, &path), 0, &mine, &reference));
    }
    for path in generate::stray(&folder, &answer)? {
        writeln!(out, "\n{} is yours alone", workspace::shown(&here.root, &path))?;
    }
    Ok(out)
}

/// The differing stretches of one file, three lines of context around each; empty if there are none.
///
/// The texts begin after so many lines of the file.
fn one(name: &str, lines_before: usize, mine: &str, reference: &str) -> String {
    let diff = TextDiff::from_lines(mine, reference);
    let mut out = String::new();
    for group in diff.grouped_ops(3) {
        let line = group.first().map_or(0, |op| op.old_range().start) + lines_before + 1;
        out.push_str(&format!("\n{}\n", styled(Look::Bold, format!("{name}, line {line}"))));
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let text = change.value().trim_end_matches('\n');
            let text = match change.tag() {
                ChangeTag::Equal => format!("  {text}"),
                ChangeTag::Delete => styled(Look::Red, format!("- {text}")),
                ChangeTag::Insert => styled(Look::Green, format!("+ {text}")),
            };
            out.push_str(text.trim_end());
            out.push('\n');
        }
    }
    out
}
