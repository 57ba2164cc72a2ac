//! Where checks can run: what this machine cannot offer is skipped, and the reason is shown.
//!
//! With `GANTRY_MUST_RUN=1`, as in CI, a skip that a machine's owner could avoid is a failure.

// Each check takes the part that it needs.
#![allow(dead_code)]

use std::ffi::OsString;
use std::process::Stdio;
use std::sync::OnceLock;

use anyhow::Result;
use libtest_mimic::{Completion, Failed};
use workshop::course::Need;
use workshop::lab::cgroups::{NO_CGROUPS, OWN, TOP};
use workshop::lab::{self, Ground, Job, Spec};
use workshop::stage::verdict::Outcome;
use workshop::vm::Kernel;

/// Why a check did not run.
pub enum Skip {
    /// The machine's owner could change that.
    Avoidable(String),
    /// It does not matter here; another check covers it.
    Fine(String),
}

/// What a trial returns.
pub type Ended = Result<Completion, Failed>;

impl Skip {
    /// The trial's end.
    pub fn ended(&self) -> Ended {
        match self {
            Skip::Avoidable(why) if std::env::var_os("GANTRY_MUST_RUN").is_some() => {
                Err(format!("GANTRY_MUST_RUN is set, and this cannot run: {why}").into())
            }
            Skip::Avoidable(why) | Skip::Fine(why) => Ok(Completion::ignored_with(why)),
        }
    }
}

/// Runs `check` if a lab can be entered on `ground`.
pub fn on(ground: Ground, check: impl FnOnce() -> Result<()>) -> Ended {
    match missing(ground) {
        Some(skip) => skip.ended(),
        None => ended(check()),
    }
}

/// Runs `check` if a lab can be entered on `ground` and has what a chapter needs.
pub fn on_with(needs: &[Need], ground: Ground, check: impl FnOnce() -> Result<()>) -> Ended {
    match missing(ground).or_else(|| lacking(needs, ground)) {
        Some(skip) => skip.ended(),
        None => ended(check()),
    }
}

/// Why a lab that can be entered is not enough.
fn lacking(needs: &[Need], ground: Ground) -> Option<Skip> {
    if !needs.contains(&Need::CgroupDelegation) {
        return None;
    }
    static AS_ROOT: OnceLock<Option<String>> = OnceLock::new();
    static AS_USER: OnceLock<Option<String>> = OnceLock::new();
    let known = if ground == Ground::Root { &AS_ROOT } else { &AS_USER };
    // All that the tests ask for: a user may have been given a part of it.
    let look = format!(
        "test -e {OWN} && cd {TOP} && for c in cpu cpuset io/blkio memory pids; do \
         grep -qsw ${{c%/*}} cgroup.controllers || test -w ${{c#*/}} || exit 1; done"
    );
    let has_cgroups = ["sh", "-c", &look].map(Into::into).to_vec();
    known
        .get_or_init(|| try_it(ground, has_cgroups).map(|_| NO_CGROUPS.to_owned()))
        .clone()
        .map(Skip::Avoidable)
}

/// A trial's end from its result.
pub fn ended(result: Result<()>) -> Ended {
    result.map(|()| Completion::Completed).map_err(|error| Failed::from(format!("{error:#}")))
}

/// Why no lab can be entered there.
pub fn missing(ground: Ground) -> Option<Skip> {
    if ground == Ground::Root && !nix::unistd::geteuid().is_root() {
        return Some(Skip::Fine("not root; the kernel lab has one".to_owned()));
    }
    static AS_ROOT: OnceLock<Option<String>> = OnceLock::new();
    static AS_USER: OnceLock<Option<String>> = OnceLock::new();
    let known = if ground == Ground::Root { &AS_ROOT } else { &AS_USER };
    known.get_or_init(|| try_it(ground, vec!["true".into()])).clone().map(Skip::Avoidable)
}

/// Enters a lab for a command that says nothing; what went wrong.
fn try_it(ground: Ground, command: Vec<OsString>) -> Option<String> {
    let job = Job::Command(command);
    let spec = Spec { ground, programs: Vec::new(), demo: None, job };
    let tried = lab::command(&spec).and_then(|mut command| Ok(command.stdin(Stdio::null()).output()?));
    match tried {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(format!("{error:#}")),
    }
}

/// A trial's end from a stage test's outcome.
pub fn judged(outcome: &Outcome) -> Ended {
    match outcome {
        Outcome::Passed => ended(Ok(())),
        Outcome::Skipped(why) => Skip::Avoidable(why.clone()).ended(),
        Outcome::Failed(failure) => {
            Err(format!("ran      {}\nexpected {}\nseen     {}", failure.ran, failure.expected, failure.seen)
                .into())
        }
    }
}

/// The kernel lab's kernel, found once.
pub fn kernel() -> Result<&'static Kernel, Skip> {
    static KERNEL: OnceLock<Result<Kernel, String>> = OnceLock::new();
    let found = KERNEL.get_or_init(|| Kernel::find().map_err(|error| format!("{error:#}")));
    // The places where it was looked for are told by `cargo workshop lab --kernel`; here, one line.
    found.as_ref().map_err(|why| Skip::Avoidable(why.lines().next().unwrap_or_default().to_owned()))
}
