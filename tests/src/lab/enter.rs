//! Entering a lab: the steps from an ordinary process to the first process of the lab.
//!
//! ```text
//! caller ── runs us again ──▶ keeper: cgroups ── fork ──▶ outer: namespaces, files, users ── fork ──▶ PID 1: /proc,
//!                             waits, removes them         waits, passes the code on                   name, lo
//!                                                                                                      └─ fork ─▶ the job
//! ```
//! Each of them dies with the one before it, so a lab never outlives its caller.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Gid, Uid, fchownat, fork};

use super::cgroups::{self, Groups, Seats};
use super::{Ground, SPEC, Spec, WORK, ignore_terminal_keys, init, prepare, users};

/// The entry of the hidden subcommand `lab-enter`; the exit code.
pub fn main(_: &[OsString]) -> u8 {
    match spec().and_then(|spec| enter(&spec)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lab: {error:#}");
            125
        }
    }
}

fn spec() -> Result<Spec> {
    let text = std::env::var(SPEC).context("no description of the lab was given")?;
    serde_json::from_str(&text).context("read the description of the lab")
}

fn enter(spec: &Spec) -> Result<u8> {
    ignore_terminal_keys();
    if spec.ground == Ground::Root {
        users::require_root()?;
    }
    let groups = Groups::make(spec.ground);
    if groups.is_empty() {
        return lab(spec, Seats::default());
    }
    cgroups::keep(groups, |seats| lab(spec, seats))
}

/// From a process of the machine to the lab.
fn lab(spec: &Spec, mut seats: Seats) -> Result<u8> {
    die_with_parent()?;
    seats.enter()?;
    match (spec.ground, users::is_root()) {
        (Ground::Root, _) => {
            unshare(CloneFlags::CLONE_NEWNS).context("unshare mount namespace")?;
            prepare::lay_out(spec)?;
            seats.show()?;
        }
        (Ground::User, true) => {
            // Laid out by root, then locked by the kernel: inside, read-only cannot be undone.
            unshare(CloneFlags::CLONE_NEWNS).context("unshare mount namespace")?;
            prepare::lay_out(spec)?;
            seats.show()?;
            give(Path::new(WORK))?;
            users::drop_root()?;
            die_with_parent()?;
            users::become_root_in_user_namespace()?;
        }
        (Ground::User, false) => {
            users::become_root_in_user_namespace()?;
            unshare(CloneFlags::CLONE_NEWNS).context("unshare mount namespace")?;
            prepare::lay_out(spec)?;
            seats.show()?;
            // A second one: what the first has made read-only, its root could undo, and the user's own files
            // would be within reach.
            users::become_root_in_user_namespace()?;
        }
        (Ground::Kernel, _) => bail!("a kernel lab is no namespace lab"),
    }
    let rest = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    // The cgroup namespace once more, so that it belongs to the user namespace of the lab.
    unshare(rest | seats.namespace()).context("unshare the lab's namespaces")?;
    seats.settle()?;
    in_first_process(spec)
}

/// The work folder belongs to whoever is root inside.
fn give(path: &Path) -> Result<()> {
    let (uid, gid) = (Uid::from_raw(users::NOBODY), Gid::from_raw(users::NOBODY));
    fchownat(AT_FDCWD, path, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)
        .with_context(|| format!("chown {}", path.display()))?;
    if !path.is_symlink() && path.is_dir() {
        for entry in std::fs::read_dir(path).with_context(|| format!("read {}", path.display()))? {
            give(&entry?.path())?;
        }
    }
    Ok(())
}

/// If the caller is gone already, so are we; if it goes later, the kernel takes us with it.
pub(super) fn die_with_parent() -> Result<()> {
    set_pdeathsig(Signal::SIGKILL).context("prctl(PR_SET_PDEATHSIG)")
}

/// The keys that a terminal turns into signals for all in the foreground.
pub const TERMINAL: [Signal; 2] = [Signal::SIGINT, Signal::SIGQUIT];

fn in_first_process(spec: &Spec) -> Result<u8> {
    // SAFETY: this process has one thread.
    match unsafe { fork() }.context("fork the lab's first process")? {
        ForkResult::Child => {
            let code = init::serve(spec).unwrap_or_else(|error| {
                eprintln!("lab: {error:#}");
                125
            });
            // Ends the lab: the kernel kills whoever is left in it.
            std::process::exit(i32::from(code))
        }
        ForkResult::Parent { child } => match waitpid(child, None).context("wait for the lab")? {
            WaitStatus::Exited(_, code) => Ok(code as u8),
            WaitStatus::Signaled(_, signal, _) => Ok(128 + signal as u8),
            other => bail!("the lab ended strangely: {other:?}"),
        },
    }
}
