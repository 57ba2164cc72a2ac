//! `cargo workshop check` and `test`: which tests run against what, and what their outcomes mean to a person.
//!
//! A learner reads this more often than anything else. So a failure says what was run, what was expected and
//! what was seen, whether the exercise is still open, where the book treats it, and what to type next. Red
//! before the first line is written is announced as what it is: the plan.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

use super::of_chapter;
use super::runner::{self, Batch, Report, Subject};
use super::verdict::{Failure, Outcome};
use crate::course::{Chapter, Course, Exercise};
use crate::lab::{self, Ground};
use crate::terminal::{self, Look, styled};
use crate::vm::Kernel;
use crate::{build, generate, rootfs};

/// How a check is to be run.
#[derive(Debug, Clone, Default)]
pub struct CheckOptions {
    /// Where the learner's program runs; a user namespace if not given.
    pub ground: Option<Ground>,
    /// Whether only the result counts and nothing is printed.
    pub quiet: bool,
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Whether every test that was asked for passed.
    pub all: bool,
    /// The numbers of the exercises of which every test passed.
    pub exercises: Vec<String>,
}

/// The stage's tests against the learner's crate, all or those of one exercise.
///
/// # Errors
/// The crate does not compile, or no lab can be made.
pub fn check(
    root: &Path,
    chapter: &Chapter,
    exercise: Option<&Exercise>,
    options: &CheckOptions,
) -> Result<Checked> {
    let ground = options.ground.unwrap_or(Ground::User);
    if ground == Ground::Root {
        bail!("your own code never runs as real root: use `--lab user` or `--lab kernel`");
    }
    let subject = subject(root, chapter, &chapter.my_crate())?;
    let asked: Vec<&Exercise> =
        chapter.exercises.iter().filter(|e| exercise.is_none_or(|one| one.id == e.id)).collect();
    let mut names: Vec<String> = asked.iter().flat_map(|exercise| exercise.tests.clone()).collect();
    if exercise.is_none() {
        names.extend(chapter.extra_tests.clone());
    }
    let page = Page { root, chapter, exercises: &asked };
    if !options.quiet {
        terminal::print(&page.head(ground, names.len())?)?;
    }
    let mut outcomes = BTreeMap::new();
    run(&subject, ground, &names, &mut |report| {
        drop(outcomes.insert(report.name.clone(), report.outcome.clone()))
    })?;
    if !options.quiet {
        terminal::print(&page.body(&outcomes)?)?;
    }
    let passed = |name: &String| !matches!(outcomes.get(name), None | Some(Outcome::Failed(_)));
    let done = asked.iter().filter(|exercise| exercise.tests.iter().all(passed));
    Ok(Checked {
        all: names.iter().all(passed),
        exercises: done.map(|exercise| exercise.number.clone()).collect(),
    })
}

/// The stages' tests against the reference crates, for maintainers; true if all passed.
///
/// # Errors
/// A crate does not compile, or no lab can be made.
pub fn test(root: &Path, course: &Course, only: Option<u8>, ground: Option<Ground>) -> Result<bool> {
    let ground = ground.unwrap_or(Ground::User);
    let mut red = 0;
    for chapter in course
        .chapters
        .iter()
        .filter(|chapter| chapter.has_crate() && only.is_none_or(|n| n == chapter.number))
    {
        let subject = subject(root, chapter, &chapter.krate)?;
        let names: Vec<String> = of_chapter(chapter.number).iter().map(|test| test.name.to_owned()).collect();
        run(&subject, ground, &names, &mut |report| {
            red += usize::from(matches!(report.outcome, Outcome::Failed(_)));
            // A pipe that nobody reads any more is no reason to stop the tests.
            let _ = terminal::print(&format!("{} {}", chapter.krate, line(&report.name, &report.outcome)));
            if let Outcome::Failed(failure) = &report.outcome {
                let _ = terminal::print(&details(failure));
            }
        })?;
    }
    Ok(red == 0)
}

/// The binary of `package` and what its lab needs.
///
/// # Errors
/// It does not compile.
pub fn subject(root: &Path, chapter: &Chapter, package: &str) -> Result<Subject> {
    let program = build::binary(root, package)?;
    let programs = vec![(chapter.my_crate(), program), (lab::PROBE.to_owned(), build::probe(root)?)];
    Ok(Subject { chapter: chapter.number, binary: chapter.my_crate(), programs, demo: rootfs::demo(root)? })
}

/// Runs the tests on any ground.
///
/// # Errors
/// No lab can be made there.
pub fn run(
    subject: &Subject,
    ground: Ground,
    names: &[String],
    tell: &mut (dyn FnMut(&Report) + Send),
) -> Result<()> {
    match ground {
        Ground::Root | Ground::User => runner::run(subject, ground, names, tell),
        Ground::Kernel => {
            let batch = Batch { subject: subject.clone(), ground: Ground::Root, names: names.to_vec() };
            super::kernel::run(&Kernel::find()?, &[batch], tell)
        }
    }
}

/// One check as a text for a learner.
struct Page<'a> {
    root: &'a Path,
    chapter: &'a Chapter,
    exercises: &'a [&'a Exercise],
}

