//! What a container changed, as `docker diff` tells it: added, changed, deleted.
//!
//! Only the upper folder is walked: it holds what differs, and is small. For each name the union of the lower layers
//! says whether there was something before. The kernel answers that (it is mounted once more, for reading): which
//! layer has it, which whiteout hides it, is its business.

use std::ffi::{OsStr, OsString};
use std::fmt::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{FileStat, fstatat};
use process::{Context, Result};

use crate::node::kind;
use crate::tree;
use crate::whiteout::{self, Notes};

/// What happened to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It was not there before.
    Added,
    /// It was there, and is something else now; or a folder in which something changed.
    Changed,
    /// It is not there any more.
    Deleted,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What happened.
    pub kind: Kind,
    /// Where, an absolute path inside.
    pub path: PathBuf,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = match self.kind {
            Kind::Added => 'A',
            Kind::Changed => 'C',
            Kind::Deleted => 'D',
        };
        write!(f, "{letter} {}", escaped(&self.path))
    }
}

/// A path as `ls -b` writes it, but for blanks: whoever named a file adds no line, and moves no cursor.
fn escaped(path: &Path) -> String {
    let mut text = String::new();
    let octal = |text: &mut String, bytes: &[u8]| {
        bytes.iter().for_each(|byte| {
            let _ = write!(text, "\\{byte:03o}");
        });
    };
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '\\' => text.push_str(r"\\"),
                '\n' => text.push_str(r"\n"),
                letter if letter.is_control() => octal(&mut text, letter.encode_utf8(&mut [0; 4]).as_bytes()),
                letter => text.push(letter),
            }
        }
        octal(&mut text, chunk.invalid());
    }
    text
}

/// What an upper folder changes in the union below it, by path.
///
/// # Errors
/// EACCES: one of them is not ours to read.
pub fn changes(upper: BorrowedFd<'_>, below: BorrowedFd<'_>, notes: Notes) -> Result<Vec<Change>> {
    let mut found = Vec::new();
    walk(upper, Some(below), notes, Path::new("/"), &mut found)?;
    found.sort_by(|one, other| one.path.as_os_str().cmp(other.path.as_os_str()));
    Ok(found)
}

// ANCHOR: walk
/// The changes in one folder. `below` is the same folder before, if it was there.
fn walk(
    upper: BorrowedFd<'_>,
    below: Option<BorrowedFd<'_>>,
    notes: Notes,
    path: &Path,
    found: &mut Vec<Change>,
) -> Result<()> {
    let names = tree::names(upper).during("read", path.display())?;
    for name in &names {
        let path = path.join(name);
        let now = fstatat(upper, &**name, AtFlags::AT_SYMLINK_NOFOLLOW).during("stat", path.display())?;
        let before = before(below, name).during("stat", path.display())?;
        let mut note = |kind| found.push(Change { kind, path: path.clone() });
        match before {
            // Made and removed again: nothing to tell.
            None if whiteout::is_whiteout(&now) => {}
            Some(_) if whiteout::is_whiteout(&now) => note(Kind::Deleted),
            None => note(Kind::Added),
            Some(before) if is_folder(&now) && is_folder(&before) && looks_like(&now, &before) => {}
            Some(_) => note(Kind::Changed),
        }
        if is_folder(&now) {
            let noted = found.len();
            let open = |parent| tree::descend(parent, name, &path);
            let below = below.filter(|_| before.is_some_and(|before| is_folder(&before)));
            let (now, before) = (open(upper)?, below.map(open).transpose()?);
            walk(now.as_fd(), before.as_ref().map(AsFd::as_fd), notes, &path, found)?;
            // With a change in it, a folder counts as changed itself.
            if found.len() > noted && found[..noted].last().is_none_or(|last| last.path != path) {
                found.push(Change { kind: Kind::Changed, path });
            }
        }
    }
    match below {
        Some(below) if whiteout::is_opaque(upper, notes).during("read", path.display())? => {
            hidden(below, &names, path, found)
        }
        _ => Ok(()),
    }
}

/// An opaque folder hides whatever was there and has no new namesake.
fn hidden(below: BorrowedFd<'_>, names: &[OsString], path: &Path, found: &mut Vec<Change>) -> Result<()> {
    let gone = tree::names(below).during("read", path.display())?;
    let gone = gone.into_iter().filter(|name| !names.contains(name));
    found.extend(gone.map(|name| Change { kind: Kind::Deleted, path: path.join(name) }));
    Ok(())
}
// ANCHOR_END: walk

/// What was called so before.
fn before(below: Option<BorrowedFd<'_>>, name: &OsStr) -> nix::Result<Option<FileStat>> {
    let Some(below) = below else { return Ok(None) };
    match fstatat(below, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => Ok(None),
        found => found.map(Some),
    }
}

fn is_folder(found: &FileStat) -> bool {
    kind(found) == libc::S_IFDIR
}

/// A folder is copied up when something in it changes: that alone is no change of its own.
fn looks_like(one: &FileStat, other: &FileStat) -> bool {
    let look = |stat: &FileStat| (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_mtime, stat.st_mtime_nsec);
    look(one) == look(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_line() {
        let told = |bytes: &[u8]| escaped(Path::new(OsStr::from_bytes(bytes)));
        assert_eq!(told("/srv/ein Öl".as_bytes()), "/srv/ein Öl");
        assert_eq!(told(b"/a\nD /etc/passwd"), r"/a\nD /etc/passwd");
        assert_eq!(told(b"/\x1b[31m\xff\xfe\\"), r"/\033[31m\377\376\\");
        assert_eq!(told("/\u{9b}x".as_bytes()), r"/\302\233x");
    }
}
