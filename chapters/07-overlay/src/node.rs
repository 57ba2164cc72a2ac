//! A file's attributes: owner, mode, times, extended attributes. Read into data, and written from it.
//!
//! The order of writing matters: a change of owner takes the set-user-id bit and the capabilities away, so the owner
//! comes first; and every change moves the times, so they come last.
//!
//! Root of a user namespace cannot give every attribute: an id that its map does not have, a `trusted.` name. What
//! it must leave out is counted and told, not an error.

use std::ffi::OsStr;
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, UtimensatFlags, fchmod, fstat, futimens, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat};
use process::{Context, Result};

use crate::xattr::{self, Attribute};
use crate::{task, whiteout};

/// What a file is besides its kind, its name and its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// The twelve permission bits.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// When its content changed last.
    pub modified: TimeSpec,
    /// Extended ones, without those that are overlay's own.
    pub extended: Vec<Attribute>,
}

/// What could not be given.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct LeftOut {
    /// Device files.
    pub devices: usize,
    /// Files whose owner is another now.
    pub owners: usize,
    /// Extended attributes.
    pub extended: usize,
    /// Extended attributes whose names a tar cannot say.
    pub names: usize,
}

/// Opens what is called so in `parent`, itself and not what it points to.
///
/// # Errors
/// ENOENT: there is nothing of that name.
pub fn open(parent: BorrowedFd<'_>, name: &OsStr) -> nix::Result<OwnedFd> {
    openat(parent, name, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())
}

/// The kind of a file, `S_IFDIR` and its like.
pub fn kind(found: &FileStat) -> u32 {
    found.st_mode & libc::S_IFMT
}

impl Attributes {
    /// Those of an object that was opened by [`open`].
    ///
    /// # Errors
    /// EACCES: they are not ours to read.
    pub fn of(object: BorrowedFd<'_>) -> nix::Result<Attributes> {
        let found = fstat(object)?;
        let mut extended = xattr::all(object)?;
        extended.retain(|(name, _)| !whiteout::is_own(name));
        Ok(Attributes {
            mode: found.st_mode & 0o7777,
            uid: found.st_uid,
            gid: found.st_gid,
            modified: TimeSpec::new(found.st_mtime, found.st_mtime_nsec),
            extended,
        })
    }

    // ANCHOR: give
    /// Gives them to an open file or folder, called `told` in errors.
    ///
    /// # Errors
    /// Whatever the kernel says to one of these steps, if it is not for want of rights of a user namespace.
    pub fn give(&self, object: BorrowedFd<'_>, told: &OsStr, left_out: &mut LeftOut) -> Result<()> {
        self.give_owner(object, told, left_out)?;
        fchmod(object, Mode::from_bits_truncate(self.mode)).during("chmod", told.display())?;
        futimens(object, &self.modified, &self.modified).during("set the time of", told.display())
    }

    /// Gives them to a device, a queue or a link: it is not opened, for that could do something.
    ///
    /// # Errors
    /// As [`Attributes::give`].
    pub fn give_to_special(
        &self,
        parent: BorrowedFd<'_>,
        name: &OsStr,
        left_out: &mut LeftOut,
    ) -> Result<()> {
        let told = name.display();
        let object = open(parent, name).during("open", &told)?;
        self.give_owner(object.as_fd(), name, left_out)?;
        // A link has no mode.
        if kind(&fstat(&object).during("stat", &told)?) != libc::S_IFLNK {
            let permissions = std::fs::Permissions::from_mode(self.mode);
            std::fs::set_permissions(format!("/proc/self/fd/{}", object.as_raw_fd()), permissions)
                .during("chmod", &told)?;
        }
        let time = &self.modified;
        utimensat(parent, name, time, time, UtimensatFlags::NoFollowSymlink).during("set the time of", told)
    }

    /// Owner and extended attributes.
    fn give_owner(&self, object: BorrowedFd<'_>, told: &OsStr, left_out: &mut LeftOut) -> Result<()> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        match fchownat(object, "", Some(uid), Some(gid), AtFlags::AT_EMPTY_PATH) {
            Err(Errno::EINVAL | Errno::EPERM) if !is_real_root() => left_out.owners += 1,
            done => done.during("chown", told.display())?,
        }
        for (attribute, value) in &self.extended {
            match xattr::set(object, attribute, value) {
                Err(Errno::EPERM | Errno::EINVAL) if !is_real_root() => left_out.extended += 1,
                Err(Errno::ENOTSUP) => left_out.extended += 1,
                done => done.during(&format!("set {attribute} of"), told.display())?,
            }
        }
        Ok(())
    }
    // ANCHOR_END: give
}

/// Whether we are the machine's root: in the first user namespace, with its rights. The number of that one is part of
/// the kernel's interface, `PROC_USER_INIT_INO` of `<linux/proc_ns.h>`.
pub fn is_real_root() -> bool {
    let is_first = |link: std::path::PathBuf| link.as_os_str() == "user:[4026531837]";
    task::is_root() && std::fs::read_link("/proc/self/ns/user").is_ok_and(is_first)
}

impl LeftOut {
    /// Both together.
    pub fn and(self, other: LeftOut) -> LeftOut {
        LeftOut {
            devices: self.devices + other.devices,
            owners: self.owners + other.owners,
            extended: self.extended + other.extended,
            names: self.names + other.names,
        }
    }

    /// Says it on stderr, if there is anything to say.
    pub fn tell(&self) {
        if *self != LeftOut::default() {
            eprintln!("left out: {self}");
        }
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.devices, "device files, which only real root may make"),
            (self.owners, "owners, whose ids this user namespace does not have"),
            (self.extended, "extended attributes, which are not ours to set here"),
            (self.names, "extended attributes, whose names a tar cannot say"),
        ];
        let parts: Vec<String> = parts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        write!(f, "{}", parts.join("; "))
    }
}
