//! A folder and everything in it, by descriptors: read in order, and removed.
//!
//! Who fills a container can nest folders deeper than a path may be long, or than a process may hold descriptors. So a
//! tree is removed level by level, however deep: its folders are moved up first. Who walks one to read it goes so deep
//! and no deeper ([`descend`]).

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use network::random;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};
use process::{Context, Error, Result};

/// The deepest folder that is read. A walk holds two descriptors and a frame of the stack for each level; a hard limit of
/// 4,096 descriptors is common.
pub const DEEPEST: usize = 1000;

/// Opens a folder for reading, itself and not what a link of that name points to.
///
/// # Errors
/// ENOTDIR: it is none. ELOOP: it is a link.
pub fn open(parent: BorrowedFd<'_>, name: &OsStr) -> nix::Result<OwnedFd> {
    openat(parent, name, OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())
}

/// Opens the next folder of a walk, at `path`.
///
/// # Errors
/// As [`open`]; and it lies deeper than [`DEEPEST`].
pub fn descend(parent: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<OwnedFd> {
    if path.components().count() > DEEPEST {
        return Err(Error::refused("read", path.display(), format!("more than {DEEPEST} folders deep")));
    }
    open(parent, name).during("open", path.display())
}

/// The names in an open folder, sorted.
///
/// # Errors
/// EACCES: it is not ours to read.
pub fn names(folder: BorrowedFd<'_>) -> nix::Result<Vec<OsString>> {
    // A descriptor of its own: reading moves its offset.
    let mut dir = Dir::from_fd(open(folder, OsStr::new("."))?)?;
    let mut names = Vec::new();
    for entry in dir.iter() {
        names.push(OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned());
    }
    names.retain(|name| name != "." && name != "..");
    names.sort();
    Ok(names)
}

/// A name that nobody has, and nobody can guess: `.tmp-` and twelve digits.
///
/// # Errors
/// ENOSYS: the kernel is older than 3.17.
pub fn fresh_name(prefix: &str) -> Result<String> {
    Ok(format!("{prefix}{}", random::name()?))
}

/// Removes what is called so in `parent`, with everything in it. What is gone already is fine.
///
/// # Errors
/// EPERM: something in it was made unchangeable.
pub fn remove(parent: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    // Most often there is nothing, or a file.
    match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
        Err(Errno::EISDIR) => remove_folder(parent, name),
        done => removed(done, Path::new(name)),
    }
}

fn remove_folder(parent: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    let prefix = fresh_name(".tmp-")?;
    let (mut folders, mut moved) = (vec![name.to_owned()], 0);
    while let Some(name) = folders.pop() {
        let told = name.display();
        let folder = match open(parent, &name) {
            Err(Errno::ENOENT) => continue,
            folder => folder.during("open", &told)?,
        };
        for inner in names(folder.as_fd()).during("read", &told)? {
            match unlinkat(&folder, &*inner, UnlinkatFlags::NoRemoveDir) {
                Err(Errno::EISDIR) => {
                    moved += 1;
                    let place = OsString::from(format!("{prefix}-{moved}"));
                    let told = Path::new(&name).join(&inner);
                    gone(renameat(&folder, &*inner, parent, &*place)).during("move", told.display())?;
                    folders.push(place);
                }
                done => removed(done, &Path::new(&name).join(&inner))?,
            }
        }
        removed(unlinkat(parent, &*name, UnlinkatFlags::RemoveDir), Path::new(&name))?;
    }
    Ok(())
}

fn removed(done: nix::Result<()>, told: &Path) -> Result<()> {
    let cause = if done == Err(Errno::EPERM) { "is it, or its folder, immutable? `chattr -i`" } else { "" };
    gone(done).map_err(|errno| Error::new("remove", told.display(), errno).because(cause))
}

/// Somebody else may be removing the same.
fn gone(done: nix::Result<()>) -> nix::Result<()> {
    match done {
        Err(Errno::ENOENT) => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Folder;

    #[test]
    fn a_tree_is_removed_however_deep() {
        let folder = Folder::new();
        let mut inner = open(folder.fd(), OsStr::new(".")).unwrap();
        nix::sys::stat::mkdirat(&inner, "x", Mode::S_IRWXU).unwrap();
        for _ in 0..3000 {
            inner = open(inner.as_fd(), OsStr::new("x")).unwrap();
            nix::sys::stat::mkdirat(&inner, "x", Mode::S_IRWXU).unwrap();
            nix::unistd::symlinkat("/etc", &inner, "link").unwrap();
        }
        remove(folder.fd(), OsStr::new("x")).unwrap();
        assert_eq!(names(folder.fd()).unwrap(), [""; 0]);
        remove(folder.fd(), OsStr::new("x")).unwrap();
    }
}
