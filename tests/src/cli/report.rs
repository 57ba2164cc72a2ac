//! `report`: a learner's progress, for herself or for whoever holds the class.
//!
//! Nothing leaves the machine: a trainer who wants it collects what `--json` prints.

use std::fmt::Write;

use anyhow::Result;
use serde_json::{Value, json};
use workshop::course::{Chapter, Exercise};
use workshop::progress::Progress;
use workshop::switchboard::{self, Owner};
use workshop::terminal;

use super::Here;

/// Prints the report as columns or as JSON.
pub fn show(here: &Here, as_json: bool) -> Result<u8> {
    let progress = Progress::load(&here.root)?;
    let text = if as_json { json_text(here, &progress)? } else { columns(here, &progress)? };
    terminal::print(&text)?;
    Ok(0)
}

fn columns(here: &Here, progress: &Progress) -> Result<String> {
    let with_exercises = || here.course.chapters.iter().filter(|chapter| !chapter.exercises.is_empty());
    let all = with_exercises().flat_map(|chapter| &chapter.exercises);
    let widest = all.map(|exercise| exercise.title.chars().count()).max().unwrap_or(0);
    let mut out = format!("{:<5} {:widest$}  {:<10}  HINTS  SOLUTION\n", "", "EXERCISE", "PASSED");
    for chapter in with_exercises() {
        for exercise in &chapter.exercises {
            let mark = progress.of(exercise);
            let day =
                |time: Option<String>| time.map_or("-".to_owned(), |time| time.chars().take(10).collect());
            let solution = if mark.solution.is_some() { "shown" } else { "-" };
            let (passed, hints) = (day(mark.passed), mark.hints);
            let (number, title) = (&exercise.number, &exercise.title);
            writeln!(out, "{number:<5} {title:widest$}  {passed:<10}  {hints:<5}  {solution}")?;
        }
    }
    let (done, total) = totals(here, progress);
    writeln!(out, "\n{done} of {total} exercises passed")?;
    Ok(out)
}

fn totals(here: &Here, progress: &Progress) -> (usize, usize) {
    let chapters = &here.course.chapters;
    let done = chapters.iter().map(|chapter| progress.count(chapter)).sum();
    (done, chapters.iter().map(|chapter| chapter.exercises.len()).sum())
}

fn json_text(here: &Here, progress: &Progress) -> Result<String> {
    let (passed, total) = totals(here, progress);
    let mut chapters = Vec::new();
    for chapter in &here.course.chapters {
        chapters.push(of_chapter(here, chapter, progress)?);
    }
    let report = json!({
        "course": here.course.title,
        "learner": std::env::var("USER").ok(),
        "passed": passed,
        "exercises": total,
        "steps": progress.steps,
        "chapters": chapters,
    });
    Ok(format!("{report:#}\n"))
}

fn of_chapter(here: &Here, chapter: &Chapter, progress: &Progress) -> Result<Value> {
    let adopted = chapter.has_crate() && switchboard::owner(&here.root, chapter)? == Owner::Learner;
    let exercises: Vec<Value> = chapter.exercises.iter().map(|one| of_exercise(one, progress)).collect();
    Ok(json!({
        "number": chapter.number,
        "title": chapter.title,
        "passed": progress.count(chapter),
        "adopted": adopted,
        "exercises": exercises,
    }))
}

fn of_exercise(exercise: &Exercise, progress: &Progress) -> Value {
    let mark = progress.of(exercise);
    json!({
        "id": exercise.id,
        "number": exercise.number,
        "title": exercise.title,
        "passed": mark.passed,
        "hints": mark.hints,
        "solution_shown": mark.solution,
    })
}
