//! A volume whose files have the container's ids: an idmapped mount.
//!
//! Root of a container is, say, 100000 outside, so files that belong to root outside are nobody's inside. An
//! idmapped mount translates owners on the way, by the map of a user namespace: what 0 owns on the disk is
//! owned by 0 in the container, and the other way round. Only this mount does it; the disk is not changed.
//!
//! The three moments fit: the copy is taken before the birth, mapped from outside, when the namespace exists,
//! and attached inside. All three work on one detached mount, which parent and child both hold.
//! See mount_setattr(2), "ID-mapped mounts".

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use mount::detached::{self, Detached, restrict};
use mount::plan::{Mount, Source};
use mount::resolve::{self, Place};
use mount::root::Root;
use nix::errno::Errno;
use process::{Birth, Child, Context, Error, Isolation, Result};

/// One such volume.
pub struct IdmappedVolume {
    volume: Mount,
    copy: Option<(Detached, Place)>,
}

impl IdmappedVolume {
    /// A volume, as `--volume` writes it.
    ///
    /// # Errors
    /// As [`Mount::volume`].
    pub fn new(text: &str) -> Result<IdmappedVolume> {
        Ok(IdmappedVolume { volume: Mount::volume(text)?, copy: None })
    }
}

impl Isolation for IdmappedVolume {
    fn name(&self) -> &'static str {
        "idmapped volume"
    }

    // ANCHOR: idmap
    fn prepare(&mut self, _birth: &mut Birth) -> Result<()> {
        todo!("4.4 Files that keep their owners")
    }

    fn outside(&mut self, child: &Child) -> Result<()> {
        todo!("4.4 Files that keep their owners")
    }

    fn inside(&mut self) -> Result<()> {
        todo!("4.4 Files that keep their owners")
    }
    // ANCHOR_END: idmap
}

/// Lets a detached mount, and those below it, translate owners by the map of a user namespace. Private too: the
/// copy was taken on the host, and would pass on what the container's root mounts on it.
///
/// # Errors
/// EINVAL: that kind of file system cannot do it. EPERM: its owner is another user namespace.
pub fn idmap(mount: BorrowedFd<'_>, namespace: BorrowedFd<'_>) -> nix::Result<()> {
    let change = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: libc::MS_PRIVATE,
        userns_fd: namespace.as_raw_fd() as u64,
    };
    detached::change(mount, &change)
}

fn likely_cause(errno: Errno) -> &'static str {
    match errno {
        Errno::EINVAL => {
            "this kind of file system cannot do it on this kernel; or the container has no ids of its own"
        }
        Errno::EPERM => {
            "it needs CAP_SYS_ADMIN where that file system was mounted: real root, for the host's"
        }
        _ => "",
    }
}
