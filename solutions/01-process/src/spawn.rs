//! The choreography of a birth: which side does what, and in which order.
//!
//! [`spawn`] is its table of contents; the picture of the messages stands in [`crate::gate`]. The parent
//! returns with a running program or with the error of whichever side failed, and in that case no process
//! is left.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::errno::Errno;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::clone3::{Fork, clone3, pidfd_send_signal};
use crate::exit::{self, Exit};
use crate::gate::{ChildEnd, ParentEnd, gate};
use crate::{Birth, Context, Error, Isolation, Program, Result, init, signals};

/// A process that we made and have not waited for.
pub struct Child {
    pid: Pid,
    pidfd: OwnedFd,
}

/// The exit code of a child whose code panicked, as that of any Rust program.
const PANICKED: i32 = 101;

// ANCHOR: spawn
/// Makes a process, lets each isolation act at its three moments, and returns when the program runs.
///
/// # Errors
/// The first that occurred, on either side of the gate; nothing is left of the child then.
pub fn spawn(program: &Program, isolations: &mut [Box<dyn Isolation>]) -> Result<Child> {
    let birth = prepare(program, isolations)?;
    let (parent_end, child_end) = gate()?;
    match clone3(birth.namespaces(), birth.cgroup())? {
        Fork::Parent { pid, pidfd } => {
            drop(child_end);
            Child { pid, pidfd }.bring_up(isolations, parent_end)
        }
        Fork::Child => {
            drop(parent_end);
            become_program(program, isolations, child_end)
        }
    }
}
// ANCHOR_END: spawn

/// First moment: nothing exists yet, wishes are checked and collected.
fn prepare(program: &Program, isolations: &mut [Box<dyn Isolation>]) -> Result<Birth> {
    if program.command.is_empty() {
        return Err(Error::refused("run", "", "no command was given"));
    }
    let mut birth = Birth::new();
    for isolation in isolations {
        isolation.prepare(&mut birth).map_err(|error| error.within(isolation.name()))?;
    }
    Ok(birth)
}

impl Child {
    // ANCHOR: outside
    /// Second moment: the child waits, we act for it outside and let it go.
    fn bring_up(self, isolations: &mut [Box<dyn Isolation>], gate: ParentEnd) -> Result<Child> {
        match self.set_up(isolations, gate) {
            Ok(()) => Ok(self),
            Err(error) => {
                // The error at hand tells more than a failure of this clean-up could.
                let _ = self.signal(libc::SIGKILL);
                let _ = self.wait();
                Err(error)
            }
        }
    }

    fn set_up(&self, isolations: &mut [Box<dyn Isolation>], gate: ParentEnd) -> Result<()> {
        for isolation in isolations {
            isolation.outside(self).map_err(|error| error.within(isolation.name()))?;
        }
        gate.open()?;
        gate.verdict()
    }
    // ANCHOR_END: outside

    /// Its PID in the caller's PID namespace.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// ESRCH: it has ended and was waited for.
    pub fn signal(&self, signal: i32) -> Result<()> {
        pidfd_send_signal(self.pidfd.as_fd(), signal)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// ECHILD: it was waited for before.
    pub fn wait(&self) -> Result<Exit> {
        exit::wait(self.pidfd.as_fd())
    }
}

/// Its pidfd: readable once it has ended.
impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

// ANCHOR: inside
/// Third moment: we are the child. Ends as the program, or as PID 1 for it, or not at all.
fn become_program(program: &Program, isolations: &mut [Box<dyn Isolation>], gate: ChildEnd) -> ! {
    // A panic must not unwind into this copy of the caller's code.
    let code = catch_unwind(AssertUnwindSafe(|| {
        let error = match isolate(program, isolations, &gate) {
            Ok(()) if program.init => match init::run(program) {
                Ok(code) => return i32::from(code),
                Err(error) => error,
            },
            Ok(()) => program.exec(),
            Err(error) => error,
        };
        gate.fail(&error);
        i32::from(error.code)
    }));
    leave(code.unwrap_or(PANICKED))
}

/// Waits for the parent, then lets each isolation act inside.
fn isolate(program: &Program, isolations: &mut [Box<dyn Isolation>], gate: &ChildEnd) -> Result<()> {
    if program.dies_with_parent {
        // Before the gate: if the parent died earlier, the gate says so; if later, the kernel kills us.
        set_pdeathsig(Signal::SIGKILL).during("set the parent-death signal", "")?;
    }
    gate.wait_for_go()?;
    for isolation in isolations {
        isolation.inside().map_err(|error| error.within(isolation.name()))?;
    }
    if program.dies_with_parent {
        // Again: who takes another user id is no longer told. And the parent may have died meanwhile.
        set_pdeathsig(Signal::SIGKILL).during("set the parent-death signal", "")?;
        gate.still_wanted()?;
    }
    close_all_but(gate)?;
    signals::reset()
}
// ANCHOR_END: inside

/// Closes every descriptor but 0, 1, 2 and the gate, whoever opened it; see close_range(2).
///
/// Closed, and not only marked for exec: until then `/proc/self/fd/9` is a path, and as the working directory or the
/// program it would lead to whatever the caller had open (CVE-2024-21626).
fn close_all_but(gate: &ChildEnd) -> Result<()> {
    let kept = gate.as_fd().as_raw_fd() as u32;
    for (first, last) in [(3, kept.saturating_sub(1)), (3.max(kept + 1), u32::MAX)] {
        if first <= last {
            // SAFETY: this child goes on with nothing that owns one of them, and leaves by exec or `_exit`.
            let done = unsafe { libc::close_range(first, last, 0) };
            Errno::result(done).during("close_range", format!("{first} to {last}"))?;
        }
    }
    Ok(())
}

/// Closes every descriptor from `first` on. For PID 1, which never executes anything.
pub(crate) fn close_all_from(first: u32) {
    // SAFETY: the caller is a child that goes on with nothing that owns one of them, and leaves by `_exit`.
    unsafe { libc::close_range(first, u32::MAX, 0) };
}

/// Ends the child without running what the parent registered for its own end.
fn leave(code: i32) -> ! {
    // SAFETY: ends the process; nothing runs after it.
    unsafe { libc::_exit(code) }
}
