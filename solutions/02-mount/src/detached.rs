//! A mount without a place: an object that a descriptor holds, in no tree yet.
//!
//! The classic mount(2) makes a mount and shows it in one step, and what must be restricted is visible
//! unrestricted for a moment. Here it is made, then restricted, then attached; if anything fails on the way,
//! closing the descriptor undoes all of it.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use process::{Context, Error, Result};

use crate::api;

/// A mount that is not attached yet.
pub struct Detached(OwnedFd);

impl Detached {
    /// Another view of what is at an open place, submounts included.
    ///
    /// # Errors
    /// EINVAL: the mount there is unbindable, or in another mount namespace.
    pub fn copy_of(place: BorrowedFd<'_>) -> nix::Result<Detached> {
        api::open_tree(place).map(Detached)
    }

    // ANCHOR: detached
    /// Another view of what is at `source`, submounts included.
    ///
    /// # Errors
    /// ENOENT: no such source. EPERM: the mount namespace is not ours.
    pub fn bind(source: &Path) -> Result<Detached> {
        let place =
            open(source, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).during("open", source.display())?;
        api::open_tree(place.as_fd()).map(Detached).during("open_tree", source.display())
    }

    /// A new file system, such as `tmpfs` with `size=64m`, mounted with `attributes` (`MOUNT_ATTR_*`).
    ///
    /// # Errors
    /// ENODEV: this kernel has no such file system. EINVAL: an option that it does not know.
    pub fn fresh(filesystem: &str, options: &[(String, String)], attributes: u64) -> Result<Detached> {
        let context = api::fsopen(&c_string(filesystem)?).during("fsopen", filesystem)?;
        // What /proc/mounts shows in its first column.
        let source = ("source".to_owned(), filesystem.to_owned());
        for (key, value) in std::iter::once(&source).chain(options) {
            api::fsconfig_set(context.as_fd(), &c_string(key)?, &c_string(value)?)
                .map_err(|errno| explain(&context, &format!("{filesystem} {key}={value}"), errno))?;
        }
        api::fsconfig_create(context.as_fd()).map_err(|errno| explain(&context, filesystem, errno))?;
        api::fsmount(context.as_fd(), attributes)
            .map(Detached)
            .map_err(|errno| explain(&context, filesystem, errno))
    }

    /// Gives it a place. From now on it is visible in this namespace.
    ///
    /// # Errors
    /// EINVAL: a folder on a file, or the other way round.
    pub fn attach(&self, place: BorrowedFd<'_>) -> nix::Result<()> {
        api::move_mount(self.0.as_fd(), place)
    }
    // ANCHOR_END: detached
}

// ANCHOR: change
impl Detached {
    /// Cuts a copy loose, with all below it: what is mounted on the copy does not appear on what it was taken from.
    ///
    /// # Errors
    /// None that a user could cause.
    pub fn make_private(&self) -> Result<()> {
        let private =
            libc::mount_attr { attr_set: 0, attr_clr: 0, propagation: libc::MS_PRIVATE, userns_fd: 0 };
        change(self.as_fd(), &private).during("mount_setattr", "a private copy")
    }
}

/// Changes a mount, and every mount below it, in one call.
///
/// # Errors
/// As mount_setattr(2).
pub fn change(mount: BorrowedFd<'_>, change: &libc::mount_attr) -> nix::Result<()> {
    api::change_mount(mount, api::RECURSIVE, change)
}
// ANCHOR_END: change

// ANCHOR: restrict
/// Sets attributes on a mount and on every mount below it.
///
/// Recursion is the point: the classic `MS_REMOUNT | MS_BIND | MS_RDONLY` makes only the topmost mount
/// read-only, and whatever is mounted below it stays writable.
///
/// # Errors
/// EPERM: the mount was locked by a more privileged namespace.
pub fn restrict(mount: BorrowedFd<'_>, attributes: u64) -> Result<()> {
    api::mount_setattr(mount, api::RECURSIVE, attributes, 0).during("mount_setattr", "the whole tree")
}
// ANCHOR_END: restrict

/// Takes attributes from one mount, and leaves those below it. Where a user namespace may not, it stays as it is.
///
/// # Errors
/// EINVAL: it is no mount, or none of this namespace.
pub fn release(mount: BorrowedFd<'_>, attributes: u64) -> Result<()> {
    match api::mount_setattr(mount, 0, 0, attributes) {
        Ok(()) | Err(Errno::EPERM) => Ok(()),
        Err(errno) => Err(errno).during("mount_setattr", ""),
    }
}

impl AsFd for Detached {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::refused("configure", text, "a zero byte in a mount option"))
}

/// The kernel's own words about a failed configuration wait in the context, one message a read.
fn explain(context: &OwnedFd, subject: &str, errno: Errno) -> Error {
    let mut words = [0; 1024];
    let said = nix::unistd::read(context, &mut words)
        .map(|length| String::from_utf8_lossy(&words[..length]).into_owned());
    let cause = match (said, errno) {
        // Newer kernels say "Mount too revealing" here, which helps nobody.
        (_, Errno::EPERM) => {
            "the kernel wants to see the host's own one in full first; is a part of it hidden here?".into()
        }
        (Ok(said), _) => said.trim_start_matches("e ").trim().to_owned(),
        (Err(_), Errno::ENODEV) => "this kernel does not have it".into(),
        _ => String::new(),
    };
    Error::new("mount", subject, errno).because(cause)
}
