//! The namespace lab: a throw-away machine of namespaces in which no mistake hurts.
//!
//! A lab has mount, PID, network, IPC and UTS namespaces of its own, a user namespace unless it is asked for on the
//! ground of real root, and control groups of its own where it may ([`cgroups`]). The host's files are there for reading; `/run`, `/tmp`, `/var/tmp`
//! and `/dev/shm` are fresh and empty. When its first process ends, the kernel removes all of it.
//!
//! It is entered by running this program again ([`enter::main`]), because namespaces can be entered by a
//! process with one thread only. It stands on `nix` alone, on no crate of the course.
//!
//! The other kind of lab, a kernel of one's own, is [`crate::vm`].

mod audit;
pub mod cgroups;
pub mod enter;
mod init;
pub mod kernel;
mod prepare;
mod users;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use nix::sys::signal::{SigHandler, signal};
use serde::{Deserialize, Serialize};

use crate::course::Course;
use crate::{build, rootfs};

pub use audit::{Snapshot, unescape};

/// The hidden subcommand that enters a lab.
pub const ENTER: &str = "lab-enter";

/// Where a lab keeps what it needs; fresh in every lab.
pub const HOME: &str = "/run/lab";

/// The folder in which a lab's commands start; `demo` lies in it.
pub const WORK: &str = "/run/lab/work";

/// The program that looks around; it stands in the lab and in its `demo`.
pub const PROBE: &str = "probe";

/// The variable by which a process of a lab can be known from outside; its value is the PID of the lab's keeper.
pub const MARK: &str = "GANTRY_LAB";

/// The variable that describes a lab to its first processes.
const SPEC: &str = "GANTRY_LAB_SPEC";

/// On what a lab stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Ground {
    /// Real root in namespaces of its own. For the reference crates only.
    Root,
    /// A user namespace in which one unprivileged user is root.
    User,
    /// A user-mode Linux kernel of its own.
    Kernel,
}

impl Ground {
    /// What a person calls it.
    pub fn describe(self) -> &'static str {
        match self {
            Ground::Root => "namespaces, as real root",
            Ground::User => "a user namespace",
            Ground::Kernel => "a kernel of its own",
        }
    }
}

/// What a lab shall contain and do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spec {
    /// `Root` or `User`.
    pub ground: Ground,
    /// Programs on its PATH: name and file.
    pub programs: Vec<(String, PathBuf)>,
    /// The root file system that is copied to `demo` in the work folder.
    pub demo: Option<PathBuf>,
    /// What runs in it.
    pub job: Job,
}

/// What runs in a lab.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Job {
    /// A command with the caller's terminal.
    Command(Vec<OsString>),
    /// One test of a stage; its outcome goes to stdout as JSON.
    Test(TestJob),
}

/// One test of a stage.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TestJob {
    /// The chapter's number.
    pub chapter: u8,
    /// The test's name.
    pub name: String,
    /// The name of the binary under test, among the lab's programs.
    pub binary: String,
}

/// The command that runs `spec` in a new lab.
///
/// # Errors
/// The spec could not be written down, or our own program not be found.
pub fn command(spec: &Spec) -> Result<Command> {
    let myself = std::env::current_exe().context("find this program")?;
    let mut command = Command::new(myself);
    command.arg(ENTER).env(MARK, std::process::id().to_string()).env(SPEC, serde_json::to_string(spec)?);
    Ok(command)
}

/// What `cargo workshop lab` and `run` are asked for.
#[derive(Debug, Clone)]
pub struct LabOptions {
    /// Where the lab stands.
    pub ground: Ground,
    /// Programs on its PATH: name and file. See [`programs`].
    pub programs: Vec<(String, PathBuf)>,
    /// The command; a shell if empty.
    pub command: Vec<OsString>,
}

/// The programs of a lab: `probe`, and each chapter's binary under the learner's name, be it hers or the
/// reference crate's. A learner's crate that does not compile just now is left out, with a word.
///
/// # Errors
/// A reference crate does not compile, or cargo cannot be run.
pub fn programs(root: &Path, course: &Course, solution: bool) -> Result<Vec<(String, PathBuf)>> {
    let mut all = vec![(PROBE.to_owned(), build::probe(root)?)];
    for chapter in course.chapters.iter().filter(|chapter| chapter.has_crate()) {
        let package = if solution { chapter.krate.clone() } else { chapter.my_crate() };
        match build::binary(root, &package) {
            Ok(program) => all.push((chapter.my_crate(), program)),
            Err(error) if !solution && error.is::<build::Broken>() => {
                eprintln!("The lab goes without {package}: {error}")
            }
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// Runs a command in a fresh lab with the caller's terminal; its exit code.
///
/// # Errors
/// The lab cannot be made.
pub fn enter(root: &Path, options: &LabOptions) -> Result<u8> {
    let words = if options.command.is_empty() {
        greet(options);
        shell()
    } else {
        options.command.clone()
    };
    let demo = Some(rootfs::demo(root)?);
    let spec =
        Spec { ground: options.ground, programs: options.programs.clone(), demo, job: Job::Command(words) };
    if spec.ground == Ground::Kernel {
        return kernel::enter(&spec);
    }
    let mut command = command(&spec)?;
    ignore_terminal_keys();
    let status = command.status().context("start the lab")?;
    Ok(status.code().map_or(255, |code| code as u8))
}

/// Ctrl-C in the lab is for what runs in it.
fn ignore_terminal_keys() {
    for key in enter::TERMINAL {
        // SAFETY: ignoring runs no code of ours.
        let _ = unsafe { signal(key, SigHandler::SigIgn) };
    }
}

/// What somebody who opens a lab by hand should know; on stderr, beside the shell's own words.
fn greet(options: &LabOptions) {
    let whose =
        |(name, file): &(String, PathBuf)| match file.file_name().is_some_and(|file| file == name.as_str()) {
            true if name == PROBE => name.clone(),
            true => format!("{name} (yours, as it is now)"),
            false => format!("{name} (the reference)"),
        };
    let programs: Vec<String> = options.programs.iter().map(whose).collect();
    eprintln!("A lab, in {}. Programs: {}.", options.ground.describe(), programs.join(", "));
    eprintln!("`demo` is a root file system of your own; all is gone when you leave, by `exit`.");
}

/// An interactive shell without anybody's start-up files.
fn shell() -> Vec<OsString> {
    match Path::new("/bin/bash").exists() {
        true => ["/bin/bash", "--norc", "--noprofile"].map(OsString::from).to_vec(),
        false => vec!["/bin/sh".into()],
    }
}