impl Page<'_> {
    /// What will be tried, and how much of it must be red now.
    fn head(&self, ground: Ground, count: usize) -> Result<String> {
        let chapter = self.chapter;
        let mut text = format!(
            "Stage {}, {}: {count} tests of your `{}` in {}\n",
            chapter.number,
            chapter.title,
            chapter.my_crate(),
            ground.describe()
        );
        let earlier =
            chapter.exercises.iter().take_while(|one| self.exercises.first().is_none_or(|e| e.id != one.id));
        if let Some(open) = earlier.into_iter().find(|exercise| self.is_open(exercise)) {
            writeln!(text, "{} {} is still open, and this builds on it.", open.number, open.title)?;
        }
        if self.is_untouched()? {
            let red: usize = self.exercises.iter().map(|exercise| exercise.tests.len()).sum();
            writeln!(
                text,
                "Nothing is written yet, so {red} tests must be red now. That is the plan, not a fault."
            )?;
        }
        Ok(text)
    }

    /// Whether each exercise asked for still has all its `todo!`s, as the generator wrote them.
    fn is_untouched(&self) -> Result<bool> {
        let starter = generate::starter(self.root, self.chapter)?;
        let count = |text: &str, mark: &str| text.matches(mark).count();
        Ok(self.exercises.iter().all(|exercise| {
            let mark = format!("todo!(\"{} ", exercise.number);
            let file = fs::read_to_string(self.chapter.starter_dir(self.root).join(&exercise.file))
                .unwrap_or_default();
            let fresh =
                starter.get(Path::new(&exercise.file)).map(|text| String::from_utf8_lossy(text).into_owned());
            count(&file, &mark) == count(&fresh.unwrap_or_default(), &mark)
        }))
    }

    /// Every exercise with its tests, a line each; the first red one in full, right below. Of a single exercise
    /// that is written, every red one says what was seen.
    fn body(&self, outcomes: &BTreeMap<String, Outcome>) -> Result<String> {
        let mut text = String::new();
        let mut told_in_full = false;
        for exercise in self.exercises {
            writeln!(
                text,
                "\n{} {}",
                styled(Look::Bold, &exercise.number),
                styled(Look::Bold, &exercise.title)
            )?;
            for name in &exercise.tests {
                let Some(outcome) = outcomes.get(name) else { continue };
                text.push_str(&line(name, outcome));
                match outcome {
                    Outcome::Failed(failure) if !told_in_full => {
                        told_in_full = true;
                        text.push_str(&self.explain(exercise, failure));
                    }
                    Outcome::Failed(failure) if self.exercises.len() == 1 && !self.is_open(exercise) => {
                        text.push_str(&details(failure));
                    }
                    _ => {}
                }
            }
        }
        self.extra(outcomes, &mut text);
        let passed = outcomes.values().filter(|outcome| !matches!(outcome, Outcome::Failed(_))).count();
        writeln!(text, "\n{passed} of {} tests are green.", outcomes.len())?;
        Ok(text)
    }

    /// Tests that belong to no exercise.
    fn extra(&self, outcomes: &BTreeMap<String, Outcome>, text: &mut String) {
        let extra = self.chapter.extra_tests.iter().filter_map(|name| Some((name, outcomes.get(name)?)));
        for (index, (name, outcome)) in extra.enumerate() {
            if index == 0 {
                text.push_str("\nWhat was there before you began\n");
            }
            text.push_str(&line(name, outcome));
            if let Outcome::Failed(failure) = outcome {
                text.push_str(&details(failure));
            }
        }
    }

    /// What a red test means here, and what to do about it.
    fn explain(&self, exercise: &Exercise, failure: &Failure) -> String {
        let (chapter, number) = (self.chapter, &exercise.number);
        let file = format!("chapters/{}/{}", chapter.dir, exercise.file);
        let mut text = String::new();
        if self.is_open(exercise) {
            text.push_str(&format!("      This exercise is still open: a `todo!` waits in {file}.\n"));
        } else {
            text.push_str(&details(failure));
            text.push_str(&format!("      your code  {file}\n"));
        }
        text.push_str(&format!(
            "      the book   cargo workshop book, chapter {}, \"{number} {}\"\n      a hint     cargo workshop hint {number}\n",
            chapter.number, exercise.title
        ));
        text
    }

    /// Whether the exercise's `todo!` still stands in the learner's file.
    fn is_open(&self, exercise: &Exercise) -> bool {
        let file = self.chapter.starter_dir(self.root).join(&exercise.file);
        let mark = format!("todo!(\"{} ", exercise.number);
        fs::read_to_string(file).is_ok_and(|text| text.contains(&mark))
    }
}

/// One test in a line.
fn line(name: &str, outcome: &Outcome) -> String {
    let claim = name.replace('_', " ");
    match outcome {
        Outcome::Passed => format!("  {} {claim}\n", styled(Look::Green, "✓")),
        Outcome::Skipped(why) => format!("  - {claim} (not tried: {why})\n"),
        Outcome::Failed(_) => format!("  {} {claim}\n", styled(Look::Red, "✗")),
    }
}

/// What was run, expected and seen.
pub fn details(failure: &Failure) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        if !value.is_empty() {
            text.push_str(&format!("      {name:10} {}\n", value.replace('\n', "\n                 ")));
        }
    };
    row("ran", &failure.ran);
    row("expected", &failure.expected);
    row("seen", &failure.seen);
    text
}
