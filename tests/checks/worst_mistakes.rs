//! A learner's worst mistakes stay in the lab.
//!
//! A `my-mount` that breaks everything it can is built in a copy of the workspace and run as `check` and `run`
//! do it, by this user and by an ordinary one. Before and after, the host is looked at: its mount table, its control
//! groups, its sysctls, a folder that anybody may write to, our processes, and what `cargo workshop clean` would find.

#[path = "support/cgroups.rs"]
mod cgroups;
#[path = "support/copy.rs"]
mod copy;
#[path = "support/ground.rs"]
mod ground;
#[path = "worst/host.rs"]
mod host;
#[path = "support/somebody.rs"]
mod somebody;

use std::io::Read;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use copy::Copy;
use ground::on;
use host::Host;
use libtest_mimic::{Arguments, Trial};
use somebody::Somebody;
use workshop::course::Course;
use workshop::lab::{self, Ground, Job, Spec};

/// The broken program.
const WORST: &str = include_str!("worst/my_mount.rs");

/// No mistake may take longer than this, its clean-up included.
const LIMIT: Duration = Duration::from_secs(60);

/// The most processes of one lab: the limit, and those that keep it.
const MOST: usize = 512 + 8;

fn main() -> ExitCode {
    workshop::hidden::dispatch();
    nix::sys::prctl::set_child_subreaper(true).expect("inherit what a lab might leave");
    let mut arguments = Arguments::from_args();
    // The host is compared before and after: one mistake at a time.
    arguments.test_threads = Some(1);
    let shared: Arc<Mutex<Option<Worst>>> = Arc::default();
    let trial = |name: &str, check: fn(&Worst) -> Result<()>| {
        let shared = Arc::clone(&shared);
        Trial::ignorable_test(name, move || {
            on(Ground::User, || {
                let mut worst = shared.lock().unwrap_or_else(PoisonError::into_inner);
                if worst.is_none() {
                    *worst = Some(Worst::new()?);
                }
                worst.as_ref().context("it was built").and_then(|worst| worst.unharmed(check))
            })
        })
    };
    let trials = vec![
        trial("a_full_check", full_check),
        trial("unmounting_everything", |worst| worst.both(&["unmount"])),
        trial("mounting_over_everything", |worst| worst.both(&["cover"])),
        trial("writing_to_sysctls", |worst| worst.both(&["sysctl"])),
        trial("deleting_a_folder_of_the_host", |worst| worst.both(&["delete", &worst.host.folder()])),
        trial("filling_the_temporary_folders", filling),
        trial("killing_everybody", |worst| worst.both(&["kill"])),
        trial("freezing_in_every_cgroup", |worst| worst.both(&["freeze"])),
        trial("killing_the_keeper_of_the_cgroups", killing_the_keeper),
        trial("forking_without_end", forking),
        trial("forking_for_ever_until_it_is_killed", forking_for_ever),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The broken crate in its copy, and the host.
struct Worst {
    copy: Copy,
    somebody: Somebody,
    host: Host,
}

impl Worst {
    fn new() -> Result<Worst> {
        let copy = Copy::new()?;
        copy.write("chapters/02-mount/src/main.rs", WORST)?;
        let chapter = copy.course.chapter(2)?;
        let subject = copy.subject(chapter, &chapter.my_crate())?;
        Ok(Worst { host: Host::new()?, somebody: Somebody::new(&subject)?, copy })
    }

    /// Runs `check`, and looks at the host before and after.
    fn unharmed(&self, check: fn(&Worst) -> Result<()>) -> Result<()> {
        let (before, start) = (self.host.look()?, Instant::now());
        let checked = check(self);
        ensure!(start.elapsed() < LIMIT, "it took {} s", start.elapsed().as_secs());
        host::processes_are_gone()?;
        let harm = before.harm(&self.host.look()?);
        ensure!(harm.is_empty(), "the host is no longer what it was:\n{}", harm.join("\n"));
        checked
    }

    /// One mistake by `cargo workshop run 2`, and one by an ordinary user in his lab.
    fn both(&self, mistake: &[&str]) -> Result<()> {
        for mut command in [self.command(mistake), self.by_somebody(mistake)?] {
            let output = command.output().context("enter a lab")?;
            // A lab that could not be entered would prove nothing.
            ensure!(output.stdout.ends_with(b"done\n"), "the mistake was not made: {output:?}");
        }
        Ok(())
    }

    /// `cargo workshop run 2 -- MISTAKE` in the copy.
    fn command(&self, mistake: &[&str]) -> Command {
        let mut command = workshop(&self.copy);
        command.args(["run", "2", "--"]).args(mistake);
        command
    }

    /// The same lab, entered by an ordinary user: here the folder of the host is his own.
    fn by_somebody(&self, mistake: &[&str]) -> Result<Command> {
        let words = [&["my-mount"], mistake].concat();
        let spec = Spec {
            ground: Ground::User,
            programs: self.somebody.subject.programs.clone(),
            demo: Some(self.somebody.subject.demo.clone()),
            job: Job::Command(words.into_iter().map(Into::into).collect()),
        };
        Ok(self.somebody.command(&lab::command(&spec)?))
    }
}

/// The learner's command in the copy.
fn workshop(copy: &Copy) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_workshop"));
    command.current_dir(&copy.folder).stdin(Stdio::null());
    command
}

/// Every test of the stage is red, and says so; the command itself does not break.
fn full_check(worst: &Worst) -> Result<()> {
    let output = workshop(&worst.copy).args(["check", "2"]).output().context("run the workshop")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.code() == Some(1), "check ended with {}:\n{text}", output.status);
    let course = Course::load(&worst.copy.folder)?;
    let count = course.chapter(2)?.exercises.iter().map(|exercise| exercise.tests.len()).sum::<usize>();
    let none = format!("\n0 of {count} tests are green.");
    ensure!(text.contains(&none), "not all tests are red:\n{text}");
    Ok(())
}

