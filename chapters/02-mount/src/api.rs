//! The kernel's file-descriptor-based mount calls, one small wrapper each.
//!
//! They have been there since Linux 5.2 (mount_setattr since 5.12), and neither `nix` nor `libc` has
//! functions for them. A mount is an object here, held by a descriptor, before it has any place in the
//! tree. See open_tree(2), move_mount(2), mount_setattr(2), fsopen(2), fsconfig(2), fsmount(2).

use std::ffi::CStr;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::null;

use nix::errno::Errno;

/// Also the submounts; `<linux/fcntl.h>`.
pub const RECURSIVE: u32 = libc::AT_RECURSIVE as u32;

// ANCHOR: tree
/// A detached copy of the mount at `place`, and of the mounts below it.
pub fn open_tree(place: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | RECURSIVE | libc::AT_EMPTY_PATH as u32;
    // SAFETY: the path is a constant, the rest are numbers.
    new_fd(unsafe { libc::syscall(libc::SYS_open_tree, place.as_raw_fd(), c"".as_ptr(), flags) })
}

/// Attaches a detached mount on top of `place`.
pub fn move_mount(mount: BorrowedFd<'_>, place: BorrowedFd<'_>) -> nix::Result<()> {
    let (from, to, empty) = (mount.as_raw_fd(), place.as_raw_fd(), c"".as_ptr());
    let flags = libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH;
    // SAFETY: the paths are constants, the rest are numbers.
    done(unsafe { libc::syscall(libc::SYS_move_mount, from, empty, to, empty, flags) })
}

/// Changes the attributes (`MOUNT_ATTR_*`) of a mount; with [`RECURSIVE`] also of all below it.
pub fn mount_setattr(mount: BorrowedFd<'_>, reach: u32, set: u64, clear: u64) -> nix::Result<()> {
    let change = libc::mount_attr { attr_set: set, attr_clr: clear, propagation: 0, userns_fd: 0 };
    change_mount(mount, reach, &change)
}

/// Changes all that can be changed of a mount: attributes, propagation, owners.
pub fn change_mount(mount: BorrowedFd<'_>, reach: u32, change: &libc::mount_attr) -> nix::Result<()> {
    let (fd, flags, size) =
        (mount.as_raw_fd(), reach | libc::AT_EMPTY_PATH as u32, size_of::<libc::mount_attr>());
    // SAFETY: `change` outlives the call and has the size that we name.
    done(unsafe { libc::syscall(libc::SYS_mount_setattr, fd, c"".as_ptr(), flags, change, size) })
}
// ANCHOR_END: tree

/// Opens a file system type, to be configured.
pub fn fsopen(filesystem: &CStr) -> nix::Result<OwnedFd> {
    // SAFETY: the name outlives the call.
    new_fd(unsafe { libc::syscall(libc::SYS_fsopen, filesystem.as_ptr(), libc::FSOPEN_CLOEXEC) })
}

/// Sets one option of a file system that is being configured; one with an empty value is a flag.
pub fn fsconfig_set(context: BorrowedFd<'_>, key: &CStr, value: &CStr) -> nix::Result<()> {
    let (set, value) = match value.is_empty() {
        true => (libc::FSCONFIG_SET_FLAG, null()),
        false => (libc::FSCONFIG_SET_STRING, value.as_ptr()),
    };
    // SAFETY: both strings outlive the call; a flag has no value.
    done(unsafe { libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), set, key.as_ptr(), value, 0) })
}

/// Makes the file system that was configured.
pub fn fsconfig_create(context: BorrowedFd<'_>) -> nix::Result<()> {
    let (fd, create) = (context.as_raw_fd(), libc::FSCONFIG_CMD_CREATE);
    // SAFETY: this command takes no further argument.
    done(unsafe { libc::syscall(libc::SYS_fsconfig, fd, create, null::<u8>(), null::<u8>(), 0) })
}

/// A detached mount of the file system that was made, with these attributes.
pub fn fsmount(context: BorrowedFd<'_>, attributes: u64) -> nix::Result<OwnedFd> {
    // SAFETY: numbers only.
    new_fd(unsafe {
        libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), libc::FSMOUNT_CLOEXEC, attributes)
    })
}

fn done(result: libc::c_long) -> nix::Result<()> {
    Errno::result(result).map(drop)
}

fn new_fd(result: libc::c_long) -> nix::Result<OwnedFd> {
    // SAFETY: the kernel gave us this new descriptor, and nobody else knows it.
    Errno::result(result).map(|fd| unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
