//! `/sys`: a new one where that is allowed, else the host's.
//!
//! A new sysfs shows the links of a network namespace, so the kernel lets only its owner mount one. A container
//! in a user namespace of its own that shares the host's network (chapter 4, until chapter 5) is not its owner:
//! it gets a bind mount of the host's `/sys`, read-only with all below it. See namespaces(7), ioctl_nsfs(2).

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::stat::{fstat, stat};

use crate::plan::Source;

/// `NS_GET_USERNS` of `<linux/nsfs.h>`: a descriptor of the user namespace that owns this one.
const NS_GET_USERNS: libc::Ioctl = 0xb701;

// ANCHOR: sys
/// What to mount on `/sys`.
pub fn source() -> Source {
    if owns_network().unwrap_or(false) { Source::Fresh("sysfs", vec![]) } else { Source::Bind("/sys".into()) }
}

/// Whether our user namespace owns our network namespace.
fn owns_network() -> nix::Result<bool> {
    let network = File::open("/proc/self/ns/net").map_err(|_| Errno::ENOENT)?;
    let owner = owner_of(&network)?;
    Ok(fstat(&owner)?.st_ino == stat("/proc/self/ns/user")?.st_ino)
}
// ANCHOR_END: sys

/// The owner of a namespace; EPERM when it is none of ours and none around ours.
fn owner_of(namespace: &File) -> nix::Result<OwnedFd> {
    // SAFETY: the request takes no argument and returns a new descriptor.
    let fd = Errno::result(unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_USERNS) })?;
    // SAFETY: the kernel gave it to us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
