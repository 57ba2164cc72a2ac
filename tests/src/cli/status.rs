//! `cargo workshop`: where you are, on one screen, and what to do next.

use std::fmt::Write;

use anyhow::Result;
use workshop::course::Chapter;
use workshop::progress::Progress;
use workshop::switchboard::{self, Owner};
use workshop::terminal::{self, Look, styled};

use super::{Here, next};

/// Prints progress by chapter, and the next step.
pub fn show(here: &Here) -> Result<u8> {
    let progress = Progress::load(&here.root)?;
    let mut out = format!("{}\n\n", styled(Look::Bold, &here.course.title));
    let widest = here.course.chapters.iter().map(|chapter| chapter.title.chars().count()).max().unwrap_or(0);
    for chapter in &here.course.chapters {
        let done = if chapter.has_crate() { exercises(chapter, &progress) } else { steps(&progress) };
        let mine = chapter.has_crate() && switchboard::owner(&here.root, chapter)? == Owner::Learner;
        let mine = if mine { ", adopted: the floors above build on it" } else { "" };
        writeln!(out, "  {:>2}  {:widest$}  {done}{mine}", chapter.number, chapter.title)?;
    }
    write!(out, "\n{}", next::words(&here.course, &progress))?;
    if let Some(chapter) = ready_to_adopt(here, &progress)? {
        let (number, mine) = (chapter.number, chapter.my_crate());
        writeln!(out, "\nChapter {number} is complete. To build the rest of the engine on your {mine}:")?;
        writeln!(out, "      cargo workshop adopt {number}")?;
    }
    terminal::print(&out)?;
    Ok(0)
}

fn exercises(chapter: &Chapter, progress: &Progress) -> String {
    let dot =
        |exercise| if progress.passed(exercise) { styled(Look::Green, "●") } else { "○".to_owned() };
    let dots: String = chapter.exercises.iter().map(dot).collect();
    format!("{dots} {} of {}", progress.count(chapter), chapter.exercises.len())
}

fn steps(progress: &Progress) -> String {
    let done =
        |step| if progress.steps.contains_key(step) { styled(Look::Green, "●") } else { "○".to_owned() };
    format!("{}{} doctor, tour", done("doctor"), done("tour"))
}

/// The first chapter whose exercises all passed and that is not adopted.
fn ready_to_adopt<'a>(here: &'a Here, progress: &Progress) -> Result<Option<&'a Chapter>> {
    for chapter in here.course.chapters.iter().filter(|chapter| !chapter.exercises.is_empty()) {
        let complete = progress.count(chapter) == chapter.exercises.len();
        if complete && switchboard::owner(&here.root, chapter)? == Owner::Reference {
            return Ok(Some(chapter));
        }
    }
    Ok(None)
}
