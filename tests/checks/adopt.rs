//! A learner's way through chapter 1, end to end: red as planned, green, adopted by chapter 2, released.
//!
//! The learner's command is run in a copy of the workspace, as a reader types it. That chapter 2 really stands
//! on her crate is seen in a message that only hers has.

#[path = "support/copy.rs"]
mod copy;
#[path = "support/ground.rs"]
mod ground;

use std::fs;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use copy::{Copy, outcomes, told};
use ground::on;
use libtest_mimic::{Arguments, Trial};
use workshop::course::Chapter;
use workshop::lab::Ground;
use workshop::stage::{self, verdict::Outcome};
use workshop::workspace;

/// What the reference crate says of a missing program, and what the learner's shall say.
const MESSAGE: (&str, &str) = ("no such program in the container", "no such program in my own container");

fn main() -> ExitCode {
    workshop::hidden::dispatch();
    let way = Trial::ignorable_test("from_the_first_check_to_the_release", || on(Ground::User, whole_way));
    libtest_mimic::run(&Arguments::from_args(), vec![way]).exit_code()
}

fn whole_way() -> Result<()> {
    let copy = Copy::new()?;
    let chapter = copy.course.chapter(1)?;
    red_as_planned(&copy, chapter)?;
    copy.answer(chapter, chapter.exercises.len())?;
    green(&copy, chapter)?;
    copy.edit("chapters/01-process/src/exec.rs", MESSAGE.0, MESSAGE.1)?;
    let before = switchboard(&copy)?;
    ensure!(!on_mine(&copy)?, "before, chapter 2 stands on the reference crate");
    let adopted = workshop(&copy, &["adopt", "1"])?;
    let last = copy.course.chapters.last().context("the course has chapters")?.number;
    let said = format!("Adopted: chapters 2 to {last} build on your my-process");
    ensure!(adopted.code == 0 && adopted.out.contains(&said), "{adopted:?}");
    chapter_2_stands_on_it(&copy)?;
    let released = workshop(&copy, &["release", "1"])?;
    ensure!(released.code == 0, "{released:?}");
    ensure!(switchboard(&copy)? == before, "Cargo.toml or Cargo.lock is not what it was, byte for byte");
    ensure!(!on_mine(&copy)?, "released, chapter 2 stands on the reference crate");
    Ok(())
}

/// What the learner's command said.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

fn workshop(copy: &Copy, words: &[&str]) -> Result<Said> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_workshop"));
    command.args(words).current_dir(&copy.folder).stdin(Stdio::null());
    let output = command.output().context("run the workshop")?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) })
}

fn marks(said: &Said, mark: &str) -> usize {
    said.out.lines().filter(|line| line.trim_start().starts_with(mark)).count()
}

/// Exactly the exercises' tests are red; the learner is told so beforehand, and nothing looks like a crash.
fn red_as_planned(copy: &Copy, chapter: &Chapter) -> Result<()> {
    let said = workshop(copy, &["check", "1"])?;
    let red: usize = chapter.exercises.iter().map(|exercise| exercise.tests.len()).sum();
    let plan = format!("{red} tests must be red now. That is the plan, not a fault.");
    ensure!(said.code == 1 && said.out.contains(&plan), "{}", said.out);
    let (red_seen, green_seen) = (marks(&said, "✗"), marks(&said, "✓"));
    ensure!((red_seen, green_seen) == (red, chapter.extra_tests.len()), "{}", said.out);
    ensure!(!said.out.contains("panicked"), "a planned red is no panic: {}", said.out);
    let refused = workshop(copy, &["adopt", "1"])?;
    ensure!(refused.code == 1 && refused.err.contains("Not adopted"), "{refused:?}");
    Ok(())
}

fn green(copy: &Copy, chapter: &Chapter) -> Result<()> {
    let said = workshop(copy, &["check", "1"])?;
    let all = stage::of_chapter(chapter.number).len();
    ensure!(said.code == 0 && (marks(&said, "✗"), marks(&said, "✓")) == (0, all), "{said:?}");
    Ok(())
}

/// Both files that say who builds on whom.
fn switchboard(copy: &Copy) -> Result<Vec<Vec<u8>>> {
    ["Cargo.toml", "Cargo.lock"].iter().map(|name| Ok(fs::read(copy.folder.join(name))?)).collect()
}

/// Whether cargo builds chapter 2's reference crate on the learner's crate.
fn on_mine(copy: &Copy) -> Result<bool> {
    let mut cargo = workspace::cargo(&copy.folder);
    let tree = cargo.args(["tree", "--offline", "--package", "mount", "--depth", "1", "--prefix", "none"]);
    let output = tree.output().context("run cargo tree")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).lines().any(|line| line.starts_with("my-process ")))
}

/// The stage's tests pass on it, and a container of chapter 2 speaks with the learner's words.
fn chapter_2_stands_on_it(copy: &Copy) -> Result<()> {
    ensure!(on_mine(copy)?, "adopted, chapter 2 stands on the learner's crate");
    let chapter = copy.course.chapter(2)?;
    let subject = copy.subject(chapter, &chapter.krate)?;
    let names: Vec<String> = stage::of_chapter(2).iter().map(|test| test.name.to_owned()).collect();
    for (name, outcome) in outcomes(&subject, Ground::User, &names)? {
        ensure!(outcome == Outcome::Passed, "on the adopted crate: {}", told(&name, Some(&outcome)));
    }
    let said =
        workshop(copy, &["lab", "--solution", "--", "my-mount", "run", "--rootfs", "demo", "--", "nothing"])?;
    ensure!(said.code == 127 && said.err.contains(MESSAGE.1), "{said:?}");
    // The learner's own chapter 2 stands on it as well.
    copy.answer(chapter, chapter.exercises.len())?;
    let said = workshop(copy, &["run", "2", "--", "run", "--rootfs", "demo", "--", "nothing"])?;
    ensure!(said.code == 127 && said.err.contains(MESSAGE.1), "{said:?}");
    Ok(())
}
