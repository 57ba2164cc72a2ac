//! The keeper: a small process between the starter and the kernel, so that nothing of a machine is ever left.
//!
//! ```text
//! starter ──▶ workshop vm-keep ──▶ linux ──▶ its helpers and the guest's processes
//! ```
//!
//! A kernel cannot end itself reliably: killed outright, older ones leave helper processes; asked by SIGTERM, a busy
//! one may hang. The keeper ends it by SIGKILL, inherits its orphans (as their subreaper), and ends and reaps those.
//! It does so when the kernel ends, when it gets SIGTERM, and when the starter dies, which sends it SIGTERM.
//!
//! Invariant: the keeper exits with the kernel's exit code, after its last descendant.
//! Left out: its own SIGKILL. Then the kernel still dies; helpers of an older kernel may stay.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::prctl::{set_child_subreaper, set_pdeathsig};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, killpg, pthread_sigmask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::link;

/// How long killed processes may take to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// `workshop vm-keep LINUX ARGS…`: runs the kernel, and ends all of it.
pub fn main(words: &[OsString]) -> u8 {
    match keep(words) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("workshop {}: {error:#}", link::KEEP);
            125
        }
    }
}

fn keep(words: &[OsString]) -> Result<u8> {
    let watched: SigSet = [Signal::SIGCHLD, Signal::SIGTERM].into_iter().collect();
    pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&watched), None).context("block signals")?;
    set_child_subreaper(true).context("become the subreaper")?;
    let kernel = start(words)?;
    let mut code = None;
    while code.is_none() {
        match watched.wait().context("wait for a signal")? {
            Signal::SIGTERM => code = Some(128 + Signal::SIGTERM as u8),
            _ => code = reap(kernel),
        }
    }
    let _ = kill(kernel, Signal::SIGKILL);
    end_all(kernel);
    Ok(code.unwrap_or(125))
}

fn start(words: &[OsString]) -> Result<Pid> {
    let (program, words) = words.split_first().context("no kernel was named")?;
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null());
    let between = || {
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
        Ok(set_pdeathsig(Signal::SIGKILL)?)
    };
    // SAFETY: the closure makes two system calls and nothing else.
    unsafe { command.pre_exec(between) };
    let child = command.spawn().with_context(|| format!("start {}", program.to_string_lossy()))?;
    Ok(Pid::from_raw(child.id() as i32))
}

/// Reaps whatever has ended; the kernel's exit code when it was among them.
fn reap(kernel: Pid) -> Option<u8> {
    let mut code = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, status)) if pid == kernel => code = Some(status as u8),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == kernel => {
                eprintln!("the kernel's process was ended by {signal}");
                code = Some(128 + signal as u8);
            }
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return code,
            Ok(_) | Err(_) => {}
        }
    }
}

/// Ends the kernel's session and reaps all of it; its orphans have become our children.
fn end_all(kernel: Pid) {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let _ = killpg(kernel, Signal::SIGKILL);
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => thread::sleep(Duration::from_millis(1)),
            Err(Errno::ECHILD) => return,
            Ok(_) | Err(_) => {}
        }
    }
}
