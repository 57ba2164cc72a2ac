//! A part of the tree for the container itself: `--cgroup-writable`.
//!
//! Its processes live one level deeper than its limits, in a cgroup `container` that is the root of its namespace. So it
//! may do there what it likes, also to the files of its own root: the limits are above, where it cannot look. In a user
//! namespace the folder and the three files that delegation is about are given to the container's root, and no other.
//! See the kernel's cgroup-v2, "Delegation"; `/sys/kernel/cgroup/delegate` lists the files.
//!
//! Version 1 has no safe delegation: a limit of a child may be changed by whoever owns it, and some trees do not look at
//! those above. There the folders are made, and given to nobody.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::stat;
use nix::unistd::{Pid, Uid, fchownat};
use process::{Context, Result};
use user::map::root_outside;

use crate::cgroup::INNER;
use crate::{Cgroup, Folder, Version, cpuset, subtree};

/// What its owner needs to move processes and to hand controllers down.
const DELEGATED: [&str; 4] = [".", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"];

// ANCHOR: delegation
/// Makes the inner cgroup, with the controllers that there are.
///
/// # Errors
/// Those of the kernel.
pub fn make_inner(cgroup: &Cgroup) -> Result<()> {
    for folder in &cgroup.folders {
        let path = folder.path.join(INNER);
        fs::create_dir(&path).during("mkdir", path.display())?;
        if folder.version == Version::V2 {
            subtree::enable(folder, &folder.controllers, false)?;
        }
        cpuset::inherit(&Folder::open(folder.version, &folder.controllers, &path)?, folder)?;
    }
    Ok(())
}

/// Gives the inner cgroup to the root of the container's user namespace, if that is somebody else than we.
///
/// # Errors
/// Those of the kernel.
pub fn give(cgroup: &Cgroup, child: Pid) -> Result<()> {
    // In our own user namespace its root is ours; and the map of that would name ids of the namespace around it.
    let namespace = |pid: &str| stat(format!("/proc/{pid}/ns/user").as_str()).map(|found| found.st_ino);
    if namespace(&child.to_string()) == namespace("self") {
        return Ok(());
    }
    let path = format!("/proc/{child}/uid_map");
    let map = fs::read_to_string(&path).during("read", &path)?;
    let owner = match root_outside(&map) {
        Some(uid) if uid != Uid::effective().as_raw() => uid,
        _ => return Ok(()),
    };
    let Some(folder) = cgroup.unified() else { return Ok(()) };
    let inner = folder.opened_home()?;
    for file in DELEGATED {
        match fchownat(inner.as_fd(), file, Some(Uid::from_raw(owner)), None, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno).during("chown", inner.path.join(file).display()),
        }
    }
    Ok(())
}
// ANCHOR_END: delegation

impl Folder {
    /// Where the container's processes live: the inner cgroup where there is one, else this one.
    ///
    /// # Errors
    /// The cgroup is gone.
    pub fn opened_home(&self) -> Result<Folder> {
        match Folder::open(self.version, &self.controllers, &self.path.join(INNER)) {
            Err(error) if error.errno == Errno::ENOENT => {
                Folder::open(self.version, &self.controllers, &self.path)
            }
            inner => inner,
        }
    }

    /// The same as a descriptor, to be born in.
    ///
    /// # Errors
    /// The cgroup is gone.
    pub fn home(&self) -> Result<OwnedFd> {
        let home = self.opened_home()?;
        home.as_fd().try_clone_to_owned().during("dup", home.path.display())
    }
}
