//! Paths that the image controls, resolved as if its root were `/`.
//!
//! Inside a root file system from somebody else, `/data` may be a symbolic link to `/etc`, or to
//! `../../../home`. Followed by us, outside, it would lead a mount or a new file to the host. So such a path
//! is never joined to a string: openat2(2) walks it with `RESOLVE_IN_ROOT`, in the kernel, where nobody can
//! swap a folder for a link between the check and the use.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, fstat, mkdirat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use process::{Context, Error, Result};

/// What a mount needs under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// For a file system or a bound folder.
    Folder,
    /// For a bound file.
    File,
}

/// How often a walk is tried again that a rename or a mount disturbed.
const TRIES: usize = 128;

/// The rest before it is: such disturbances come in bursts, some of them longer than 128 tries in a row.
const PAUSE: Duration = Duration::from_micros(100);

/// What to do with symbolic links on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// Follow them, inside the root: a volume at `/var/run` may land in `/run`.
    Follow,
    /// Refuse them: `/proc`, `/sys` and `/dev` must be what they are called.
    Refuse,
}

// ANCHOR: resolve
/// Opens `path` as a process would whose root is `root`.
///
/// # Errors
/// ENOENT: nothing there. ELOOP: a link that was refused, or links in a circle.
pub fn open(root: BorrowedFd<'_>, path: &Path, links: Links) -> nix::Result<OwnedFd> {
    let mut resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    if links == Links::Refuse {
        resolve |= ResolveFlag::RESOLVE_NO_SYMLINKS;
    }
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(resolve);
    // EAGAIN: a rename or a mount somewhere made the kernel unsure of a `..`.
    for _ in 0..TRIES {
        match openat2(root, path, how) {
            Err(Errno::EAGAIN) => thread::sleep(PAUSE),
            opened => return opened,
        }
    }
    Err(Errno::EAGAIN)
}

/// Opens the place for a mount inside `root`; makes it, and the folders above it, where there is nothing.
///
/// # Errors
/// Those of [`open`], with the likely cause.
pub fn place(root: BorrowedFd<'_>, path: &Path, kind: Place, links: Links) -> Result<OwnedFd> {
    match (open(root, path, links), path.parent()) {
        (Err(Errno::ENOENT), Some(parent)) => {
            let parent = place(root, parent, Place::Folder, links)?;
            create(parent.as_fd(), path, kind)?;
            open(root, path, links)
        }
        (opened, _) => opened,
    }
    .map_err(|errno| Error::new("open", path.display(), errno).because(likely_cause(errno, links)))
}
// ANCHOR_END: resolve

// ANCHOR: create
/// Makes an empty folder or file in `parent`, called like the end of `path`; never through a link. One that is
/// there already is fine.
fn create(parent: BorrowedFd<'_>, path: &Path, kind: Place) -> Result<()> {
    let name = path.file_name().unwrap_or_default();
    let new_file = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let made = match kind {
        Place::Folder => mkdirat(parent, name, Mode::from_bits_truncate(0o755)),
        Place::File => openat(parent, name, new_file, Mode::from_bits_truncate(0o644)).map(drop),
    };
    match made {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(Errno::EROFS) => Err(Error::new("create", path.display(), Errno::EROFS)
            .because("the mount point is missing, and what it would lie in is read-only")),
        Err(errno) => Err(errno).during("create", path.display()),
    }
}
// ANCHOR_END: create

fn likely_cause(errno: Errno, links: Links) -> &'static str {
    match (errno, links) {
        (Errno::ENOENT, _) => "a symbolic link inside the root file system leads nowhere",
        (Errno::ELOOP, Links::Refuse) => {
            "it must not be, or lie below, a symbolic link of the root file system"
        }
        (Errno::ELOOP, Links::Follow) => {
            "symbolic links inside the root file system go in a circle, or through /proc"
        }
        (Errno::ENOTDIR, _) => "a file stands where the path needs a folder",
        (Errno::EAGAIN, _) => "mounts or renames of others disturbed every one of our tries: try again",
        _ => "",
    }
}

/// Makes sure that `place` can carry a mount: of the right kind, not the root itself, and not the kernel's.
///
/// # Errors
/// A file where a folder is needed, or the other way round; or a path that leads back to the root, or into
/// `/proc`: who covers files there makes others believe that they wrote to the kernel (CVE-2019-16884).
pub fn check(root: BorrowedFd<'_>, place: BorrowedFd<'_>, path: &Path, kind: Place) -> Result<()> {
    let (root, found) = (fstat(root).during("stat", "/")?, fstat(place).during("stat", path.display())?);
    let is_folder = found.st_mode & libc::S_IFMT == libc::S_IFDIR;
    let refuse = |cause| Err(Error::refused("mount on", path.display(), cause));
    match kind {
        _ if (found.st_dev, found.st_ino) == (root.st_dev, root.st_ino) => {
            refuse("it leads to the container's root itself")
        }
        _ if is_proc(place) => refuse("it leads into /proc"),
        Place::Folder if !is_folder => refuse("the source is a folder, the target a file"),
        Place::File if is_folder => refuse("the source is a file, the target a folder"),
        _ => Ok(()),
    }
}

fn is_proc(place: BorrowedFd<'_>) -> bool {
    fstatfs(place).is_ok_and(|found| found.filesystem_type() == PROC_SUPER_MAGIC)
}
