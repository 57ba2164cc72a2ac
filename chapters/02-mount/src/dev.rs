//! `/dev`: a small file system with the devices and links that programs rely on, and nothing else.
//!
//! The list is that of the OCI runtime specification, "Default Devices" and "Dev symbolic links"
//! (config-linux.md, runtime-linux.md). Each device is the host's own, bound read-only: reading and writing
//! it goes to the driver and still works, but nobody inside can change the owner or mode of the host's
//! file. Nodes of our own (mknod) would need real root.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use libc::{MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY};
use nix::unistd::symlinkat;
use process::{Context, Result};

use crate::plan::{Mount, Source};
use crate::resolve::{self, Links, Place};
use crate::root::Root;

// ANCHOR: lists
/// The devices without which programs fail in surprising ways.
const DEVICES: [&str; 6] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];

/// Link and where it points; through `/proc`, so that each process sees its own.
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];
// ANCHOR_END: lists

/// The group `tty`: programs such as wall(1) write to terminals as members of it.
const TTY_GROUP: u32 = 5;

// ANCHOR: dev
/// The mounts of `/dev`, in order: the folder, the terminals, the devices.
pub fn mounts() -> Vec<Mount> {
    todo!("2.6 Furnish /dev")
}

/// Makes the links, once `/dev` is mounted.
///
/// # Errors
/// ENOSPC: the small file system is full.
pub fn links(root: &Root) -> Result<()> {
    todo!("2.6 Furnish /dev")
}
// ANCHOR_END: dev

/// Whether group `id` exists in our user namespace; a file system cannot give files to one that does not.
fn maps_group(id: u32) -> bool {
    let map = fs::read_to_string("/proc/self/gid_map").unwrap_or_default();
    map.lines().any(|line| {
        let numbers: Vec<u32> = line.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        matches!(numbers[..], [inside, _, count] if (inside..inside.saturating_add(count)).contains(&id))
    })
}