fn filling(worst: &Worst) -> Result<()> {
    let output = worst.command(&["fill"]).output().context("run the workshop")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let written =
        text.lines().filter_map(|line| line.strip_suffix(" MiB")?.rsplit(' ').next()?.parse::<u32>().ok());
    let written: Vec<u32> = written.collect();
    ensure!(written.len() >= 4 && text.contains("done"), "it did not come to its end: {text}");
    ensure!(
        written.iter().sum::<u32>() < 1024,
        "the lab took more of the machine's memory than it may: {text}"
    );
    Ok(())
}

/// No process of a lab can reach its keeper; but its owner can. What that one leaves, the next lab removes.
fn killing_the_keeper(_: &Worst) -> Result<()> {
    let lab = |words: &[&str]| {
        let job = Job::Command(words.iter().map(Into::into).collect());
        lab::command(&Spec { ground: Ground::User, programs: Vec::new(), demo: None, job })
    };
    let mut keeper = lab(&["sh", "-c", "echo ready; exec sleep 1000"])?.stdout(Stdio::piped()).spawn()?;
    let mut said = [0; 6];
    keeper.stdout.as_mut().context("stdout")?.read_exact(&mut said)?;
    keeper.kill()?;
    keeper.wait()?;
    host::processes_are_gone()?;
    ensure!(lab(&["true"])?.status()?.success(), "the next lab");
    Ok(())
}

fn forking(worst: &Worst) -> Result<()> {
    let (output, most) = watched(worst.command(&["bomb"]).stdout(Stdio::piped()).spawn()?)?;
    ensure!(output.contains("done"), "the bomb's first process did not end by itself: {output}");
    ensure!((100..=MOST).contains(&most), "{most} processes at most; the limit should be met, and hold");
    let mut command = worst.by_somebody(&["bomb"])?;
    let (output, most) = watched(command.stdout(Stdio::piped()).spawn()?)?;
    ensure!(output.contains("done") && (100..=MOST).contains(&most), "an ordinary user: {most}, {output}");
    Ok(())
}

/// Waits for the end; what was said, and the most descendants that we had meanwhile.
fn watched(mut child: Child) -> Result<(String, usize)> {
    let (start, mut most) = (Instant::now(), 0);
    while child.try_wait()?.is_none() && start.elapsed() < LIMIT {
        most = most.max(host::descendants().len());
        std::thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    let output = child.wait_with_output().context("wait for the lab")?;
    Ok((String::from_utf8_lossy(&output.stdout).into_owned(), most))
}

fn forking_for_ever(worst: &Worst) -> Result<()> {
    let mut child = worst.command(&["endless-bomb"]).spawn()?;
    let start = Instant::now();
    while host::descendants().len() < 400 && start.elapsed() < LIMIT {
        std::thread::sleep(Duration::from_millis(20));
    }
    ensure!(child.try_wait()?.is_none(), "the bomb ended by itself");
    // The terminal is closed, the machine's owner has had enough: only the outermost process is killed.
    child.kill()?;
    child.wait()?;
    Ok(())
}
