//! One group of one lab: made, limited, given away, and removed.

use std::fs::{self, DirBuilder, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, close};

use super::controllers;
use super::{Hierarchy, Kind, SCOPE, thaw, tree, write, write_if_there};

/// How the group of a lab is called, before a number.
const NAME: &str = "gantry-lab-";

/// The most threads of a lab: a second belt behind RLIMIT_NPROC, which real root does not know.
const MOST_THREADS: &str = "1024";

/// The most memory of a lab, its temporary folders included: a hog ends here, and not the machine.
const MOST_MEMORY: &str = "1536M";

/// A lab's group, locked as long as this lives.
#[derive(Debug)]
pub struct Group {
    /// The hierarchy that it is in.
    pub hierarchy: Hierarchy,
    /// Its folder.
    pub folder: PathBuf,
    lock: Flock<File>,
}

impl Group {
    /// Makes a group below `base`, with the limits of a lab, and gives it to `owner`.
    ///
    /// # Errors
    /// We have no right to, or the controllers of the hierarchy cannot be had; nothing is left then.
    pub fn make(hierarchy: Hierarchy, base: &Path, owner: Option<u32>) -> Result<Group> {
        let _base = (hierarchy.kind == Kind::V2).then(|| controllers::lock(base));
        let (folder, lock) = new_folder(base)?;
        let group = Group { hierarchy, folder, lock };
        let ready = group.furnish(base).and_then(|()| owner.map_or(Ok(()), |id| group.give(id)));
        if let Err(error) = ready {
            let _ = remove(&group.folder);
            return Err(error);
        }
        Ok(group)
    }

    fn furnish(&self, base: &Path) -> Result<()> {
        let at = |name: &str| self.folder.join(name);
        if self.hierarchy.kind == Kind::V2 {
            controllers::hand_on(base)?;
            fs::create_dir(at(SCOPE)).context("make the group of the lab's processes")?;
        }
        if self.hierarchy.is_v1_of("cpuset") {
            for name in ["cpuset.cpus", "cpuset.mems"] {
                let above = fs::read_to_string(base.join(name)).context("read the processors above")?;
                write(&at(name), above.trim())?;
            }
        }
        write_if_there(&at("pids.max"), MOST_THREADS)?;
        let memory = if self.hierarchy.kind == Kind::V2 { "memory.max" } else { "memory.limit_in_bytes" };
        write_if_there(&at(memory), MOST_MEMORY)?;
        // Without these, what the memory does not hold would go on to fill the swap.
        write_if_there(&at("memory.swap.max"), "0")?;
        write_if_there(&at("memory.memsw.limit_in_bytes"), MOST_MEMORY)
    }

    /// Delegation: the folder, and the files that move processes and hand on controllers. Not the limits.
    fn give(&self, id: u32) -> Result<()> {
        let folders = match self.hierarchy.kind {
            Kind::V2 => vec![self.folder.clone(), self.folder.join(SCOPE)],
            Kind::V1(_) => vec![self.folder.clone()],
        };
        let names = ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control", "tasks"];
        for path in folders.iter().flat_map(|folder| names.map(|name| folder.join(name))) {
            if path.exists() {
                chown(&path, Some(id), Some(id)).with_context(|| format!("chown {}", path.display()))?;
            }
        }
        Ok(())
    }

    /// Closes our copy of the locked folder, in a process that was forked from the keeper. The lock belongs to what
    /// both have open: dropped as usual, it would be gone for the keeper, too.
    pub fn leave(self) {
        let _ = close(self.lock.as_raw_fd());
        std::mem::forget(self.lock);
    }

    /// Kills who is in it and removes what can be removed already; whether nothing is left.
    pub fn end(&self) -> bool {
        let Some(base) = self.folder.parent() else { return true };
        let gone = end(&self.folder);
        if gone && self.hierarchy.kind == Kind::V2 {
            let _base = controllers::lock(base);
            controllers::take_back(base);
        }
        gone
    }
}

/// A new folder and a lock on it. Between the two a sweeping lab may remove it: then once more.
fn new_folder(base: &Path) -> Result<(PathBuf, Flock<File>)> {
    let pid = std::process::id();
    // A number may be taken: processes in other PID namespaces count on their own.
    for name in std::iter::once(format!("{NAME}{pid}")).chain((2..99).map(|n| format!("{NAME}{pid}-{n}"))) {
        let folder = base.join(name);
        match DirBuilder::new().mode(0o755).create(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
            made => made.with_context(|| format!("make the cgroup {}", folder.display()))?,
        }
        let Ok(file) = File::open(&folder) else { continue };
        let inode = file.metadata()?.ino();
        let lock = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
        if fs::metadata(&folder).is_ok_and(|now| now.ino() == inode) {
            return Ok((folder, lock));
        }
    }
    bail!("no name is free in {}", base.display())
}

/// Whether there is another lab's group in `base`.
pub fn any_in(base: &Path) -> bool {
    !labs_in(base).is_empty()
}

fn labs_in(base: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(base).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| is_lab(path) && path.is_dir()).collect()
}

/// Whether a group is called like one of a lab.
pub fn is_lab(folder: &Path) -> bool {
    folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with(NAME))
}

/// Removes the groups of labs whose keeper is dead.
pub fn sweep(base: &Path) {
    for folder in labs_in(base) {
        let Ok(file) = File::open(&folder) else { continue };
        if let Ok(_lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            end(&folder);
        }
    }
}

/// Lets run, kills and removes what is in a group; whether nothing is left of it.
fn end(folder: &Path) -> bool {
    thaw(folder);
    for group in tree(folder) {
        let members = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        for member in members.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0) {
            let _ = kill(Pid::from_raw(member), Signal::SIGKILL);
        }
    }
    remove(folder)
}

/// Removes a group and those below it, innermost first; whether it is gone.
fn remove(folder: &Path) -> bool {
    for group in tree(folder).iter().rev() {
        let _ = fs::remove_dir(group);
    }
    !folder.exists()
}
