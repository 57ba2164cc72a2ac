//! Exercises, hints and tests belong together.
//!
//! Each exercise of course.toml has its block and three hints on the chapter's page. Each test that it names
//! stands in the list `tests![..]` of `tests/stages/<crate>.rs` (a dash is an underscore there); and each test
//! of that list belongs to one exercise or stands in `extra_tests`. So a claim is never untested, and a test
//! never without a place in the book.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use workshop::course::Chapter;

use crate::finding::Findings;
use crate::page::Page;
use crate::site::Site;

/// Checks the exercises of one chapter.
pub fn check(site: &Site, chapter: &Chapter, page: &Page, findings: &mut Findings) -> Result<()> {
    for exercise in &chapter.exercises {
        let of_it =
            |name| page.blocks(name).filter(|(_, words, _)| words.first() == Some(&exercise.id)).count();
        match of_it("exercise") {
            1 => {}
            0 => findings.add(&page.shown, 1, format!("exercise `{}` is missing", exercise.id)),
            many => findings.add(&page.shown, 1, format!("exercise `{}` is there {many} times", exercise.id)),
        }
        let hints = of_it("hint");
        if hints != 3 && of_it("exercise") > 0 {
            let line = page.line_of(&format!("::: exercise {}", exercise.id));
            findings.add(&page.shown, line, format!("`{}` has {hints} hints, not three", exercise.id));
        }
    }
    if chapter.has_crate() { tests(site, chapter, findings) } else { Ok(()) }
}

/// Compares the names of course.toml with the functions of the stage.
fn tests(site: &Site, chapter: &Chapter, findings: &mut Findings) -> Result<()> {
    let table = site.shown(&site.book.join("course.toml"));
    let stage = site.root.join("tests/stages").join(format!("{}.rs", chapter.krate.replace('-', "_")));
    let shown = site.shown(&stage);
    if !stage.is_file() {
        findings.add(&table, line_of_chapter(site, chapter)?, format!("{} is missing", shown.display()));
        return Ok(());
    }
    let code = std::fs::read_to_string(&stage).with_context(|| format!("read {}", stage.display()))?;
    let there = listed_tests(&code);
    let mut named: BTreeMap<&str, &str> = BTreeMap::new();
    let of_exercises =
        chapter.exercises.iter().flat_map(|e| e.tests.iter().map(|test| (test, e.id.as_str())));
    for (test, owner) in of_exercises.chain(chapter.extra_tests.iter().map(|test| (test, "extra_tests"))) {
        let line = line_of(site, &format!("\"{test}\""))?;
        if let Some(other) = named.insert(test, owner) {
            findings.add(&table, line, format!("test `{test}` belongs to `{other}` and to `{owner}`"));
        }
        if !there.contains_key(test.as_str()) {
            findings.add(&table, line, format!("{} has no test `{test}`", shown.display()));
        }
    }
    for (test, line) in &there {
        if !named.contains_key(test) {
            findings.add(
                &shown,
                *line,
                format!("test `{test}` belongs to no exercise: add it, or to extra_tests"),
            );
        }
    }
    for exercise in chapter.exercises.iter().filter(|exercise| exercise.tests.is_empty()) {
        let line = line_of(site, &format!("\"{}\"", exercise.id))?;
        findings.add(&table, line, format!("exercise `{}` has no test", exercise.id));
    }
    Ok(())
}

/// The names in the list `tests![..]` of a stage's file, with their lines.
fn listed_tests(code: &str) -> BTreeMap<&str, usize> {
    let lines = code.lines().enumerate().skip_while(|(_, line)| !line.starts_with("tests!["));
    let inside = lines.skip(1).take_while(|(_, line)| !line.starts_with(']'));
    let names = inside.flat_map(|(index, line)| line.split(',').map(move |name| (name.trim(), index + 1)));
    names.filter(|(name, _)| !name.is_empty() && !name.starts_with("//")).collect()
}

fn line_of_chapter(site: &Site, chapter: &Chapter) -> Result<usize> {
    line_of(site, &format!("crate = \"{}\"", chapter.krate))
}

/// The line of course.toml that holds `text`.
fn line_of(site: &Site, text: &str) -> Result<usize> {
    let path: &Path = &site.book.join("course.toml");
    let table = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    Ok(table.lines().position(|line| line.contains(text)).map_or(1, |index| index + 1))
}
