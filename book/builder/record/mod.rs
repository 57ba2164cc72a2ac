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

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::check::site_files::markdown_files;
use crate::console::Transcript;
use crate::fence::Fence;
use crate::page::Page;
use crate::record::run::Runner;
use crate::site::Site;

/// Records, or only compares, the transcripts of all pages, of one chapter's, or of those below one folder.
///
/// # Errors
/// A block cannot be run or told apart; or, when comparing, a transcript is out of date.
pub fn run(site: &Site, only_compare: bool, wanted: Option<&str>) -> Result<()> {
    let mut stale = 0;
    for page in pages(site, wanted)? {
        // Each page starts from untouched starters and from no progress.
        let runner = Runner::for_site(site)?;
        stale += record_page(site, &runner, &page, only_compare)?;
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

/// The recorded pages that are meant: `5` a chapter's, `escapes/07` those whose names begin so, none all.
fn pages(site: &Site, wanted: Option<&str>) -> Result<Vec<PathBuf>> {
    if let Some(number) = wanted.and_then(|wanted| wanted.parse().ok()) {
        return Ok(vec![site.course.chapter(number)?.file.clone().into()]);
    }
    let mut names = markdown_files(site)?;
    let begins = |name: &PathBuf| wanted.is_none_or(|wanted| name.to_string_lossy().starts_with(wanted));
    names.retain(|name| site.is_recorded(name) && begins(name));
    match names.is_empty() {
        true => bail!("no recorded page is called {}", wanted.unwrap_or_default()),
        false => Ok(names),
    }
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
