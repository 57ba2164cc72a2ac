//! `clone3`: the kernel's call that makes every process, thread and container.
//!
//! One call takes all namespace flags and returns a pidfd, a file descriptor that means this very process:
//! unlike a number it can never come to mean another one. The wrapper is safe because it refuses to run in a
//! process with several threads.
//!
//! Left out: threads, shared memory and a stack of its own. Like `fork`, the child goes on with a copy.
//! See clone(2), pidfd_open(2).

use std::fs;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::thread::sleep;
use std::time::Duration;

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::unistd::Pid;

use crate::{Context, Error, Result};

// ANCHOR: types
/// Which of the two processes we are after the call.
pub enum Fork {
    /// We called; the child has this PID in our own PID namespace.
    Parent {
        /// Its number here.
        pid: Pid,
        /// Its handle, close-on-exec.
        pidfd: OwnedFd,
    },
    /// We are the new one.
    Child,
}

/// `struct clone_args` of `<linux/sched.h>`; all fields are 64-bit, zero means "none".
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Its value does not fit the 32 bits that `libc` gives it (`<linux/sched.h>`).
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
// ANCHOR_END: types

// ANCHOR: clone3
/// Makes a child in the new `namespaces`, inside `cgroup` where one is given (cgroup v2 only).
///
/// # Errors
/// EPERM: a namespace other than the user's needs CAP_SYS_ADMIN. ENOSPC: too many namespaces.
pub fn clone3(namespaces: CloneFlags, cgroup: Option<BorrowedFd<'_>>) -> Result<Fork> {
    let mut pidfd = -1;
    let mut args = CloneArgs {
        flags: (namespaces | CloneFlags::from_bits_retain(libc::CLONE_PIDFD)).bits() as u32 as u64,
        pidfd: &raw mut pidfd as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    match raw_clone3(&args).map_err(|errno| Error::new("clone3", "", errno).because(likely_cause(errno)))? {
        0 => Ok(Fork::Child),
        // SAFETY: the kernel has stored a new descriptor there, and nobody else knows it.
        pid => Ok(Fork::Parent { pid: Pid::from_raw(pid), pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } }),
    }
}
// ANCHOR_END: clone3

// ANCHOR: raw
/// The call itself: 0 in the child, its PID in the parent.
fn raw_clone3(args: &CloneArgs) -> nix::Result<i32> {
    only_one_thread()?;
    // SAFETY: `args` outlives the call and has the size that we name. Without CLONE_VM the child owns a
    // copy of our memory; with one thread, no lock in that copy is held by somebody who is not there.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, args, size_of::<CloneArgs>()) };
    Errno::result(pid).map(|pid| pid as i32)
}

/// The memory of a second thread would be copied, the thread itself would not: its locks stay locked forever.
fn only_one_thread() -> nix::Result<()> {
    // A thread that was joined runs none of our code any more, but the kernel lists it a moment longer.
    for _ in 0..20 {
        if fs::read_dir("/proc/self/task").map_err(|_| Errno::ENOSYS)?.count() == 1 {
            return Ok(());
        }
        sleep(Duration::from_millis(1));
    }
    Err(Errno::EDEADLK)
}
// ANCHOR_END: raw

fn likely_cause(errno: Errno) -> &'static str {
    match errno {
        Errno::EPERM => "new namespaces need root, or a user namespace around them (chapter 4)",
        Errno::ENOSPC => "too many nested namespaces, or the limits in /proc/sys/user are reached",
        Errno::EAGAIN => "too many processes: see `ulimit -u` and pids.max of the cgroup",
        Errno::EDEADLK => "the caller has several threads; a copy of one of them is not safe to go on with",
        Errno::ENOSYS => {
            "the kernel is older than 5.3, /proc is not mounted, or a filter forbids it, as in Docker's containers"
        }
        _ => "",
    }
}

/// Sends `signal` to the process behind `pidfd`; see pidfd_send_signal(2).
///
/// # Errors
/// ESRCH: it has ended and was waited for. EINVAL: no such signal.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    // SAFETY: plain numbers and a null pointer, which means "no further information".
    let done = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    Errno::result(done).map(drop).during("pidfd_send_signal", signal)
}
