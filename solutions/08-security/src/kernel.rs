//! The system calls of this chapter that neither `nix` nor `libc` has functions for, one small wrapper each.
//!
//! See seccomp(2), keyctl(2), prlimit(2).

use std::ptr::null;

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::bpf::Instruction;

/// `struct sock_fprog`: a program and its length.
#[repr(C)]
struct Filter {
    length: u16,
    instructions: *const Instruction,
}

// ANCHOR: seccomp
/// Puts a filter over this thread and all that it will ever start. There is no way back.
///
/// # Errors
/// EACCES: without no_new_privs it takes CAP_SYS_ADMIN. EINVAL: the kernel does not take the program.
pub fn seccomp(program: &[Instruction], flags: u64) -> nix::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::EINVAL)?;
    let filter = Filter { length, instructions: program.as_ptr() };
    // SAFETY: `filter` has the kernel's layout, and it and its instructions outlive the call.
    Errno::result(unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const filter)
    })
    .map(drop)
}
// ANCHOR_END: seccomp

/// `KEYCTL_JOIN_SESSION_KEYRING`.
const JOIN_SESSION_KEYRING: libc::c_int = 1;

// ANCHOR: keyring
/// A session keyring of its own, empty and without a name: the caller's keys are no longer in reach.
///
/// # Errors
/// EDQUOT: this user has too many keys.
pub fn new_keyring() -> nix::Result<()> {
    // SAFETY: no name: the kernel reads nothing.
    match Errno::result(unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, null::<u8>()) }) {
        // No kernel with keys, or a filter over us: whoever cannot ask for keys cannot reach the caller's either.
        Ok(_) | Err(Errno::ENOSYS | Errno::EPERM) => Ok(()),
        Err(errno) => Err(errno),
    }
}
// ANCHOR_END: keyring

/// The limit of a process, as it was; takes a new one if given.
///
/// # Errors
/// EPERM: more than the hard limit takes CAP_SYS_RESOURCE, on the host.
pub fn prlimit(process: Pid, resource: u32, new: Option<libc::rlimit64>) -> nix::Result<libc::rlimit64> {
    let mut old = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    let new = new.as_ref().map_or(null(), |limit| &raw const *limit);
    // SAFETY: both structures outlive the call.
    Errno::result(unsafe { libc::prlimit64(process.as_raw(), resource as _, new, &raw mut old) })?;
    Ok(old)
}
