//! The few system calls that `nix` lacks, one small wrapper each.

use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// A handle of a running process; pidfd_open(2).
///
/// # Errors
/// ESRCH: no such process.
pub fn pidfd_open(pid: i32) -> nix::Result<OwnedFd> {
    // SAFETY: plain numbers.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the kernel gave us this new descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Lets exec close every descriptor from `first` on, whoever opened it; close_range(2).
///
/// # Errors
/// ENOSYS, EINVAL: the kernel is older than 5.11.
pub fn close_on_exec_from(first: u32) -> nix::Result<()> {
    // SAFETY: marks descriptors and closes none.
    let done = unsafe { libc::close_range(first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC as i32) };
    Errno::result(done).map(drop)
}

/// Waits until our child `pid` has ended, at most `time`; whether it has. It stays to be reaped.
///
/// # Errors
/// ESRCH: no such process.
pub fn wait_for_exit(pid: i32, time: Duration) -> nix::Result<bool> {
    let pidfd = pidfd_open(pid)?;
    let timeout = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
    loop {
        match poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], timeout) {
            Err(Errno::EINTR) => continue,
            ready => return ready.map(|count| count > 0),
        }
    }
}
