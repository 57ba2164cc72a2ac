//! The stages: what is claimed of each chapter's binary, tried from outside, each claim in a fresh lab.
//!
//! The claims stand in `tests/stages/`, one file a chapter. A test runs the binary under test (the learner's
//! or the reference crate's) as a user would, and looks at exit codes, output, `/proc` and mount tables. The
//! runner gives every test a lab of its own, and fails a test that leaves anything behind.

pub mod case;
pub mod cgroups;
pub mod check;
pub mod internet;
pub mod kernel;
pub mod runner;
pub mod verdict;
pub mod wire;

#[path = "../../stages/cgroup.rs"]
mod cgroup;
#[path = "../../stages/cgroup_attacks.rs"]
mod cgroup_attacks;
#[path = "../../stages/cgroup_below.rs"]
mod cgroup_below;
#[path = "../../stages/cgroup_end.rs"]
mod cgroup_end;
#[path = "../../stages/cgroup_io.rs"]
mod cgroup_io;
#[path = "../../stages/cgroup_life.rs"]
mod cgroup_life;
#[path = "../../stages/cgroup_parent.rs"]
mod cgroup_parent;
#[path = "../../stages/cgroup_stats.rs"]
mod cgroup_stats;
#[path = "../../escapes/mod.rs"]
pub mod escapes;
#[path = "../../stages/mount.rs"]
mod mount;
#[path = "../../stages/mount_attacks.rs"]
mod mount_attacks;
#[path = "../../stages/network.rs"]
mod network;
#[path = "../../stages/network_crash.rs"]
mod network_crash;
#[path = "../../stages/network_files.rs"]
mod network_files;
#[path = "../../stages/network_names.rs"]
mod network_names;
#[path = "../../stages/network_ports.rs"]
mod network_ports;
#[path = "../../stages/network_world.rs"]
mod network_world;
#[path = "../../stages/overlay.rs"]
mod overlay;
#[path = "../../stages/overlay_attacks.rs"]
mod overlay_attacks;
#[path = "../../stages/overlay_crash.rs"]
mod overlay_crash;
#[path = "../../stages/overlay_layers.rs"]
mod overlay_layers;
#[path = "../../stages/overlay_store.rs"]
mod overlay_store;
#[path = "../../stages/overlay_tar.rs"]
mod overlay_tar;
#[path = "../../stages/overlay_union.rs"]
mod overlay_union;
#[path = "../../stages/overlay_whiteouts.rs"]
mod overlay_whiteouts;
#[path = "../../stages/process.rs"]
mod process;
#[path = "../../stages/process_descriptors.rs"]
mod process_descriptors;
#[path = "../../stages/process_signals.rs"]
mod process_signals;
#[path = "../../stages/security.rs"]
mod security;
#[path = "../../stages/security_devices.rs"]
mod security_devices;
#[path = "../../stages/security_paths.rs"]
mod security_paths;
#[path = "../../stages/security_profile.rs"]
mod security_profile;
#[path = "../../stages/security_rest.rs"]
mod security_rest;
#[path = "../../stages/security_seccomp.rs"]
mod security_seccomp;
#[path = "../../stages/user.rs"]
mod user;
#[path = "../../stages/user_ids.rs"]
mod user_ids;
#[path = "../../stages/uts_ipc.rs"]
mod uts_ipc;
#[path = "../../stages/uts_ipc_shared.rs"]
mod uts_ipc_shared;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::lab::{Ground, TestJob};
use case::Case;
use verdict::{Failure, Outcome, Verdict};

pub use check::{CheckOptions, Checked, check, test};

/// The hidden subcommand that runs tests where it is started, and reports in JSON lines.
pub const RUN: &str = "stage-run";

/// One claim about a binary.
pub struct Test {
    /// The function's name, as `book/course.toml` has it.
    pub name: &'static str,
    /// Tries it; runs inside a lab.
    pub run: fn(&Case) -> Verdict,
}

/// The list of a stage's tests, each under its function's name.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        /// All tests of this stage.
        pub const TESTS: &[crate::stage::Test] = &[$(crate::stage::Test { name: stringify!($name), run: $name }),*];
    };
}
pub(crate) use tests;

/// The tests of one chapter; none where nothing is built.
pub fn of_chapter(number: u8) -> &'static [Test] {
    match number {
        1 => process::TESTS,
        2 => mount::TESTS,
        3 => uts_ipc::TESTS,
        4 => user::TESTS,
        5 => network::TESTS,
        6 => cgroup::TESTS,
        7 => overlay::TESTS,
        8 => security::TESTS,
        _ => &[],
    }
}

/// One line of what leaves the lab.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Line {
    /// What the test itself says.
    Outcome(Outcome),
    /// What it saw on the way, for a person.
    Note(String),
    /// What the first process of the lab found afterwards.
    Leaks(Vec<String>),
}

/// Runs one test in this process, which is in a lab; says its outcome on stdout.
pub(crate) fn run_inside(job: &TestJob, ground: Ground) -> u8 {
    let outcome = match find(job.chapter, &job.name) {
        Ok(test) => Outcome::from((test.run)(&Case { binary: job.binary.clone(), ground })),
        Err(error) => Outcome::Failed(Failure {
            ran: String::new(),
            expected: "a test".into(),
            seen: error.to_string(),
        }),
    };
    say(&Line::Outcome(outcome));
    0
}

/// Says what a test left behind on stdout.
pub(crate) fn report_leaks(leaks: &[String]) {
    say(&Line::Leaks(leaks.to_vec()));
}

/// Says what a test has seen on stdout.
pub(crate) fn note(text: String) {
    say(&Line::Note(text));
}

fn say(line: &Line) {
    println!("{}", serde_json::to_string(line).expect("strings can be written as JSON"));
}

fn find(chapter: u8, name: &str) -> Result<&'static Test> {
    let attacks = escapes::ESCAPES.iter().filter(|_| chapter == escapes::CHAPTER).map(|escape| &escape.test);
    of_chapter(chapter)
        .iter()
        .chain(attacks)
        .find(|test| test.name == name)
        .with_context(|| format!("chapter {chapter} has no test {name}"))
}
