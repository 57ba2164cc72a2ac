//! The transcripts of the book are recorded, not written: `book record`.
//!
//! The console blocks of a page run in order, those of a lab in one fresh lab each. What a command prints
//! is compared with what the book says; numbers, ids and times may differ, see [`same`]. Where it differs,
//! `record` writes the new output into the Markdown, and `record --check` fails and shows both. An output
//! that still agrees is left as it stands, so that an author's `…` and her chosen numbers stay.
//!
//! Left out: exit codes. A command that fails is often the point.

pub mod run;
pub mod same;

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::console::Transcript;
use crate::fence::Fence;
use crate::page::Page;
use crate::record::run::Runner;
use crate::site::Site;

/// Records, or only compares, the transcripts of all pages or of one chapter's.
///
/// # Errors
/// A block cannot be run or told apart; or, when comparing, a transcript is out of date.
pub fn run(site: &Site, only_compare: bool, chapter: Option<u8>) -> Result<()> {
    let chapters = match chapter {
        Some(number) => std::slice::from_ref(site.course.chapter(number)?),
        None => site.course.chapters.as_slice(),
    };
    let mut stale = 0;
    for chapter in chapters {
        // Each page starts from untouched starters and from no progress.
        let runner = Runner::for_site(site)?;
        stale += record_page(site, &runner, Path::new(&chapter.file), only_compare)?;
    }
    match (stale, only_compare) {
        (0, _) => println!("every transcript is as recorded"),
        (1, true) => bail!("1 block is out of date: `cargo run -p book -- record` writes it anew"),
        (stale, true) => {
            bail!("{stale} blocks are out of date: `cargo run -p book -- record` writes them anew")
        }
        (stale, false) => println!("{stale} blocks written anew"),
    }
    Ok(())
}

/// Runs the blocks of one page; returns how many were out of date.
///
/// # Errors
/// As [`run`].
pub fn record_page(site: &Site, runner: &Runner, name: &Path, only_compare: bool) -> Result<usize> {
    let page = Page::load(site, name)?;
    let mut changed: Vec<(Fence, Vec<String>)> = Vec::new();
    for fence in page.fences().into_iter().filter(|fence| fence.language() == "console") {
        let place = format!("{}:{}", page.shown.display(), fence.line);
        let mut transcript = Transcript::of(&fence).with_context(|| place.clone())?;
        let outputs = runner.run(&transcript).with_context(|| place.clone())?;
        let mut stale = false;
        for (command, output) in transcript.commands.iter_mut().zip(outputs) {
            if !same::same(&command.output, &output) {
                report(&place, &command.typed, &command.output, &output);
                command.output = output;
                stale = true;
            }
        }
        if stale {
            changed.push((fence, transcript.lines()));
        }
    }
    if !only_compare && !changed.is_empty() {
        let path = site.src().join(name);
        std::fs::write(&path, rewrite(&page.markdown, &changed))
            .with_context(|| format!("write {}", path.display()))?;
    }
    Ok(changed.len())
}

/// The Markdown with the bodies of these fences replaced.
fn rewrite(markdown: &str, changed: &[(Fence, Vec<String>)]) -> String {
    let mut lines: Vec<String> = markdown.lines().map(str::to_owned).collect();
    for (fence, body) in changed.iter().rev() {
        lines.splice(fence.line..fence.line + fence.body.len(), body.iter().cloned());
    }
    lines.join("\n") + "\n"
}

/// Shows what the book says and what the command says.
fn report(place: &str, typed: &str, book: &[String], run: &[String]) {
    println!("{place}: {typed}");
    for (sign, lines) in [('-', book), ('+', run)] {
        for line in lines {
            println!("  {sign} {line}");
        }
    }
    println!();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fence::fences;

    #[test]
    fn only_the_changed_bodies_are_rewritten() {
        let markdown = "a\n```console\n$ one\nold\n```\nb\n```console\n$ two\n```\n";
        let found = fences(markdown, 1);
        let body = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        let changed =
            [(found[0].clone(), body(&["$ one", "new", "er"])), (found[1].clone(), body(&["$ two", "x"]))];
        let expected = "a\n```console\n$ one\nnew\ner\n```\nb\n```console\n$ two\nx\n```\n";
        assert_eq!(rewrite(markdown, &changed), expected);
    }
}
