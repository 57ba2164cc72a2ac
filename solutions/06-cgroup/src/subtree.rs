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
    let has = |text: &str, name: &str| text.split_whitespace().any(|word| word == name);
    let (offered, enabled) = (folder.read("cgroup.controllers")?, folder.read("cgroup.subtree_control")?);
    let name = |controller: &Controller| controller.name(Version::V2);
    let missing =
        |controller: &&Controller| has(&offered, name(controller)) && !has(&enabled, name(controller));
    let missing: Vec<&Controller> = controllers.iter().filter(missing).collect();
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    if ours && is_occupied(folder)? {
        make_room(folder)?;
    }
    let words: Vec<String> = missing.iter().map(|controller| format!("+{}", name(controller))).collect();
    if folder.write("cgroup.subtree_control", &words.join(" ")).is_ok() {
        return Ok(Vec::new());
    }
    // All or nothing: one after the other tells which it is.
    let alone = |(controller, word): (&&Controller, &String)| {
        let error = folder.write("cgroup.subtree_control", word).err()?;
        Some((**controller, because(error)))
    };
    Ok(missing.iter().zip(&words).filter_map(alone).collect())
}
// ANCHOR_END: enable

// ANCHOR: room
/// Whether there are processes in a cgroup that must have none. The machine's root may have both; it alone has no type.
///
/// The kernel's own answer, EBUSY, does not tell all: for controllers that can divide threads, such as `cpu`, it makes
/// the cgroup a *threaded* one instead, in which no process can be born.
fn is_occupied(folder: &Folder) -> Result<bool> {
    Ok(folder.has("cgroup.type") && !folder.processes()?.is_empty())
}

/// Moves all processes of a cgroup into a leaf of it.
///
/// # Errors
/// A process that may not be moved, or that we do not see.
fn make_room(folder: &Folder) -> Result<()> {
    let path = folder.path.join(LEAF);
    match fs::create_dir(&path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(error).during("mkdir", path.display());
        }
        _ => {}
    }
    let leaf = Folder::open(folder.version, &[], &path)?;
    for _ in 0..ROUNDS {
        let inside = folder.processes()?;
        if inside.is_empty() {
            break;
        }
        for pid in inside {
            match leaf.write("cgroup.procs", &pid.to_string()) {
                // It has ended.
                Err(error) if error.errno == Errno::ESRCH && pid != 0 => {}
                moved => moved?,
            }
        }
    }
    Ok(())
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
