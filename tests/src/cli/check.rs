//! `check`: compiles the learner's crate, runs the stage's tests against it, remembers what passed.

use anyhow::Result;
use workshop::course::{Chapter, Exercise};
use workshop::lab::Ground;
use workshop::progress::Progress;
use workshop::stage::{self, CheckOptions};
use workshop::terminal;

use super::target::Target;
use super::{Here, code, next, wrong};

/// One check; the exit code says whether all passed.
pub fn check(here: &Here, target: &Target, ground: Option<Ground>) -> Result<u8> {
    let (chapter, exercise) = target.find(&here.course)?;
    let passed = once(here, chapter, exercise, ground)?;
    if passed {
        let progress = Progress::load(&here.root)?;
        if progress.count(chapter) == chapter.exercises.len() {
            let number = chapter.number;
            terminal::print(&format!(
                "\nNow break it: cargo workshop book, chapter {number}, \"Break it\"\n\
                 The engine can run on your code: cargo workshop adopt {number}\n"
            ))?;
        }
        terminal::print(&format!("\n{}", next::words(&here.course, &progress)))?;
    }
    Ok(code(passed))
}

/// Builds, tests, remembers.
pub fn once(
    here: &Here,
    chapter: &Chapter,
    exercise: Option<&Exercise>,
    ground: Option<Ground>,
) -> Result<bool> {
    must_exist(here, chapter)?;
    let options = CheckOptions { ground, quiet: false };
    let checked = stage::check(&here.root, chapter, exercise, &options)?;
    Progress::update(&here.root, |progress| {
        let done = chapter.exercises.iter().filter(|exercise| checked.exercises.contains(&exercise.number));
        done.for_each(|exercise| progress.pass(exercise));
    })?;
    Ok(checked.all)
}

/// Says what to do about a chapter's folder that is gone, before cargo says something longer.
pub fn must_exist(here: &Here, chapter: &Chapter) -> Result<()> {
    if chapter.starter_dir(&here.root).join("Cargo.toml").is_file() {
        return Ok(());
    }
    let number = chapter.number;
    Err(wrong(format!(
        "chapters/{}/Cargo.toml is missing: `cargo workshop reset {number}` brings the starter back",
        chapter.dir
    )))
}
