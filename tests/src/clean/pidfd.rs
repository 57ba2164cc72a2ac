//! A pidfd: a handle on one process, which no later process of the same number can take over.
//!
//! nix has neither `pidfd_open` nor `pidfd_send_signal`; one wrapper each.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use anyhow::Result;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

/// Opens a handle on the process (pidfd_open(2), Linux 5.3).
pub fn open(pid: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: the call takes two integers and touches no memory of ours.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the kernel has made this descriptor for us just now; nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Sends a signal to exactly this process (pidfd_send_signal(2), Linux 5.1).
pub fn send_signal(process: impl AsFd, signal: Signal) -> Result<(), Errno> {
    let fd = process.as_fd().as_raw_fd();
    let no_info: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: the descriptor is open for the length of the call; a null siginfo is allowed.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal as i32, no_info, 0) };
    Errno::result(result).map(drop)
}

/// Waits until the process has ended; false if it has not after `patience`.
pub fn wait(process: impl AsFd, patience: Duration) -> Result<bool, Errno> {
    let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
    let mut fds = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    Ok(poll(&mut fds, timeout)? > 0)
}
