//! The red gate: on an unedited starter exactly the tests of its own exercises fail, and each answer turns
//! exactly its own exercise's tests green, in the order in which a learner writes them.
//!
//! A trial is a chapter on one step of its way, `process::3_of_6_written`: with the first three exercises
//! written, their tests pass and all later ones fail. Step 0 is the starter, the last one the solution.
//! Lower floors are the reference crates, whose tests must pass beside it.

#[path = "support/copy.rs"]
mod copy;
#[path = "support/ground.rs"]
mod ground;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};
use copy::{Copy, outcomes, told};
use ground::{ended, on_with};
use libtest_mimic::{Arguments, Trial};
use workshop::course::{Chapter, Course};
use workshop::lab::Ground;
use workshop::stage::{self, verdict::Outcome};

fn main() -> ExitCode {
    workshop::hidden::dispatch();
    let mut arguments = Arguments::from_args();
    // One copy, one step after the other: each builds on the files of the one before.
    arguments.test_threads = Some(1);
    let course = Course::load(&copy::root()).expect("the course");
    let shared = Arc::new(Mutex::new(None));
    let mut trials =
        vec![Trial::ignorable_test("every_test_belongs_to_one_exercise", || ended(tests_and_exercises()))];
    for chapter in course.chapters.iter().filter(|chapter| chapter.has_crate()) {
        trials.extend(trials_of(chapter, &shared));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The copy, made by the first trial that runs.
type Shared = Arc<Mutex<Option<Copy>>>;

fn trials_of(chapter: &Chapter, shared: &Shared) -> Vec<Trial> {
    let all = chapter.exercises.len();
    let number = chapter.number;
    let steps = (0..=all).map(|done| (format!("{}::{done}_of_{all}_written", chapter.krate), Some(done)));
    let below = (chapter.number > 1).then(|| (format!("{}::floors_below_hold", chapter.krate), None));
    let trial = |(name, done): (String, Option<usize>)| {
        let (shared, needs) = (Arc::clone(shared), chapter.needs.clone());
        Trial::ignorable_test(name, move || {
            on_with(&needs, Ground::User, || {
                with_copy(&shared, |copy| match done {
                    Some(done) => step(copy, copy.course.chapter(number)?, done),
                    None => below_hold(copy, number),
                })
            })
        })
    };
    steps.chain(below).map(trial).collect()
}

fn with_copy(shared: &Shared, work: impl FnOnce(&Copy) -> Result<()>) -> Result<()> {
    let mut copy = shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if copy.is_none() {
        *copy = Some(Copy::new()?);
    }
    work(copy.as_ref().context("the copy was made")?)
}

/// The first `done` exercises are written: their tests and the extra ones pass, all others fail.
fn step(copy: &Copy, chapter: &Chapter, done: usize) -> Result<()> {
    copy.answer(chapter, done)?;
    let subject = copy.subject(chapter, &chapter.my_crate())?;
    let (written, open) = chapter.exercises.split_at(done);
    let names = |exercises: &[workshop::course::Exercise]| -> Vec<String> {
        exercises.iter().flat_map(|exercise| exercise.tests.clone()).collect()
    };
    let green = [names(written), chapter.extra_tests.clone()].concat();
    let red = names(open);
    let seen = outcomes(&subject, Ground::User, &[green.as_slice(), &red].concat())?;
    let is_red = |name: &&String| matches!(seen.get(*name), Some(Outcome::Failed(_)));
    let is_green = |name: &&String| matches!(seen.get(*name), Some(Outcome::Passed));
    let wrong: Vec<String> = (green.iter().filter(|name| !is_green(name)))
        .map(|name| format!("must pass: {}", told(name, seen.get(name))))
        .chain(red.iter().filter(|name| !is_red(name)).map(|name| format!("must fail: {name}")))
        .collect();
    ensure!(wrong.is_empty(), "with {done} exercises written\n{}", wrong.join("\n"));
    Ok(())
}

/// The tests of earlier stages pass on the reference crates, beside the starter.
fn below_hold(copy: &Copy, number: u8) -> Result<()> {
    for chapter in copy.chapters().filter(|chapter| chapter.number < number) {
        let subject = copy.subject(chapter, &chapter.krate)?;
        let names: Vec<String> =
            stage::of_chapter(chapter.number).iter().map(|test| test.name.to_owned()).collect();
        for (name, outcome) in outcomes(&subject, Ground::User, &names)? {
            ensure!(outcome == Outcome::Passed, "{}: {}", chapter.krate, told(&name, Some(&outcome)));
        }
    }
    Ok(())
}

/// Each test of a stage stands in one exercise or among the extra tests, and each exercise has one.
fn tests_and_exercises() -> Result<()> {
    let course = Course::load(&copy::root())?;
    for chapter in course.chapters.iter().filter(|chapter| chapter.has_crate()) {
        let mut listed = BTreeSet::new();
        for exercise in &chapter.exercises {
            ensure!(!exercise.tests.is_empty(), "exercise {} has no test", exercise.number);
        }
        let tests = chapter.exercises.iter().flat_map(|exercise| &exercise.tests);
        for name in tests.chain(&chapter.extra_tests) {
            ensure!(listed.insert(name.as_str()), "{name} is listed twice in chapter {}", chapter.number);
        }
        let there: BTreeSet<&str> = stage::of_chapter(chapter.number).iter().map(|test| test.name).collect();
        let unknown: Vec<_> = listed.symmetric_difference(&there).collect();
        ensure!(unknown.is_empty(), "in course.toml or in tests/stages, not in both: {unknown:?}");
    }
    Ok(())
}
