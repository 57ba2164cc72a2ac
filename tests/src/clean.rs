//! What a crashed experiment left on the machine, and its removal.
//!
//! A lab cleans up after itself, and most of it the kernel does; but a lab can be killed at a bad moment, and
//! a learner may have tried something outside. [`find`] only reads `/proc`, `/sys` and the temporary folder.
//! [`run`] removes what it found: processes by pidfd, so that a number given out again cannot be hit; mounts
//! by detaching; cgroups by `rmdir`, innermost first; folders only when nothing is mounted in them. A link
//! is named, with the way to remove it.
//!
//! Invariant: in doubt, a thing is not ours. A lab that is alive, in this clone or another, loses nothing.

mod pidfd;
mod places;
mod processes;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::mount::{MntFlags, umount2};

use crate::terminal::{self, Look, styled};
use crate::workspace;

/// One thing that nobody owns any more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leftover {
    /// A process of a lab whose keeper is gone.
    Process {
        /// Its number.
        pid: i32,
        /// When it was started, in the kernel's ticks: tells it from a later one of the same number.
        started: u64,
        /// Its command line.
        command: String,
    },
    /// A mount below `target/gantry`, or of something named `gantry-lab`.
    Mount(PathBuf),
    /// A cgroup named `gantry...` without a living process in it.
    Cgroup(PathBuf),
    /// A folder `gantry-...` in the temporary folder.
    Folder(PathBuf),
    /// A network link named `gantry...`.
    Link(String),
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Leftover::Process { pid, command, .. } => write!(f, "process {pid}  {command}"),
            Leftover::Mount(path) => write!(f, "mount   {}", path.display()),
            Leftover::Cgroup(path) => write!(f, "cgroup  {}", path.display()),
            Leftover::Folder(path) => write!(f, "folder  {}", path.display()),
            Leftover::Link(name) => write!(f, "link    {name}"),
        }
    }
}

/// Where to look. The machine's own places, or made-up ones in a test.
#[derive(Debug, Clone)]
pub struct Places {
    /// `/proc`
    pub proc: PathBuf,
    /// `/sys/fs/cgroup`
    pub cgroup: PathBuf,
    /// `/sys/class/net`
    pub net: PathBuf,
    /// The temporary folder.
    pub temp: PathBuf,
    /// The workspace's `target/gantry`, if we are in one.
    pub cache: Option<PathBuf>,
}

impl Places {
    /// The machine's own.
    pub fn real() -> Places {
        Places {
            proc: "/proc".into(),
            cgroup: "/sys/fs/cgroup".into(),
            net: "/sys/class/net".into(),
            temp: std::env::temp_dir(),
            cache: workspace::root().ok().map(|root| workspace::cache_dir(&root)),
        }
    }
}

/// Everything that was left behind, in the order in which it is to be removed. Changes nothing.
///
/// # Errors
/// `/proc` cannot be read.
pub fn find() -> Result<Vec<Leftover>> {
    find_in(&Places::real())
}

/// As [`find`], at the given places.
///
/// # Errors
/// As [`find`].
pub fn find_in(places: &Places) -> Result<Vec<Leftover>> {
    let processes = processes::left(&places.proc)?;
    let mut found = processes.clone();
    found.extend(places::mounts(places)?);
    found.extend(places::cgroups(&places.cgroup, &processes));
    found.extend(places::folders(places)?);
    found.extend(places::links(&places.net));
    Ok(found)
}

/// Removes one leftover.
///
/// # Errors
/// It cannot be removed: the message says why and how to do it by hand. A link is never removed.
pub fn remove(leftover: &Leftover) -> Result<()> {
    match leftover {
        Leftover::Process { pid, started, .. } => processes::end(*pid, *started),
        Leftover::Mount(path) => umount2(path, MntFlags::MNT_DETACH)
            .with_context(|| format!("unmount {} (umount2 with MNT_DETACH)", path.display())),
        Leftover::Cgroup(path) => {
            fs::remove_dir(path).with_context(|| format!("remove the cgroup {}", path.display()))?;
            crate::lab::cgroups::after_note(path);
            Ok(())
        }
        Leftover::Folder(path) => places::remove_folder(path),
        Leftover::Link(name) => bail!("links are not removed by this command: sudo ip link delete {name}"),
    }
}

/// Finds, says and removes; true if nothing is left at the end.
///
/// # Errors
/// As [`find`].
pub fn run(_root: &Path) -> Result<bool> {
    let found = find()?;
    if found.is_empty() {
        terminal::print("Nothing was left behind.\n")?;
        return Ok(true);
    }
    let mut clean = true;
    for leftover in &found {
        let line = match remove(leftover) {
            Ok(()) => format!("{} {leftover}\n", styled(Look::Green, "removed")),
            Err(error) => {
                clean = false;
                format!("{} {leftover}\n        {error:#}\n", styled(Look::Red, "stays  "))
            }
        };
        terminal::print(&line)?;
    }
    Ok(clean)
}

#[cfg(test)]
#[path = "clean/tests.rs"]
mod tests;
