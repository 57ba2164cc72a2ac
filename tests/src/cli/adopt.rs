//! `adopt` and `release`: whose code the floors above build on.

use std::fmt::Write;

use anyhow::{Context, Result};
use workshop::course::Chapter;
use workshop::switchboard::{self, Owner};
use workshop::terminal;

use super::target::Target;
use super::{Here, check};

/// Points the chapter's line of the switchboard at the learner's crate, if its tests pass.
pub fn adopt(here: &Here, target: &Target, force: bool) -> Result<u8> {
    let chapter = target.chapter(&here.course)?;
    let (number, mine) = (chapter.number, chapter.my_crate());
    check::must_exist(here, chapter)?;
    if switchboard::owner(&here.root, chapter)? == Owner::Learner {
        terminal::print(&format!("The floors above build on your {mine} already.\n"))?;
        return Ok(0);
    }
    if !force && !check::once(here, chapter, None, None).context("adopt runs the tests first")? {
        eprintln!(
            "\nNot adopted: {mine} must pass first, or every later chapter would fail for a reason far away."
        );
        return Ok(1);
    }
    switchboard::switch(&here.root, chapter, Owner::Learner)?;
    let mut out = format!("Adopted: {} on your {mine} now.\n", who_builds(here, chapter));
    writeln!(out, "  Cargo.toml: {} = {{ path = \"chapters/{}\", ... }}", chapter.krate, chapter.dir)?;
    writeln!(out, "Back to the reference: cargo workshop release {number}")?;
    terminal::print(&out)?;
    Ok(0)
}

/// Points the chapter's line of the switchboard at the reference crate again.
pub fn release(here: &Here, target: &Target) -> Result<u8> {
    let chapter = target.chapter(&here.course)?;
    let krate = &chapter.krate;
    let text = match switchboard::switch(&here.root, chapter, Owner::Reference)? {
        true => format!(
            "Released: {} on the reference crate {krate} again. Your code stays in chapters/{}.\n",
            who_builds(here, chapter),
            chapter.dir
        ),
        false => format!("Nothing to do: the floors above build on the reference crate {krate} already.\n"),
    };
    terminal::print(&text)?;
    Ok(0)
}

/// "chapter 2 and 3 build" and its like.
fn who_builds(here: &Here, chapter: &Chapter) -> String {
    let above = here.course.chapters.iter().filter(|other| other.number > chapter.number);
    match above.map(|chapter| chapter.number).collect::<Vec<_>>().as_slice() {
        [] => "whatever comes above builds".to_owned(),
        [one] => format!("chapter {one} builds"),
        [first, .., last] => format!("chapters {first} to {last} build"),
    }
}
