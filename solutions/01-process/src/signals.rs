//! Signals as something to read.
//!
//! A runner stands between whoever sends a signal and the program that it is meant for. So it blocks all
//! signals that can be passed on and reads them from a file descriptor, one after the other, beside the
//! pidfd of its child. See signalfd(2), signal(7).
//!
//! Left to the kernel: SIGKILL and SIGSTOP, which nobody can block; the signals of a program's own faults;
//! SIGPIPE, SIGCHLD and the terminal's SIGTSTP, SIGTTIN, SIGTTOU, which mean the runner itself.

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::{Context, Result};

/// The signals that we pass on, blocked and readable.
pub struct Signals(SignalFd);

/// Not ours to pass on.
const LEFT_ALONE: [Signal; 13] = [
    Signal::SIGILL,
    Signal::SIGTRAP,
    Signal::SIGABRT,
    Signal::SIGBUS,
    Signal::SIGFPE,
    Signal::SIGSEGV,
    Signal::SIGSYS,
    Signal::SIGPIPE,
    Signal::SIGCHLD,
    Signal::SIGTSTP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGURG,
];

// ANCHOR: block
impl Signals {
    /// Blocks what can be passed on, from now on and for this process. Do it before the child is born: a
    /// signal in between would end the runner and leave the child alone.
    ///
    /// # Errors
    /// EMFILE: too many open files.
    pub fn block() -> Result<Signals> {
        Signals::block_also(&[])
    }

    /// [`Signals::block`], and `also` these.
    pub(crate) fn block_also(also: &[Signal]) -> Result<Signals> {
        let mut set = SigSet::all();
        LEFT_ALONE.into_iter().filter(|signal| !also.contains(signal)).for_each(|signal| set.remove(signal));
        set.thread_block().during("block signals", "")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Signals(SignalFd::with_flags(&set, flags).during("signalfd", "")?))
    }
    // ANCHOR_END: block

    // ANCHOR: forward
    /// The number of the next signal to pass on, or `None` when there is none to read.
    ///
    /// A signal from the terminal (Ctrl-C) comes from the kernel and goes to the whole foreground group, so
    /// the container has it already: it is left out, or the program would get it twice.
    ///
    /// # Errors
    /// None that a user could cause.
    pub fn next(&self) -> Result<Option<i32>> {
        while let Some(arrived) = self.0.read_signal().during("read a signal", "")? {
            if arrived.ssi_code != libc::SI_KERNEL {
                return Ok(Some(arrived.ssi_signo as i32));
            }
        }
        Ok(None)
    }
    // ANCHOR_END: forward
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Gives a new program the signals as it expects them: none blocked, SIGPIPE deadly again.
///
/// Rust's runtime ignores SIGPIPE, and exec keeps what is ignored or blocked.
///
/// # Errors
/// None that a user could cause.
pub(crate) fn reset() -> Result<()> {
    // SAFETY: the default action runs no code of ours.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }.during("reset SIGPIPE", "")?;
    SigSet::empty().thread_set_mask().during("unblock signals", "")
}
