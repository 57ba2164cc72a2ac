//! Runs tests of a stage, each in a lab of its own, two at a time.
//!
//! On the ground of a kernel of its own the runner boots one machine and starts itself in it: the tests run
//! there in namespace labs again, and report through the same JSON lines.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::Line;
use super::verdict::{Failure, Outcome};
use crate::lab::{self, Ground, Job, Spec, TestJob};

/// What is tested: one binary, by the tests of one chapter.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Subject {
    /// The chapter whose tests are run.
    pub chapter: u8,
    /// The binary's name in the lab, `my-process`.
    pub binary: String,
    /// Programs in the lab, the binary among them.
    pub programs: Vec<(String, PathBuf)>,
    /// The root file system.
    pub demo: PathBuf,
}

/// Tests of one subject on one ground.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Batch {
    /// What is tested.
    pub subject: Subject,
    /// `Root` or `User`.
    pub ground: Ground,
    /// The names of the tests.
    pub names: Vec<String>,
}

/// One test's outcome.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The chapter whose test it is.
    pub chapter: u8,
    /// The test's name.
    pub name: String,
    /// The namespaces in which it ran.
    pub ground: Ground,
    /// What came out.
    pub outcome: Outcome,
    /// What it saw on the way.
    pub notes: Vec<String>,
}

/// How long one test may take before its lab is closed.
const LIMIT: Duration = Duration::from_secs(60);

/// How long the clean-up of a lab that is closed may take.
const GRACE: Duration = Duration::from_secs(12);

/// How many labs run at once.
const AT_ONCE: usize = 2;

/// Runs the tests called `names` on `ground` (`Root` or `User`) and tells each outcome as it comes.
///
/// # Errors
/// A lab could not be started at all.
pub fn run(
    subject: &Subject,
    ground: Ground,
    names: &[String],
    tell: &mut (dyn FnMut(&Report) + Send),
) -> Result<()> {
    let next = AtomicUsize::new(0);
    let tell = Mutex::new(tell);
    let work = || -> Result<()> {
        while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (outcome, notes) = run_one(subject, ground, name)?;
            let report = Report { chapter: subject.chapter, name: name.clone(), ground, outcome, notes };
            tell.lock().expect("no other worker has panicked")(&report);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("a worker does not panic"))
    })
}

/// Runs one test in a new lab: its outcome and its notes.
fn run_one(subject: &Subject, ground: Ground, name: &str) -> Result<(Outcome, Vec<String>)> {
    let job = TestJob { chapter: subject.chapter, name: name.to_owned(), binary: subject.binary.clone() };
    let spec = Spec {
        ground,
        programs: subject.programs.clone(),
        demo: Some(subject.demo.clone()),
        job: Job::Test(job),
    };
    let mut command = lab::command(&spec)?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (lines, errors, in_time) = collect(command)?;
    let (mut outcome, mut notes) = (None, Vec::new());
    for line in lines.lines() {
        match serde_json::from_str(line) {
            Ok(Line::Outcome(said)) => outcome = Some(said),
            Ok(Line::Note(text)) => notes.push(text),
            Ok(Line::Leaks(leaks)) if !leaks.is_empty() && outcome == Some(Outcome::Passed) => {
                outcome = Some(failure("nothing is left behind", leaks.join("\n")));
            }
            Ok(Line::Leaks(_)) => {}
            Err(_) => bail!("the lab said something strange: {line}"),
        }
    }
    let outcome = match outcome {
        Some(outcome) if in_time => outcome,
        _ if !in_time => failure("the test ends", format!("it was stopped after {} s", LIMIT.as_secs())),
        _ => failure("the test reaches its end", format!("its lab ended before it\n{errors}")),
    };
    Ok((outcome, notes))
}

fn failure(expected: &str, seen: String) -> Outcome {
    Outcome::Failed(Failure { ran: String::new(), expected: expected.to_owned(), seen })
}

/// Runs a command for at most [`LIMIT`]: stdout, stderr, and whether it ended by itself.
fn collect(mut command: Command) -> Result<(String, String, bool)> {
    let mut child = command.spawn().context("start a lab")?;
    let (out, err) = (child.stdout.take().context("stdout")?, child.stderr.take().context("stderr")?);
    std::thread::scope(|scope| {
        let out = scope.spawn(|| text(out));
        let err = scope.spawn(|| text(err));
        let in_time = ends_in_time(&mut child)?;
        Ok((out.join().unwrap_or_default(), err.join().unwrap_or_default(), in_time))
    })
}

fn text(mut pipe: impl Read) -> String {
    let mut bytes = Vec::new();
    // What could be read until an error is all there is to know.
    let _ = pipe.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Waits for the child; past the limit it is told to end its lab, and killed if it does not.
fn ends_in_time(child: &mut Child) -> Result<bool> {
    let pid = child.id() as i32;
    let ended = crate::sys::wait_for_exit(pid, LIMIT).context("wait for a lab")?;
    if !ended {
        kill(Pid::from_raw(pid), Signal::SIGTERM).context("end a lab")?;
        if !crate::sys::wait_for_exit(pid, GRACE).context("wait for a lab")? {
            child.kill().context("kill a lab")?;
        }
    }
    child.wait().context("wait for a lab")?;
    Ok(ended)
}

/// The entry of the hidden subcommand `stage-run BATCHES`: JSON lines on stdout.
pub fn main(arguments: &[OsString]) -> u8 {
    match batches(arguments).and_then(|batches| batches.iter().try_for_each(run_and_say)) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("stage-run: {error:#}");
            1
        }
    }
}

fn run_and_say(batch: &Batch) -> Result<()> {
    run(&batch.subject, batch.ground, &batch.names, &mut |report| match serde_json::to_string(report) {
        Ok(line) => println!("{line}"),
        Err(error) => eprintln!("stage-run: {error}"),
    })
}

fn batches(arguments: &[OsString]) -> Result<Vec<Batch>> {
    let text = arguments.first().and_then(|word| word.to_str()).context("a JSON word is needed")?;
    serde_json::from_str(text).context("read the tests to run")
}

/// The words for the hidden subcommand.
///
/// # Errors
/// None in practice.
pub fn arguments(batches: &[Batch]) -> Result<[String; 2]> {
    Ok([super::RUN.to_owned(), serde_json::to_string(batches).context("write JSON")?])
}

/// Reads the reports of a runner that was started elsewhere.
///
/// # Errors
/// A line that is no report.
pub fn read_reports(lines: impl Read, tell: &mut dyn FnMut(&Report)) -> Result<()> {
    for line in BufReader::new(lines).lines() {
        let line = line.context("read a report")?;
        tell(&serde_json::from_str(&line).with_context(|| format!("no report: {line}"))?);
    }
    Ok(())
}
