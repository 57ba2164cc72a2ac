//! What is not there any more: the two notations, and how one becomes the other.
//!
//! A layer can only add; so "removed" must be something that is added. In a mounted layer (overlayfs, in the kernel's
//! documentation) that is a character device 0/0 of the removed name; a folder that hides what lower layers have in it
//! is *opaque*, by an extended attribute. In a layer's tar (image specification, layer.md) both are empty files, whose
//! names begin with `.wh.`.
//!
//! Invariant: nothing in a tar can name overlay's own attributes or make a device 0/0, but by these names.

use std::ffi::OsStr;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use nix::sys::stat::{FileStat, Mode, SFlag, makedev, mknodat};
use process::{Error, Result};

use crate::node::{is_real_root, kind};
use crate::xattr;

/// Begins the name of a whiteout in a tar.
pub const PREFIX: &str = ".wh.";

/// The name that makes its folder opaque in a tar.
pub const OPAQUE: &str = ".wh..wh..opq";

/// Whose notes a mount reads and writes: names of extended attributes begin with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notes {
    /// `trusted.overlay.`: of real root.
    Trusted,
    /// `user.overlay.`: of a user namespace.
    User,
}

impl Notes {
    /// Those of a mount that this process makes.
    pub fn ours() -> Notes {
        if is_real_root() { Notes::Trusted } else { Notes::User }
    }

    fn opaque(self) -> &'static str {
        match self {
            Notes::Trusted => "trusted.overlay.opaque",
            Notes::User => "user.overlay.opaque",
        }
    }
}

/// What a name in a layer's tar means that begins with `.wh.`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning<'a> {
    /// Lower layers' file of this other name is removed.
    Removed(&'a OsStr),
    /// What lower layers have in the folder around it is hidden.
    Opaque,
    /// A note of another union file system (aufs), to be passed over.
    Note,
}

// ANCHOR: meaning
/// What the name of a whiteout means.
///
/// # Errors
/// A whiteout of nothing, of `.` or of `..`.
pub fn meaning(name: &OsStr) -> Result<Meaning<'_>> {
    let removed = name.as_bytes().strip_prefix(PREFIX.as_bytes()).unwrap_or_default();
    match removed {
        _ if name == OPAQUE => Ok(Meaning::Opaque),
        b"" | b"." | b".." => {
            Err(Error::refused("unpack", name.display(), "a whiteout of nothing, `.` or `..`"))
        }
        _ if removed.starts_with(PREFIX.as_bytes()) => Ok(Meaning::Note),
        _ => Ok(Meaning::Removed(OsStr::from_bytes(removed))),
    }
}

/// Marks a name as removed. Everybody may make this one device (since Linux 5.8): it leads to no driver.
///
/// # Errors
/// EEXIST: something is there.
pub fn make(folder: BorrowedFd<'_>, name: &OsStr) -> nix::Result<()> {
    mknodat(folder, name, SFlag::S_IFCHR, Mode::empty(), makedev(0, 0))
}

/// Marks a folder of a layer as opaque: for both kinds of mounts, if we may.
///
/// # Errors
/// ENOTSUP: this file system has no such attributes (tmpfs has `user.` ones since Linux 6.6).
pub fn make_opaque(folder: BorrowedFd<'_>) -> nix::Result<()> {
    let [trusted, user] = [Notes::Trusted, Notes::User].map(|notes| xattr::set(folder, notes.opaque(), b"y"));
    match Notes::ours() {
        Notes::Trusted => trusted,
        Notes::User => user,
    }
}
// ANCHOR_END: meaning

/// Whether an entry lies in a folder that is a note of another union file system, to be passed over with it.
///
/// # Errors
/// It lies in what is called like a whiteout, and a whiteout is no folder.
pub fn lies_in_note(entry: &Path) -> Result<bool> {
    let folders = entry.parent().into_iter().flat_map(Path::components);
    for part in folders {
        match part {
            Component::Normal(name) if name.as_bytes().starts_with(PREFIX.as_bytes()) => {
                return match meaning(name)? {
                    Meaning::Note => Ok(true),
                    _ => Err(Error::refused("unpack", entry.display(), "nothing lies in a whiteout")),
                };
            }
            _ => {}
        }
    }
    Ok(false)
}

/// Whether a file is a whiteout.
pub fn is_whiteout(found: &FileStat) -> bool {
    kind(found) == libc::S_IFCHR && found.st_rdev == makedev(0, 0)
}

/// Whether a folder is opaque, for a mount with such notes. The other kind's are no notes to it: it copies them up as
/// it does any attribute.
///
/// # Errors
/// EACCES: its attributes are not ours to read.
pub fn is_opaque(folder: BorrowedFd<'_>, notes: Notes) -> nix::Result<bool> {
    Ok(xattr::get(folder, notes.opaque())?.is_some_and(|value| value == b"y"))
}

/// Whether an extended attribute is no part of a layer: overlay's own notes, and the label that the host's policy gives
/// to a file. No layer may bring one, and none is packed.
pub fn is_own(name: &str) -> bool {
    ["trusted.overlay.", "user.overlay.", "security.selinux"].iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_a_tar_have_a_meaning() {
        let read = |name: &'static str| meaning(OsStr::new(name)).ok();
        assert_eq!(read(".wh.motd"), Some(Meaning::Removed(OsStr::new("motd"))));
        assert_eq!(read(".wh...."), Some(Meaning::Removed(OsStr::new("..."))));
        assert_eq!(read(".wh..wh..opq"), Some(Meaning::Opaque));
        assert_eq!(read(".wh..wh.plnk"), Some(Meaning::Note));
        for wrong in [".wh.", ".wh..", ".wh..."] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn nothing_lies_in_a_whiteout() {
        let read = |path: &str| lies_in_note(Path::new(path)).ok();
        assert_eq!(read("srv/.wh.motd"), Some(false));
        assert_eq!(read(".wh..wh.plnk/93.5"), Some(true));
        for wrong in [".wh.docs/x", "a/.wh.docs/b/c", ".wh..wh..opq/x", ".wh../x"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn overlays_own_attributes_are_known() {
        assert!(is_own("trusted.overlay.redirect") && is_own("user.overlay.whiteout"));
        assert!(!is_own("user.overlays") && !is_own("security.capability"));
    }
}
