//! Handing controllers down, version 2.
//!
//! A cgroup has the files of a controller only if its parent hands that controller down, by `cgroup.subtree_control`;
//! and a cgroup that does so must have no processes itself (the *no internal processes* rule; the root of the machine
//! is excepted). So whoever was given a cgroup and sits in it must move to a leaf of it first.
//! See the kernel's cgroup-v2, "Controlling Controllers" and "No Internal Process Constraint".

use std::fs;
use std::io::ErrorKind;

use nix::errno::Errno;
use process::{Context, Error, Result};

use crate::place::LEAF;
use crate::{Controller, Folder, Version};

/// How often processes are looked for that were born while others were moved.
const ROUNDS: usize = 16;

// ANCHOR: enable
/// Hands down whatever there is of `controllers`; what was refused, and why.
///
/// `ours` says whether the processes in the folder may be moved, if they are in the way.
///
/// # Errors
/// The folder cannot be read.
pub fn enable(folder: &Folder, controllers: &[Controller], ours: bool) -> Result<Vec<(Controller, Error)>> {
    todo!("6.1 Hand controllers down")
}
// ANCHOR_END: enable

// ANCHOR: room
/// Whether there are processes in a cgroup that must have none. The root of the *machine* may have both; it alone has no
/// type. (What a lab or a container takes for the root has one.)
///
/// The kernel's own answer, EBUSY, does not tell all: for controllers that can divide threads, such as `cpu`, it makes
/// the cgroup a *threaded* one instead, in which no process can be born.
fn is_occupied(folder: &Folder) -> Result<bool> {
    match folder.processes() {
        // A part of a threaded one lists no processes; the kernel refuses what cannot be.
        Err(error) if error.errno == Errno::EOPNOTSUPP => Ok(false),
        inside => Ok(folder.has("cgroup.type") && !inside?.is_empty()),
    }
}

/// The error for a cgroup with processes that are not ours to move.
fn occupied(folder: &Folder) -> Error {
    because(Error::new("write", folder.of("cgroup.subtree_control"), Errno::EBUSY))
}

/// Moves all processes of a cgroup into a leaf of it.
///
/// # Errors
/// A process that may not be moved; or one of another PID namespace, which has no number here: then nobody is moved.
fn make_room(folder: &Folder) -> Result<()> {
    let mut inside = movable(folder)?;
    let path = folder.path.join(LEAF);
    match fs::create_dir(&path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(error).during("mkdir", path.display());
        }
        _ => {}
    }
    let leaf = Folder::open(folder.version, &[], &path)?;
    for _ in 0..ROUNDS {
        if inside.is_empty() {
            break;
        }
        for pid in inside {
            match leaf.write("cgroup.procs", &pid.to_string()) {
                // It has ended.
                Err(error) if error.errno == Errno::ESRCH => {}
                moved => moved?,
            }
        }
        inside = movable(folder)?;
    }
    Ok(())
}

/// The processes in it, all of which have a number: a 0 would be ourselves.
fn movable(folder: &Folder) -> Result<Vec<i32>> {
    let inside = folder.processes()?;
    if !inside.contains(&0) {
        return Ok(inside);
    }
    let cause = "there are processes of another PID namespace in it, which cannot be moved from here";
    Err(Error::refused("make room in", folder.path.display(), cause))
}
// ANCHOR_END: room

fn because(error: Error) -> Error {
    let cause = match error.errno {
        Errno::EBUSY => {
            "there are processes in that cgroup, and one that hands controllers down must have none"
        }
        Errno::EOPNOTSUPP => "that cgroup is threaded, or below one that is",
        Errno::EINVAL => "the kernel does not hand it down while real-time processes run in the cgroup",
        Errno::EACCES | Errno::EPERM | Errno::EROFS => "that cgroup is not ours to configure",
        _ => "",
    };
    error.because(cause)
}
