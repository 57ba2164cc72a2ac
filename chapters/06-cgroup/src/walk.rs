//! All cgroups below one, whatever a container has made of them.
//!
//! Their names are bytes and need not be text; there may be thousands side by side, or in each other. So a walk keeps
//! names, and one open folder: it goes down by a name and up by `..`, as often up as down, so it never comes above the
//! folder in which it began. A cgroup has one parent for its whole life; what is removed meanwhile is left out.
//!
//! Invariants: the innermost first; two descriptors at most; no more than some seconds.

use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use process::{Context, Result};

use crate::Folder;
use crate::folder::{folders_in, open_folder};
use crate::life::PATIENCE;

// ANCHOR: walk
impl Folder {
    /// Calls `visit` with each cgroup below it, the innermost first, and with itself last.
    ///
    /// # Errors
    /// ETIMEDOUT: there are more than can be seen in some seconds. Or the first of `visit`.
    pub fn walk(&self, mut visit: impl FnMut(&Folder) -> Result<()>) -> Result<()> {
        let begin = Instant::now();
        let Some(mut here) = self.step(OsStr::new("."))? else { return Ok(()) };
        // Of each level, the names that we have not been to.
        let mut ahead = vec![here.below()?];
        while let Some(names) = ahead.last_mut() {
            if begin.elapsed() > PATIENCE {
                return Err(Errno::ETIMEDOUT).during("look at the cgroups below", self.path.display());
            }
            if let Some(name) = names.pop() {
                let Some(inner) = here.step(&name)? else { continue };
                here = inner;
                ahead.push(here.below()?);
                continue;
            }
            visit(&here)?;
            ahead.pop();
            if !ahead.is_empty() {
                here.fd = open_folder(here.fd.as_fd(), Path::new("..")).during("open", here.of(".."))?;
                here.path.pop();
            }
        }
        Ok(())
    }

    /// Removes the cgroups below it.
    ///
    /// # Errors
    /// EBUSY: there are processes in one of them. ETIMEDOUT: they are too many for once.
    pub fn remove_below(&self) -> Result<()> {
        self.walk(|folder| folder.below()?.iter().try_for_each(|name| folder.remove(name)))
    }
}
// ANCHOR_END: walk

// ANCHOR: steps
impl Folder {
    /// The names of the cgroups directly below it; none if it was removed.
    pub(crate) fn below(&self) -> Result<Vec<OsString>> {
        match folders_in(self.fd.as_fd()) {
            Err(Errno::ENOENT | Errno::ENODEV) => Ok(Vec::new()),
            names => names.during("read", self.path.display()),
        }
    }

    /// The cgroup of this name directly below it; none if it was removed.
    fn step(&self, name: &OsStr) -> Result<Option<Folder>> {
        let open = || open_folder(self.fd.as_fd(), Path::new(name));
        let opened = match open() {
            // A container whose ids are ours can close a folder to us, and we can open it again.
            Err(Errno::EACCES) => {
                fchmodat(&self.fd, name, Mode::S_IRWXU, FchmodatFlags::FollowSymlink).and_then(|()| open())
            }
            opened => opened,
        };
        match opened {
            Err(Errno::ENOENT) => Ok(None),
            opened => {
                let (fd, path) = (opened.during("open", self.of(name))?, self.path.join(name));
                Ok(Some(Folder { version: self.version, controllers: self.controllers.clone(), path, fd }))
            }
        }
    }

    fn remove(&self, name: &OsStr) -> Result<()> {
        match unlinkat(&self.fd, name, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(errno).during("rmdir", self.of(name)),
        }
    }
}
// ANCHOR_END: steps

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::ffi::OsStrExt;

    use process::Error;

    use super::*;
    use crate::Version;

    /// A walk knows folders only, so any will do.
    #[test]
    fn odd_many_and_deep_folders_are_all_found_and_removed() {
        let top = std::env::temp_dir().join(format!("gantry-walk-{}", std::process::id()));
        fs::create_dir(&top).unwrap();
        fs::create_dir_all(top.join(OsStr::from_bytes(b"odd\xff")).join("inner\nline")).unwrap();
        (0..2000).for_each(|number| fs::create_dir(top.join(number.to_string())).unwrap());
        let folder = Folder::open(Version::V2, &[], &top).unwrap();
        let mut deep = folder.step(OsStr::new("7")).unwrap().unwrap();
        for _ in 0..2000 {
            nix::sys::stat::mkdirat(&deep.fd, "deeper", Mode::S_IRWXU).unwrap();
            deep = deep.step(OsStr::new("deeper")).unwrap().unwrap();
        }
        let mut seen = 0;
        folder
            .walk(|_| {
                seen += 1;
                Ok(())
            })
            .unwrap();
        assert_eq!(seen, 1 + 2 + 2000 + 2000);
        folder.remove_below().unwrap();
        assert_eq!(fs::read_dir(&top).unwrap().count(), 0);
        fs::remove_dir(&top).unwrap();
    }

    #[test]
    fn an_error_ends_it() {
        let folder = Folder::open(Version::V2, &[], &std::env::temp_dir()).unwrap();
        let refused = folder.walk(|_| Err(Error::refused("look", "", "")));
        assert_eq!(refused.unwrap_err().operation, "look");
    }
}
