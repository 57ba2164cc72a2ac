//! What to do next: one step, and the commands for it.

use workshop::course::{Chapter, Course, Exercise};
use workshop::progress::Progress;

/// The step that a learner's progress asks for.
#[derive(Debug)]
enum Next<'a> {
    /// See what the machine offers.
    Doctor,
    /// Start a first container.
    Tour,
    /// Write this.
    Write(&'a Chapter, &'a Exercise),
    /// Nothing is left.
    Finished,
}

/// The next step: first the two of chapter 0, for whoever has written nothing yet; then the first open
/// exercise of the chapter at work, of those behind it, of those before it. One may start anywhere.
fn next<'a>(course: &'a Course, progress: &Progress) -> Next<'a> {
    if progress.exercises.is_empty() {
        if !progress.steps.contains_key("doctor") {
            return Next::Doctor;
        }
        if !progress.steps.contains_key("tour") {
            return Next::Tour;
        }
    }
    let at_work = at_work(course, progress);
    let (before, from_here) = course.chapters.split_at(at_work);
    let open = |chapter: &'a Chapter| {
        let exercise = chapter.exercises.iter().find(|exercise| !progress.passed(exercise))?;
        Some(Next::Write(chapter, exercise))
    };
    from_here.iter().chain(before).find_map(open).unwrap_or(Next::Finished)
}

/// What comes next, in words.
pub fn words(course: &Course, progress: &Progress) -> String {
    let next = next(course, progress);
    let at_work = &course.chapters[at_work(course, progress)];
    let said = match &next {
        Next::Write(open, _) if open.number < at_work.number => "Still open, of the floors below:\n\n",
        _ => "",
    };
    format!("{said}{}", next.text())
}

/// The index of the chapter where something happened last.
fn at_work(course: &Course, progress: &Progress) -> usize {
    let last = |chapter: &Chapter| chapter.exercises.iter().filter_map(|e| progress.of(e).last).max();
    (0..course.chapters.len())
        .max_by_key(|index| (last(&course.chapters[*index]), usize::MAX - index))
        .unwrap_or(0)
}

impl Next<'_> {
    /// The step in words, with what to type.
    fn text(&self) -> String {
        match self {
            Next::Doctor => "Next: see what this machine offers\n      cargo workshop doctor\n".to_owned(),
            Next::Tour => "Next: meet a first container\n      cargo workshop tour\n".to_owned(),
            Next::Finished => "Everything is built. The engine is yours.\n".to_owned(),
            Next::Write(chapter, exercise) => {
                let number = &exercise.number;
                format!(
                    "Next: {number} {}\n      {}\n\n      read   cargo workshop book        (chapter {}: {})\n      \
                     write  chapters/{}/{}\n      check  cargo workshop check {number}\n      stuck? cargo workshop hint {number}\n",
                    exercise.title, exercise.goal, chapter.number, chapter.title, chapter.dir, exercise.file
                )
            }
        }
    }
}
