//! The folder `gantry` in which containers' cgroups come and go, one at a time.
//!
//! ```text
//! TOP/gantry             locked while a cgroup is made or swept
//!            /NAME       locked by its runner for as long as that lives
//! ```
//! The lock (flock(2) on the open folder of the first tree) is the sign of life: the kernel drops it when the last
//! descriptor is closed, whoever ends the runner and how. A cgroup whose lock is free is nobody's: what is left in it is
//! killed, and it is removed. All who see the same tree see the same lock, through whichever mount.
//!
//! That cuts both ways: whoever can read a folder can lock it. A program inside sees the folder of its own container; if
//! it outlives the runner (`--pid host`) and takes the lock, it counts as alive, with all its limits, until `kill`. And
//! with `--cgroupns host` it can lock `gantry`: then nothing starts, but with an error, after some seconds.
//!
//! Invariant: a cgroup is made and locked in the first tree before there is anything of it in another, and removed from
//! the first tree last.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat::{fstat, stat};
use process::{Context, Error, Result};

use crate::folder::{folders_in, open_folder};
use crate::life::until;
use crate::place::{Place, Top};
use crate::{Cgroup, Controller, Folder, Version, cpuset, subtree};

/// How often we begin again because somebody has removed the folder that we were about to lock.
const TRIES: usize = 64;

/// The locked folder.
pub struct Yard<'a> {
    place: &'a Place,
    /// Of each tree, in the order of the tops.
    folders: Vec<Folder>,
    refused: Vec<(Controller, Error)>,
    _lock: Flock<OwnedFd>,
}

impl Yard<'_> {
    // ANCHOR: enter
    /// Makes the folder where there is none, with all controllers that there are, and waits for its lock.
    ///
    /// # Errors
    /// Nothing can be made there.
    pub fn enter(place: &Place) -> Result<Yard<'_>> {
        for _ in 0..TRIES {
            let made = Yard::try_enter(place);
            match made {
                Ok(Some(yard)) => return Ok(yard),
                Ok(None) => {}
                // Removed between two of our steps, by one who found it empty.
                Err(error) if [Errno::ENOENT, Errno::ENODEV].contains(&error.errno) => {}
                Err(error) => return Err(error),
            }
        }
        let first = place.tops.first().map(|top| top.gantry().display().to_string());
        Err(Error::refused("lock", first.unwrap_or_default(), "it vanished each time that we made it"))
    }

    fn try_enter(place: &Place) -> Result<Option<Yard<'_>>> {
        let Some(first) = place.tops.first() else {
            return Err(nowhere());
        };
        let path = first.gantry();
        make_way(first)?;
        make(&path)?;
        let Some(lock) = wait_for_lock(&Folder::open(first.version, &[], &path)?)? else {
            return Ok(None);
        };
        let (mut folders, mut refused) = (Vec::new(), Vec::new());
        for top in &place.tops {
            make_way(top)?;
            let folder = make(&top.gantry()).and_then(|()| open(top, &top.gantry()))?;
            refused.extend(hand_down(top, &folder)?);
            folders.push(folder);
        }
        Ok(Some(Yard { place, folders, refused, _lock: lock }))
    }
    // ANCHOR_END: enter

    // ANCHOR: create
    /// Makes a container's cgroup, and locks it for this process.
    ///
    /// # Errors
    /// The name is taken.
    pub fn create(&self, name: &str) -> Result<Cgroup> {
        check_name(name)?;
        let (mut folders, mut held) = (Vec::new(), None);
        for (top, parent) in self.place.tops.iter().zip(&self.folders) {
            match self.create_in(top, parent, name) {
                Ok(folder) => folders.push(folder),
                Err(error) => {
                    folders.iter().rev().for_each(|made: &Folder| drop(fs::remove_dir(&made.path)));
                    return Err(error);
                }
            }
            if held.is_none() {
                held = lock(&folders[0])?;
            }
        }
        Ok(Cgroup::new(name, folders, held, self.refused.clone()))
    }

    fn create_in(&self, top: &Top, parent: &Folder, name: &str) -> Result<Folder> {
        let path = parent.path.join(name);
        fs::create_dir(&path).during("mkdir", path.display()).map_err(|error| match error.errno {
            Errno::EEXIST if path.is_dir() => error.because("a container of this name is running"),
            Errno::EEXIST => error.because("the kernel has a file of that name in every cgroup"),
            _ => error,
        })?;
        let folder = open(top, &path)?.with_what_is_there();
        let usable = match folder.read("cgroup.type") {
            Ok(kind) if kind.trim() == "domain invalid" => {
                let cause = "the cgroup around it divides threads, not processes";
                Err(Error::refused("make a cgroup in", parent.path.display(), cause))
            }
            _ => cpuset::inherit(&folder, parent),
        };
        usable.inspect_err(|_| drop(fs::remove_dir(&path)))?;
        Ok(folder)
    }
    // ANCHOR_END: create

    // ANCHOR: sweep
    /// Removes the cgroups of runners that are gone, with whatever still runs in them; how many.
    ///
    /// # Errors
    /// One of them cannot be removed; the others are all the same.
    pub fn sweep(&self) -> Result<usize> {
        let (mut swept, mut failed) = (0, Ok(()));
        for name in names(self.place)? {
            match self.sweep_one(&name) {
                Ok(gone) => swept += usize::from(gone),
                Err(error) => failed = failed.and(Err(error)),
            }
        }
        failed.map(|()| swept)
    }

    fn sweep_one(&self, name: &str) -> Result<bool> {
        if self.is_held(name)? {
            return Ok(false);
        }
        let mut found = Cgroup::open(self.place, name)?;
        if !found.take_over()? {
            return Ok(false);
        }
        found.remove().map(|()| true)
    }

    /// Whether its runner lives: the lock on its folder in the first tree is taken. Three calls, for there may be many.
    fn is_held(&self, name: &str) -> Result<bool> {
        match open_folder(self.folders[0].as_fd(), Path::new(name)) {
            Err(Errno::ENOENT) => Ok(false),
            folder => {
                let folder = folder.during("open", name)?;
                Ok(Flock::lock(folder, FlockArg::LockExclusiveNonblock).is_err())
            }
        }
    }
    // ANCHOR_END: sweep
}

