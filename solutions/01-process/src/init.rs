//! PID 1's duties, done by us where the user's program would not do them.
//!
//! The first process of a PID namespace inherits every orphan in it and must reap it, or dead processes
//! pile up. And the kernel protects it: a signal that it does not handle is dropped, so `sleep` as PID 1
//! cannot be stopped by SIGTERM. With `--init` PID 1 is this loop and the program is its child. When the
//! loop ends, the kernel kills whatever is left. See pid_namespaces(7).

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_dumpable;
use nix::sys::signal::Signal;
use nix::unistd::{ForkResult, Pid, fork};

use crate::exit::{Exit, raw_waitid};
use crate::spawn::close_all_from;
use crate::{Context, Error, Program, Result, Signals, signals};

// ANCHOR: run
/// Starts the program as our child and serves as PID 1 until it ends; its exit code.
///
/// # Errors
/// The program could not be started: of the process that was to become it, or of PID 1.
pub(crate) fn run(program: &Program) -> Result<u8> {
    // Blocked before the program exists: its SIGCHLD waits for us.
    drop(Signals::block_also(&[Signal::SIGCHLD])?);
    // We are a copy of the runner: its environment, its memory and its file are not the container's to read.
    set_dumpable(false).during("hide", "the memory of PID 1")?;
    // No namespace is asked for, so fork will do. Filters that containers get forbid clone3 (chapter 8).
    // SAFETY: we have one thread, as the process had that called `spawn`.
    match unsafe { fork() }.during("fork", "")? {
        ForkResult::Child => {
            signals::reset()?;
            Err(program.exec())
        }
        ForkResult::Parent { child: main } => {
            // Among the rest is our end of the gate: while it is open, the runner waits for news.
            close_all_from(3);
            let signals = Signals::block_also(&[Signal::SIGCHLD])?;
            // Nobody can be told any more: the gate is closed.
            Ok(serve(main, &signals).unwrap_or(Error::RUNNER_FAILED))
        }
    }
}
// ANCHOR_END: run

// ANCHOR: init
/// Reaps and forwards until `main` has ended; its exit code.
fn serve(main: Pid, signals: &Signals) -> Result<u8> {
    loop {
        if let Some(exit) = reap(main)? {
            return Ok(exit.code());
        }
        wait_for(signals)?;
        while let Some(signal) = signals.next()? {
            if signal != libc::SIGCHLD {
                forward(main, signal)?;
            }
        }
    }
}

/// Takes every dead child off the process table; the end of `main`, if it is among them.
fn reap(main: Pid) -> Result<Option<Exit>> {
    loop {
        match raw_waitid(libc::P_ALL, 0, libc::WEXITED | libc::WNOHANG) {
            Ok(ended) if ended.pid == 0 => return Ok(None),
            Ok(ended) if ended.pid == main.as_raw() => return Ok(Some(ended.exit())),
            Ok(_) | Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno).during("waitid", "any child"),
        }
    }
}
// ANCHOR_END: init

/// Sends `signal` to the program. A PID is safe here: it is ours to reap, so it cannot be another's yet.
fn forward(main: Pid, signal: i32) -> Result<()> {
    // SAFETY: plain numbers.
    Errno::result(unsafe { libc::kill(main.as_raw(), signal) }).map(drop).during("kill", main)
}

/// Sleeps until a signal can be read.
fn wait_for(signals: &Signals) -> Result<()> {
    use std::os::fd::AsFd;
    match poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno).during("poll", ""),
    }
}
