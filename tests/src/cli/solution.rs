//! `solution`: one way to write an exercise, from the reference crate. Asks first if it is not solved yet.

use anyhow::{Context, Result};
use workshop::course::{Chapter, Exercise};
use workshop::progress::Progress;
use workshop::terminal::{self, Look, styled};
use workshop::{anchor, workspace};

use super::target::Target;
use super::{Consent, Here, wrong};

/// Shows the functions of the exercise's anchor.
pub fn show(here: &Here, target: &Target, consent: &Consent) -> Result<u8> {
    let (chapter, exercise) = target.exercise(&here.course)?;
    let path = chapter.solution_dir(&here.root).join(&exercise.file);
    let shown = workspace::shown(&here.root, &path);
    let text = anchor::text(&workspace::read(&path)?, &exercise.anchor).with_context(|| shown.clone())?;
    if !agreed(here, chapter, &[exercise], consent)? {
        return Ok(1);
    }
    let head = format!("{} {}: one solution, from {shown}", exercise.number, exercise.title);
    terminal::print(&format!("{}\n\n{}\n", styled(Look::Bold, head), text.trim_end()))?;
    Ok(0)
}

/// Whether the reader may or wants to see these solutions now; remembers that they were shown.
///
/// Shown freely: what passed its tests, and what was shown before.
pub fn agreed(here: &Here, chapter: &Chapter, exercises: &[&Exercise], consent: &Consent) -> Result<bool> {
    let progress = Progress::load(&here.root)?;
    let is_open = |exercise: &&&Exercise| {
        let mark = progress.of(exercise);
        mark.passed.is_none() && mark.solution.is_none()
    };
    let open: Vec<&str> = exercises.iter().filter(is_open).map(|exercise| exercise.number.as_str()).collect();
    if !open.is_empty() && !consent.yes && !ask(chapter, &open)? {
        return Ok(false);
    }
    Progress::update(&here.root, |progress| {
        exercises.iter().for_each(|exercise| progress.solution_shown(exercise));
    })?;
    Ok(true)
}

fn ask(chapter: &Chapter, open: &[&str]) -> Result<bool> {
    let (verb, numbers) = (if open.len() == 1 { "has" } else { "have" }, open.join(", "));
    if !terminal::can_ask() {
        return Err(wrong(format!(
            "{numbers} {verb} not passed yet: add --yes to see the solution all the same"
        )));
    }
    let first = open[0];
    let question = format!("{numbers} {verb} not passed yet. See the solution all the same?");
    let yes = terminal::ask(&question)?;
    if !yes {
        terminal::print(&format!(
            "Good. A hint may do: cargo workshop hint {first}\nOr the tests: cargo workshop check {}\n",
            chapter.number
        ))?;
    }
    Ok(yes)
}
