//! A folder becomes `/`, and the old `/` goes away.
//!
//! pivot_root(2) exchanges the root mount of the namespace; chroot(2) only changes where one process starts
//! to look, and a process with privileges walks out of that again. After the exchange the old root is
//! unmounted: it is not hidden, it is no longer there.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::Mode;
use nix::sys::statvfs::{FsFlags, fstatvfs};
use nix::unistd::{chdir, fchdir, pivot_root};
use process::{Context, Error, Result};

use crate::api;
use crate::detached::restrict;

/// The container's root file system, mounted and not yet `/`.
pub struct Root(OwnedFd);

impl Root {
    /// The root that this process has now: once it is exchanged, the container's.
    ///
    /// # Errors
    /// None that a user could cause.
    pub fn current() -> Result<Root> {
        Root::open(Path::new("/"))
    }

    /// A folder to look into as if it were `/`; nothing is mounted.
    ///
    /// # Errors
    /// ENOENT, ENOTDIR: there is no such folder.
    pub fn open(folder: &Path) -> Result<Root> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        open(folder, flags, Mode::empty()).map(Root).during("open", folder.display())
    }

    // ANCHOR: pivot
    /// Mounts `folder` on itself: pivot_root wants a mount, and we want one of our own to restrict.
    ///
    /// # Errors
    /// ENOENT, ENOTDIR: there is no such folder.
    pub fn attach(folder: &Path) -> Result<Root> {
        todo!("2.2 Exchange the root")
    }

    /// Makes it `/`, and unmounts the old one with everything in it.
    ///
    /// # Errors
    /// EINVAL: `/` is shared or is the initial ramdisk, or the new root is no mount.
    pub fn pivot(self) -> Result<()> {
        todo!("2.2 Exchange the root")
    }
    // ANCHOR_END: pivot

    // ANCHOR: seal
    /// Makes everything read-only that came with the folder, and only its top writable again: mount points
    /// may have to be made there. [`Root::seal`] closes it.
    ///
    /// # Errors
    /// EPERM: a mount was locked by a more privileged namespace.
    pub fn restrict(&self) -> Result<()> {
        let was_read_only =
            fstatvfs(&self.0).during("statvfs", "the new root")?.flags().contains(FsFlags::ST_RDONLY);
        restrict(self.as_fd(), libc::MOUNT_ATTR_RDONLY)?;
        if was_read_only {
            return Ok(());
        }
        api::mount_setattr(self.as_fd(), 0, 0, libc::MOUNT_ATTR_RDONLY)
            .during("mount_setattr", "the new root")
    }

    /// Makes the top read-only; what was mounted on it since stays as it is.
    ///
    /// # Errors
    /// None that a user could cause.
    pub fn seal(&self) -> Result<()> {
        api::mount_setattr(self.as_fd(), 0, libc::MOUNT_ATTR_RDONLY, 0)
            .during("mount_setattr", "the new root")
    }
    // ANCHOR_END: seal

    /// Lets no device node in it open anything; what is mounted on it, `/dev` for one, stays as it is.
    ///
    /// # Errors
    /// None that a user could cause.
    pub fn shut_devices(&self) -> Result<()> {
        api::mount_setattr(self.as_fd(), 0, libc::MOUNT_ATTR_NODEV, 0)
            .during("mount_setattr", "the root's devices")
    }
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn likely_cause(errno: Errno) -> &'static str {
    match errno {
        Errno::EINVAL => "the old root is shared or the initial ramdisk, or the new one is no mount",
        Errno::EPERM => "it needs CAP_SYS_ADMIN in the mount namespace",
        _ => "",
    }
}
