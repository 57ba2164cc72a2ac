//! Files of the kernel that a container must not read, and those that it must not write.
//!
//! `/proc` and `/sys` are the container's own mounts, but much of what they show is the whole machine's: its memory, its
//! keys, its interrupts, its switches. Two lists, as Docker has them, say what is *masked*, covered by something empty,
//! and what is made *read-only*. A file is covered by `/dev/null`, and only after a look whether it is that: what else an
//! attacker puts in its place would be mounted over the kernel's file, for writing (CVE-2025-31133). All happens by
//! descriptor, so that nothing can be exchanged between the look and the mount.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use libc::{MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY};
use mount::detached::{Detached, restrict};
use mount::resolve::{self, Links};
use mount::root::Root;
use nix::errno::Errno;
use nix::sys::stat::fstat;
use process::{Context, Error, Result};

// ANCHOR: lists
/// Covered by nothing at all: what only the host may know.
pub const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// For reading only: switches of the whole machine.
pub const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
// ANCHOR_END: lists

/// One folder a processor, through which containers could measure each other.
fn of_processors() -> Vec<PathBuf> {
    let processors = fs::read_dir("/sys/devices/system/cpu").into_iter().flatten().flatten();
    let is_one = |name: &str| name.strip_prefix("cpu").is_some_and(|n| n.parse::<u32>().is_ok());
    let mut all: Vec<PathBuf> = processors
        .filter(|entry| entry.file_name().to_str().is_some_and(is_one))
        .map(|entry| entry.path().join("thermal_throttle"))
        .collect();
    all.sort();
    all
}

// ANCHOR: all
/// Makes the switches read-only and covers the secrets; what a kernel does not have is no secret.
///
/// # Errors
/// `/dev/null` is none, or what the kernel says to a mount.
pub fn cover() -> Result<()> {
    let root = Root::current()?;
    for path in READ_ONLY {
        if let Some(place) = find(&root, Path::new(path))? {
            make_read_only(place.as_fd()).map_err(|error| error.because(path))?;
        }
    }
    let null = null_device(&root)?;
    for path in MASKED.iter().map(PathBuf::from).chain(of_processors()) {
        if let Some(place) = find(&root, &path)? {
            mask(place.as_fd(), null.as_fd(), &path)?;
        }
    }
    Ok(())
}

/// The place of a path, if there is one. No link may lead there: these are files of the kernel.
fn find(root: &Root, path: &Path) -> Result<Option<OwnedFd>> {
    match resolve::open(root.as_fd(), path, Links::Refuse) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        found => found.map(Some).during("open", path.display()),
    }
}
// ANCHOR_END: all

/// Linux's number for `/dev/null`, major and minor.
const NULL: (u32, u32) = (1, 3);

// ANCHOR: mask
/// `/dev/null`, after a look whether it is that.
fn null_device(root: &Root) -> Result<OwnedFd> {
    let null =
        resolve::open(root.as_fd(), Path::new("/dev/null"), Links::Refuse).during("open", "/dev/null")?;
    let found = fstat(&null).during("stat", "/dev/null")?;
    let is_device = found.st_mode & libc::S_IFMT == libc::S_IFCHR;
    if !is_device || (libc::major(found.st_rdev), libc::minor(found.st_rdev)) != NULL {
        let cause = "it is not the null device: what it is would be mounted over files of the kernel";
        return Err(Error::refused("use", "/dev/null", cause));
    }
    Ok(null)
}

/// Covers a file by the null device, a folder by an empty one.
fn mask(place: BorrowedFd<'_>, null: BorrowedFd<'_>, path: &Path) -> Result<()> {
    let is_folder = fstat(place).during("stat", path.display())?.st_mode & libc::S_IFMT == libc::S_IFDIR;
    let cover = if is_folder {
        let closed = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
        let smallest = [("nr_inodes".to_owned(), "1".to_owned())];
        Detached::fresh("tmpfs", &smallest, closed)?
    } else {
        Detached::copy_of(null).during("open_tree", "/dev/null")?
    };
    cover.attach(place).during("mask", path.display())
}
// ANCHOR_END: mask

// ANCHOR: read_only
/// Mounts a place on itself, for reading only.
fn make_read_only(place: BorrowedFd<'_>) -> Result<()> {
    let copy = Detached::copy_of(place).during("open_tree", "")?;
    restrict(copy.as_fd(), MOUNT_ATTR_RDONLY)?;
    copy.attach(place).during("make read-only", "")
}
// ANCHOR_END: read_only

// ANCHOR: open
/// Makes `/sys` writable, for `--privileged`. Where a user namespace has only a view of the host's, it stays as it is.
///
/// # Errors
/// None that a user could cause.
pub fn open_sys() -> Result<()> {
    let root = Root::current()?;
    match find(&root, Path::new("/sys"))? {
        Some(sys) => mount::detached::release(sys.as_fd(), MOUNT_ATTR_RDONLY),
        None => Ok(()),
    }
}
// ANCHOR_END: open
