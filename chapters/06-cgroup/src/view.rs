//! What the container sees of its cgroup: a namespace in which that is the root, and `/sys/fs/cgroup`.
//!
//! The namespace is made last, when we are in the cgroup: its root is the cgroup in which we are at that moment. In
//! version 1 a `clone3` with CLONE_NEWCGROUP would be too early, for the move comes after it. (In version 2 a process
//! that is born in its cgroup has the right root either way: seen on Linux 7.3.) The mounts come last: they show its root.
//!
//! Read-only, no program inside can change its limits. That is not all that stops it: see [`crate::birth`].
//! See cgroup_namespaces(7).

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use libc::{MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY};
use mount::detached::{Detached, restrict};
use mount::resolve::{self, Links, Place as Kind};
use mount::root::Root;
use mount::{Mount, Source};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::symlinkat;
use process::{Context, Result};

use crate::{Hierarchies, Hierarchy, Version};

/// Where programs look for it.
pub const CGROUP: &str = "/sys/fs/cgroup";

const QUIET: u64 = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;

// ANCHOR: namespace
/// Makes the cgroup in which we are the root of what we see from now on.
///
/// # Errors
/// EPERM: it takes CAP_SYS_ADMIN, or a user namespace of its own.
pub fn unshare_namespace() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWCGROUP).during("unshare", "the cgroup namespace")
}
// ANCHOR_END: namespace

// ANCHOR: show
/// Mounts the trees as this cgroup namespace shows them.
///
/// # Errors
/// EPERM: the namespace is not ours.
pub fn show(trees: &Hierarchies, writable: bool) -> Result<()> {
    todo!("6.3 Show it its own tree")
}

/// A tree of its own file system, from the root of our namespace.
fn fresh(tree: &Hierarchy, target: PathBuf, attributes: u64) -> Mount {
    todo!("6.3 Show it its own tree")
}
// ANCHOR_END: show

// ANCHOR: folders
/// The folders on which trees of version 1 are mounted, and a link for each controller that shares one.
fn folders(trees: &Hierarchies, root: &Root) -> Result<()> {
    let options = [("mode", "755"), ("size", "64k")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    let top = Detached::fresh("tmpfs", &options, QUIET)?;
    for tree in &trees.0 {
        let folder = folder_of(tree);
        mkdirat(top.as_fd(), folder.as_str(), Mode::from_bits_truncate(0o755)).during("mkdir", &folder)?;
        for name in tree.names.iter().filter(|_| tree.names.len() > 1) {
            symlinkat(folder.as_str(), top.as_fd(), name.as_str()).during("symlink", name)?;
        }
    }
    restrict(top.as_fd(), MOUNT_ATTR_RDONLY)?;
    let place = resolve::place(root.as_fd(), Path::new(CGROUP), Kind::Folder, Links::Refuse)?;
    top.attach(place.as_fd()).during("move_mount", CGROUP)
}
// ANCHOR_END: folders

fn folder_of(tree: &Hierarchy) -> String {
    if tree.version == Version::V2 { "unified".to_owned() } else { tree.names.join(",") }
}

// ANCHOR: host
/// The host's view, for a container that is to share it: taken before the birth, while the host's root is still ours.
///
/// # Errors
/// There is none.
pub fn of_host() -> Result<Detached> {
    let copy = Detached::bind(Path::new(CGROUP))?;
    // Else what the container's root mounts on it would be mounted on the host's tree, too.
    copy.make_private()?;
    restrict(copy.as_fd(), QUIET | MOUNT_ATTR_RDONLY)?;
    Ok(copy)
}

/// Shows it inside.
///
/// # Errors
/// The container has no `/sys`.
pub fn show_hosts(copy: &Detached) -> Result<()> {
    let place = resolve::place(Root::current()?.as_fd(), Path::new(CGROUP), Kind::Folder, Links::Refuse)?;
    copy.attach(place.as_fd()).during("move_mount", CGROUP)
}
// ANCHOR_END: host
