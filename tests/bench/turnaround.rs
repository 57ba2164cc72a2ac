//! How long a reader waits: for the first build, for `check` after an edit, for the book after a save.
//!
//! Each is done as a reader does it, by cargo in the dev profile, and held against its promise. Chapters are
//! edited in a copy of the workspace, so that nobody's work is touched.
//!
//! `cargo bench -p workshop` prints the three and fails if one takes longer than promised.

#[path = "../checks/support/copy.rs"]
mod copy;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use copy::Copy;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use workshop::workspace::{self, Scratch};

fn main() -> ExitCode {
    // As a test it would take too long.
    if !std::env::args().any(|word| word == "--bench") {
        return ExitCode::SUCCESS;
    }
    match [first_build(), check_after_an_edit(), large_book()].into_iter().collect::<Result<Vec<bool>>>() {
        Ok(kept) => ExitCode::from(u8::from(kept.contains(&false))),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Prints one promise and what was measured; whether it is kept.
fn judge(what: &str, unit: &str, seen: f64, most: f64) -> bool {
    println!("{what:48} {seen:5.2} {unit} (at most {most})");
    seen <= most
}

/// The dev profile's cargo, whatever profile this program has.
fn cargo(words: &[&str]) -> Command {
    let mut cargo = workspace::cargo(&copy::root());
    cargo.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    cargo
}

fn done(mut command: Command) -> Result<String> {
    let output = command.output().with_context(|| format!("run {command:?}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(output.status.success(), "{command:?}: {}{}", text(&output.stdout), text(&output.stderr));
    Ok(text(&output.stdout))
}

/// `my-process` with all that it stands on, in an empty target folder: seconds of CPU.
fn first_build() -> Result<bool> {
    let scratch = Scratch::new("first-build")?;
    let mut command = cargo(&["build", "--quiet", "--package", "my-process", "--target-dir"]);
    command.arg(scratch.path());
    let before = cpu()?;
    done(command)?;
    Ok(judge("my-process from scratch", "CPU s", (cpu()? - before).as_secs_f64(), 10.0))
}

/// The CPU time of our children so far, those that were waited for.
fn cpu() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("getrusage")?;
    let micros = (usage.user_time() + usage.system_time()).num_microseconds();
    Ok(Duration::from_micros(micros.unsigned_abs()))
}

/// `cargo workshop check N` with one line changed since the last time, the median of five; the slower chapter.
fn check_after_an_edit() -> Result<bool> {
    done(cargo(&["build", "--quiet", "--package", "workshop", "--bins"]))?;
    let copy = Copy::new()?;
    let mut slowest = Duration::ZERO;
    for (chapter, file) in copy.chapters().zip(["src/exec.rs", "src/root.rs"]) {
        copy.answer(chapter, chapter.exercises.len())?;
        let file = chapter.starter_dir(Path::new("")).join(file);
        let mut times = Vec::new();
        for round in 0..6 {
            let text = copy.read(&file.to_string_lossy())?;
            copy.write(&file.to_string_lossy(), &format!("{text}// Edit {round}.\n"))?;
            times.push(checked(&copy, chapter.number)?);
        }
        // The first one had everything to build.
        times.remove(0);
        times.sort_unstable();
        slowest = slowest.max(times[times.len() / 2]);
    }
    Ok(judge("check after a one-line edit", "s", slowest.as_secs_f64(), 3.0))
}

/// What `cargo workshop check` does: cargo sees that the workshop is built, and runs it.
fn checked(copy: &Copy, chapter: u8) -> Result<Duration> {
    let start = Instant::now();
    let built = cargo(&["build", "--package", "workshop", "--bin", "workshop", "--message-format=json"]);
    let said = done(built)?;
    let mut command = Command::new(executable(&said).context("cargo names the workshop's binary")?);
    command.args(["check", &chapter.to_string()]).current_dir(&copy.folder).stdin(Stdio::null());
    done(command)?;
    Ok(start.elapsed())
}

/// The binary that cargo's messages name.
fn executable(messages: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    messages.filter_map(|message| message["executable"].as_str().map(PathBuf::from)).next_back()
}

/// Fifteen chapters, those that there are over and over: seconds, as the book's own builder measures them.
fn large_book() -> Result<bool> {
    let said = done(cargo(&["run", "--quiet", "--package", "book", "--", "build", "--bench", "15"]))?;
    // "15 chapters, 3281 kB of HTML: 1.40 s, ..."
    let seconds = said.split_once("HTML: ").and_then(|(_, rest)| rest.split_once(" s")?.0.parse().ok());
    Ok(judge("a book of 15 chapters", "s", seconds.with_context(|| said.clone())?, 2.0))
}
