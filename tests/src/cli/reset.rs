//! `reset`: back to the starter; what was there is kept aside.

use std::fmt::Write;

use anyhow::Result;
use workshop::progress::Progress;
use workshop::{reset, terminal, workspace};

use super::Here;
use super::target::Target;

/// Puts the starter back, and takes the exercises off the list of those that passed.
pub fn reset(here: &Here, target: &Target) -> Result<u8> {
    let (chapter, exercise) = target.find(&here.course)?;
    let outcome = match exercise {
        Some(exercise) => reset::exercise(&here.root, chapter, exercise)?,
        None => reset::chapter(&here.root, chapter)?,
    };
    let had_passed = Progress::update(&here.root, |progress| {
        let of_it =
            chapter.exercises.iter().filter(|one| exercise.is_none_or(|exercise| exercise.id == one.id));
        of_it.filter(|one| progress.unpass(one)).count() > 0
    })?;
    let what = exercise.map_or(format!("chapter {}", chapter.number), |exercise| exercise.number.clone());
    let mut out = match outcome.restored.is_empty() {
        true => format!("Nothing to do: {what} is as it was in the beginning.\n"),
        false => format!("Back to the starter: {what}.\n"),
    };
    for path in &outcome.restored {
        writeln!(out, "  {}", workspace::shown(&here.root, path))?;
    }
    if had_passed {
        writeln!(out, "What had passed counts as open again.")?;
    }
    if let Some(kept) = &outcome.kept {
        writeln!(out, "Your version is kept in {}", workspace::shown(&here.root, kept))?;
    }
    for path in &outcome.own {
        writeln!(
            out,
            "Left as it is, for the starter has no such file: {}",
            workspace::shown(&here.root, path)
        )?;
    }
    terminal::print(&out)?;
    Ok(0)
}
