//! Landlock: a process gives up its own access to files, for itself and all that it starts.
//!
//! Unlike seccomp it knows paths, and unlike a mount it needs no privilege. A ruleset names the kinds of access that it
//! governs; whatever no rule allows is refused from then on. Which kinds there are grows with the kernel's version of
//! this interface. See landlock(7), landlock_create_ruleset(2); since Linux 5.13, where it was built in and switched on.

use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::ptr::null;

use mount::resolve::{self, Links};
use mount::root::Root;
use nix::errno::Errno;
use nix::sys::stat::fstat;
use process::{Context, Error, Result};

/// A path of the container, and whether what lies there may also be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Absolute.
    pub path: PathBuf,
    /// `rw`, or else `ro`.
    pub write: bool,
}

// ANCHOR: rule
impl Rule {
    /// A wish, `ro:/usr` or `rw:/tmp`.
    ///
    /// # Errors
    /// It is no such wish.
    pub fn parse(text: &str) -> Result<Rule> {
        let refuse = || Error::refused("--security-opt landlock", text, "write it as ro:/PATH or rw:/PATH");
        let (word, path) = text.split_once(':').ok_or_else(refuse)?;
        let write = match word {
            "ro" => false,
            "rw" => true,
            _ => return Err(refuse()),
        };
        if path.starts_with('/') { Ok(Rule { path: path.into(), write }) } else { Err(refuse()) }
    }
}
// ANCHOR_END: rule

/// Kinds of access, `LANDLOCK_ACCESS_FS_*` of `<linux/landlock.h>`.
const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_FOLDER: u64 = 1 << 3;
const TRUNCATE: u64 = 1 << 14;
const DEVICE_IOCTL: u64 = 1 << 15;

/// What may be allowed on a file; the rest is about what lies in folders.
const OF_FILES: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | DEVICE_IOCTL;

/// The kinds of access that a version of the interface knows.
fn known(version: i64) -> u64 {
    let bits = match version {
        1 => 13,
        2 => 14,
        3 | 4 => 15,
        _ => 16,
    };
    (1 << bits) - 1
}

// ANCHOR: enforce
/// Gives up all access to files but what the rules allow.
///
/// # Errors
/// ENOSYS, EOPNOTSUPP: the kernel has no Landlock, or it is switched off.
pub fn enforce(rules: &[Rule]) -> Result<()> {
    if rules.is_empty() {
        return Ok(());
    }
    let all = known(version()?);
    let ruleset = create(all).during("landlock_create_ruleset", "")?;
    let root = Root::current()?;
    for Rule { path, write } in rules {
        let place = resolve::open(root.as_fd(), path, Links::Follow).during("open", path.display())?;
        let access = if *write { all } else { EXECUTE | READ_FILE | READ_FOLDER };
        let access = if is_folder(&place, path)? { access } else { access & OF_FILES };
        allow(ruleset.as_fd(), place.as_fd(), access & all).during("landlock_add_rule", path.display())?;
    }
    restrict_self(ruleset.as_fd()).during("landlock_restrict_self", "")
}
// ANCHOR_END: enforce

/// The version of the kernel's Landlock, from 1 on.
///
/// # Errors
/// It has none.
pub fn version() -> Result<i64> {
    const ASK_FOR_VERSION: u32 = 1;
    // SAFETY: with this flag the kernel reads nothing.
    let version = Errno::result(unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, null::<u8>(), 0_usize, ASK_FOR_VERSION)
    });
    version.map_err(|errno| {
        let cause = match errno {
            Errno::ENOSYS => "this kernel was built without it, or is older than 5.13",
            Errno::EOPNOTSUPP => {
                "this kernel has it, but it is not among the modules that `lsm=` switches on"
            }
            _ => "",
        };
        Error::new("use", "Landlock", errno).because(cause)
    })
}

fn is_folder(place: &OwnedFd, path: &Path) -> Result<bool> {
    Ok(fstat(place).during("stat", path.display())?.st_mode & libc::S_IFMT == libc::S_IFDIR)
}

/// `struct landlock_ruleset_attr`, as far as its first version.
#[repr(C)]
struct Governed {
    files: u64,
}

/// `struct landlock_path_beneath_attr`, which has no gaps.
#[repr(C, packed)]
struct Beneath {
    allowed: u64,
    parent: i32,
}

// ANCHOR: calls
/// A ruleset that governs these kinds of access.
fn create(files: u64) -> nix::Result<OwnedFd> {
    let governed = Governed { files };
    // SAFETY: the structure outlives the call and has the size that we name.
    let fd = Errno::result(unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, &raw const governed, size_of::<Governed>(), 0)
    })?;
    // SAFETY: the kernel gave us this new descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Allows kinds of access to a place and what lies below it.
fn allow(ruleset: BorrowedFd<'_>, place: BorrowedFd<'_>, allowed: u64) -> nix::Result<()> {
    const PATH_BENEATH: i32 = 1;
    let rule = Beneath { allowed, parent: place.as_raw_fd() };
    let ruleset = ruleset.as_raw_fd();
    // SAFETY: the structure outlives the call and is the one of this kind of rule.
    Errno::result(unsafe {
        libc::syscall(libc::SYS_landlock_add_rule, ruleset, PATH_BENEATH, &raw const rule, 0)
    })
    .map(drop)
}

/// From now on the ruleset holds, for this thread and all that it starts.
fn restrict_self(ruleset: BorrowedFd<'_>) -> nix::Result<()> {
    // SAFETY: numbers only.
    Errno::result(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) })
        .map(drop)
}
// ANCHOR_END: calls

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read() {
        assert_eq!(Rule::parse("ro:/usr").unwrap(), Rule { path: "/usr".into(), write: false });
        assert_eq!(Rule::parse("rw:/tmp").unwrap(), Rule { path: "/tmp".into(), write: true });
        for text in ["", "/usr", "rx:/usr", "ro:usr", "ro:"] {
            assert!(Rule::parse(text).is_err(), "{text}");
        }
        assert_eq!((known(1), known(3), known(9)), (0x1fff, 0x7fff, 0xffff));
        assert_eq!(size_of::<Beneath>(), 12);
    }
}
