//! One cgroup in one tree: an open folder whose files are switches and counters.
//!
//! All access goes by the open folder, so that a cgroup that was removed and made again under the same name is never
//! mistaken for the one that we know. See cgroups(7).
//!
//! Left out: what the files mean.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstatat};
use nix::unistd::{AccessFlags, faccessat};
use process::{Context, Error, Result};

use crate::{Controller, Version};

/// Most files of a cgroup are shorter.
const PIECE: usize = 4096;

/// A cgroup in one tree.
#[derive(Debug)]
pub struct Folder {
    /// The interface of its files.
    pub version: Version,
    /// What it controls.
    pub controllers: Vec<Controller>,
    /// Where it is, for messages.
    pub path: PathBuf,
    pub(crate) fd: OwnedFd,
}

impl Folder {
    /// Opens the folder.
    ///
    /// # Errors
    /// ENOENT: there is no such cgroup.
    pub fn open(version: Version, controllers: &[Controller], path: &Path) -> Result<Folder> {
        let fd = open_folder(nix::fcntl::AT_FDCWD, path).during("open", path.display())?;
        Ok(Folder { version, controllers: controllers.to_vec(), path: path.to_owned(), fd })
    }

    /// Without the controllers that were not handed down to it, version 2.
    pub fn with_what_is_there(mut self) -> Folder {
        if let Ok(offered) = self.read("cgroup.controllers") {
            self.controllers.retain(|controller| controller.is_there(&offered));
        }
        self
    }

    // ANCHOR: files
    /// The text of one of its files.
    ///
    /// # Errors
    /// ENOENT: this kernel or this cgroup does not have the file. ENODEV: the cgroup was removed.
    pub fn read(&self, file: &str) -> Result<String> {
        let opened = self.open_file(file, OFlag::O_RDONLY)?;
        let (mut bytes, mut length) = (vec![0; PIECE], 0);
        loop {
            match nix::unistd::read(&opened, &mut bytes[length..]) {
                Ok(0) => break,
                Ok(more) => length += more,
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno).during("read", self.of(file)),
            }
            // Room for the next piece, so that a whole file takes two calls: one for it, one for its end.
            bytes.resize(length + PIECE, 0);
        }
        bytes.truncate(length);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Writes one of its files, in one piece.
    ///
    /// # Errors
    /// Whatever the kernel says to the value.
    pub fn write(&self, file: &str, value: &str) -> Result<()> {
        let opened = self.open_file(file, OFlag::O_WRONLY)?;
        File::from(opened)
            .write_all(value.as_bytes())
            .during("write", format_args!("{value:?} to {}", self.of(file)))
    }

    /// Opens one of its files.
    ///
    /// # Errors
    /// As for [`Folder::read`].
    pub fn open_file(&self, file: &str, flags: OFlag) -> Result<OwnedFd> {
        openat(&self.fd, file, flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW, Mode::empty())
            .during("open", self.of(file))
    }

    /// Whether it has such a file.
    pub fn has(&self, file: &str) -> bool {
        faccessat(&self.fd, file, AccessFlags::F_OK, AtFlags::empty()).is_ok()
    }
    // ANCHOR_END: files

    /// The number after `key` in a file of `key number` lines; none if there is no such file or line.
    pub fn count(&self, file: &str, key: &str) -> Option<u64> {
        value_of(&self.read(file).ok()?, key)
    }

    /// The processes directly in it; 0 stands for one that our PID namespace does not show.
    ///
    /// # Errors
    /// EOPNOTSUPP: a threaded cgroup of version 2.
    pub fn processes(&self) -> Result<Vec<i32>> {
        Ok(self.read("cgroup.procs")?.lines().filter_map(|line| line.parse().ok()).collect())
    }

    pub(crate) fn of(&self, file: impl AsRef<Path>) -> String {
        self.path.join(file).display().to_string()
    }

    /// Itself, if it has such a file.
    ///
    /// # Errors
    /// ENOENT: it has not.
    pub fn must_have(&self, file: &str) -> Result<&Folder> {
        if self.has(file) { Ok(self) } else { Err(self.lacks(file)) }
    }

    /// The error for a file that there is not.
    pub fn lacks(&self, file: &str) -> Error {
        Error::new("open", self.of(file), Errno::ENOENT)
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Opens a folder, and nothing that a link leads to.
pub(crate) fn open_folder(at: BorrowedFd<'_>, path: &Path) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    openat(at, path, flags, Mode::empty())
}

/// The names of the folders in an open folder: bytes, for a container calls its cgroups what it likes.
pub(crate) fn folders_in(folder: BorrowedFd<'_>) -> nix::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::openat(folder, ".", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?.iter() {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        let is_folder = match entry.file_type() {
            Some(kind) => kind == nix::dir::Type::Directory,
            None => {
                let mode = fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW)?.st_mode;
                SFlag::from_bits_truncate(mode & libc::S_IFMT) == SFlag::S_IFDIR
            }
        };
        if is_folder && name != "." && name != ".." {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// The number in the line that begins with `key` and a blank.
pub(crate) fn value_of(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}
