//! How a process ended, and the one number that a shell makes of it.
//!
//! A process ends in one of two ways: it exits with a status of 8 bits, or a signal kills it. A shell folds
//! both into one number: the status, or 128 plus the signal. The runner does the same, so that `process run`
//! can stand wherever the program itself could.
//!
//! `nix` has waitid(2) too, but no names for real-time signals: a child killed by one would be reaped and
//! its fate lost. Hence a wrapper of our own.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

use crate::{Context, Result};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It called `exit`; the low 8 bits.
    Status(u8),
    /// A signal killed it; its number, real-time ones included.
    Signal(u8),
}

// ANCHOR: exit_code
/// Waits until the child behind `pidfd` has ended.
///
/// # Errors
/// ECHILD: it is not our child, or was waited for before.
pub fn wait(pidfd: BorrowedFd<'_>) -> Result<Exit> {
    loop {
        match raw_waitid(libc::P_PIDFD, pidfd.as_raw_fd() as u32, libc::WEXITED) {
            Ok(ended) => return Ok(ended.exit()),
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno).during("waitid", "the container"),
        }
    }
}

impl Ended {
    /// Whether it left by itself or a signal ended it (CLD_KILLED; CLD_DUMPED, with a core dump).
    pub(crate) fn exit(&self) -> Exit {
        match self.how {
            libc::CLD_EXITED => Exit::Status(self.status as u8),
            _ => Exit::Signal(self.status as u8),
        }
    }
}

impl Exit {
    /// The number that a shell would show in `$?`.
    pub fn code(self) -> u8 {
        match self {
            Exit::Status(status) => status,
            Exit::Signal(signal) => 128 + signal,
        }
    }
}
// ANCHOR_END: exit_code

// ANCHOR: raw
/// What waitid(2) tells of one ended child.
pub(crate) struct Ended {
    /// Its PID; 0 with WNOHANG when there is none.
    pub pid: i32,
    /// CLD_EXITED, CLD_KILLED or CLD_DUMPED.
    pub how: i32,
    /// The exit status or the signal's number.
    pub status: i32,
}

/// waitid(2) without interpretation.
pub(crate) fn raw_waitid(kind: libc::idtype_t, id: u32, options: i32) -> nix::Result<Ended> {
    // SAFETY: siginfo_t is plain data, for which zeroes are a valid value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: `info` is ours and lives through the call.
    Errno::result(unsafe { libc::waitid(kind, id, &mut info, options) })?;
    // SAFETY: waitid fills these fields for SIGCHLD, and leaves them zero when there was no child to tell of.
    Ok(Ended { pid: unsafe { info.si_pid() }, how: info.si_code, status: unsafe { info.si_status() } })
}
// ANCHOR_END: raw
