//! The keeper of a lab's groups: outside of them, until they are gone.
//!
//! ```text
//! caller ──▶ keeper ── fork ──▶ the lab: enters the groups, gives up its rights, ...
//!            waits for the lab's end, or its caller's: kills who is left, removes the groups
//! ```
//! When the caller dies, the kernel sends SIGTERM. Only a keeper that is itself killed by SIGKILL leaves groups
//! behind, empty ones, for the next lab.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

use super::{Groups, Seats};

/// How long the last processes of a lab may take to die.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs `lab` in a child process and keeps the groups until it has ended; its exit code.
///
/// # Errors
/// The child cannot be made.
pub fn keep(groups: Groups, lab: impl FnOnce(Seats) -> Result<u8>) -> Result<u8> {
    let mut signals = SigSet::empty();
    [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGHUP].into_iter().for_each(|signal| signals.add(signal));
    let before =
        signals.thread_swap_mask(nix::sys::signal::SigmaskHow::SIG_BLOCK).context("block signals")?;
    set_pdeathsig(Signal::SIGTERM).context("prctl(PR_SET_PDEATHSIG)")?;
    // SAFETY: this process has one thread.
    match unsafe { fork() }.context("fork the lab")? {
        ForkResult::Child => {
            let seats = groups.seats();
            // The locks are the keeper's alone: they are to go with it.
            groups.leave();
            let code = before.thread_set_mask().context("restore signals").and_then(|()| lab(seats));
            std::process::exit(i32::from(code.unwrap_or_else(|error| {
                eprintln!("lab: {error:#}");
                125
            })))
        }
        ForkResult::Parent { child } => {
            let code = wait_for(child, &signals);
            remove(&groups);
            code
        }
    }
}

/// Waits for the child's end, and brings it about if ours is wanted.
fn wait_for(child: Pid, signals: &SigSet) -> Result<u8> {
    loop {
        match waitpid(child, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, code)) => return Ok(code as u8),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(128 + signal as u8),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("wait for the lab"),
        }
        match signals.wait().context("wait for a signal")? {
            Signal::SIGCHLD => {}
            ours => {
                // Its first process goes with it, and the kernel takes the rest.
                let _ = kill(child, Signal::SIGKILL);
                let _ = waitpid(child, None);
                return Ok(128 + ours as u8);
            }
        }
    }
}

/// Until all are gone: a dying process counts for a moment still.
fn remove(groups: &Groups) {
    let start = Instant::now();
    let mut pause = Duration::from_micros(200);
    // Each of them in every round: what is frozen in one keeps the others busy.
    while groups.0.iter().filter(|group| !group.end()).count() > 0 && start.elapsed() < PATIENCE {
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}