/// The error where no tree is open to us.
pub(crate) fn nowhere() -> Error {
    let cause = "no cgroup here is ours to write; `systemd-run --user --scope -p Delegate=yes -- ...` gives one to a \
                 user, `--cgroups disabled` says that none is wanted";
    Error::refused("make a cgroup", "", cause)
}

/// Removes the folder where nobody is in it any more.
pub fn tidy(place: &Place) {
    let held = |first: &Top| wait_for_lock(&Folder::open(first.version, &[], &first.gantry())?);
    if let Some(Ok(Some(_lock))) = place.tops.first().map(held) {
        place.tops.iter().rev().for_each(|top| drop(fs::remove_dir(top.gantry())));
    }
}

/// The names of all cgroups of ours, dead ones included. What others have made there, under names that we never give,
/// is theirs.
///
/// # Errors
/// A folder that we may not read.
pub fn names(place: &Place) -> Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for top in &place.tops {
        match open(top, &top.gantry()) {
            Err(error) if error.errno == Errno::ENOENT => {}
            folder => {
                let folder = folder?;
                let found = folders_in(folder.as_fd()).during("read", folder.path.display())?;
                all.extend(found.into_iter().filter_map(|name| name.into_string().ok()));
            }
        }
    }
    all.retain(|name| check_name(name).is_ok());
    Ok(all)
}

/// A name is one folder: no path, nothing hidden.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if (1..=63).contains(&name.len()) && name.chars().all(good) && !name.starts_with('.') {
        return Ok(());
    }
    let cause = "a cgroup's name has letters, digits, `_`, `-` and `.`, and at most 63 of them";
    Err(Error::refused("use the name", name, cause))
}

fn open(top: &Top, path: &Path) -> Result<Folder> {
    Folder::open(top.version, &top.controllers, path)
}

fn make(path: &Path) -> Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error).during("mkdir", path.display()),
        _ => Ok(()),
    }
}

/// Makes the folders down to the top; those that were there keep their processes.
fn make_way(top: &Top) -> Result<()> {
    top.way.iter().filter(|folder| !folder.exists()).try_for_each(|folder| make(folder))
}

/// Hands controllers down from the root to `gantry`, and to the containers in it; what was refused.
fn hand_down(top: &Top, gantry: &Folder) -> Result<Vec<(Controller, Error)>> {
    if top.version == Version::V1 {
        cpuset::inherit_along(&top.way, top)?;
        cpuset::inherit(gantry, &open(top, top.folder())?)?;
        return Ok(Vec::new());
    }
    let mut refused = Vec::new();
    for path in &top.way {
        // A folder above our own place is read, and changed only if it lets us.
        let ours = top.ours && path == top.folder();
        refused.extend(subtree::enable(&open(top, path)?, &top.controllers, ours)?);
    }
    refused.extend(subtree::enable(gantry, &top.controllers, false)?);
    Ok(refused)
}

// ANCHOR: lock
/// Locks an open folder; none if another has the lock, or the folder is not there any more.
pub(crate) fn lock(folder: &Folder) -> Result<Option<Flock<OwnedFd>>> {
    let fd = folder.as_fd().try_clone_to_owned().during("dup", folder.path.display())?;
    match Flock::lock(fd, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(is_named(folder).then_some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(errno).during("flock", folder.path.display()),
    }
}

/// The same, but waits while another has it: some milliseconds, as long as it is one of us.
fn wait_for_lock(folder: &Folder) -> Result<Option<Flock<OwnedFd>>> {
    let mut held = None;
    let waited = until(|| {
        held = lock(folder)?;
        Ok(held.is_some() || !is_named(folder))
    });
    match waited {
        Err(error) if error.errno == Errno::ETIMEDOUT => {
            let cause =
                "another process has the lock; any that can read the folder may take it, see flock(2)";
            Err(Error::new("lock", folder.path.display(), Errno::ETIMEDOUT).because(cause))
        }
        waited => waited.map(|()| held),
    }
}

/// Whether the open folder is the one that is called so.
fn is_named(folder: &Folder) -> bool {
    let (open, named) = (fstat(folder.as_fd()), stat(&folder.path));
    matches!((open, named), (Ok(open), Ok(named)) if open.st_ino == named.st_ino)
}
// ANCHOR_END: lock
