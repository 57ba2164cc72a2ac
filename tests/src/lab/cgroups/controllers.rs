//! Handing on the controllers of version 2 to a lab, and taking them back after the last one.
//!
//! A group hands on what its `cgroup.subtree_control` says. What we switch on in a group that is not ours we
//! remember by an empty group beside the labs, `gantry-on.io`: so the last lab knows what to switch off, also after
//! one that was killed.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::{CALLERS, group};

/// The controllers that chapter 6 is about.
pub const WANTED: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

/// How the note is called that a controller was switched on by a lab.
const NOTE: &str = "gantry-on.";

/// How long somebody else's lock is waited for. Anybody may lock a folder that he can read: no reason to hang.
const PATIENCE: Duration = Duration::from_secs(2);

/// One lab at a time switches controllers; none if somebody sits on the lock.
pub fn lock(base: &Path) -> Option<Flock<File>> {
    let start = Instant::now();
    let mut file = File::open(base).ok()?;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Some(lock),
            Err((back, _)) if start.elapsed() < PATIENCE => file = back,
            Err(_) => return None,
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Lets `base` hand on what it has of the controllers that are wanted.
///
/// # Errors
/// It has processes, and they cannot be moved out of the way.
pub fn hand_on(base: &Path) -> Result<()> {
    let list = |name: &str| fs::read_to_string(base.join(name)).unwrap_or_default();
    let (has, on) = (list("cgroup.controllers"), list("cgroup.subtree_control"));
    let within = |list: &str, name: &str| list.split_whitespace().any(|word| word == name);
    let missing: Vec<_> =
        WANTED.into_iter().filter(|name| within(&has, name) && !within(&on, name)).collect();
    // The rule of no internal processes: either processes, or controllers handed on. The root is free of it, and
    // only the root has no type. For `memory` the kernel would say EBUSY, but for `cpu` it makes the group a
    // threaded one, below which there is no place for a lab.
    if !missing.is_empty() && base.join("cgroup.type").exists() {
        make_room(base)?;
    }
    missing.into_iter().for_each(|name| switch_on(base, name));
    Ok(())
}

/// One that cannot be handed on (realtime processes keep `cpu` back) is missed by the tests that need it.
fn switch_on(base: &Path, name: &str) {
    if fs::write(base.join("cgroup.subtree_control"), format!("+{name}")).is_ok() {
        let _ = fs::create_dir(base.join(format!("{NOTE}{name}")));
    }
}

/// Moves the processes of a delegated group, ours among them, into a leaf of it.
fn make_room(base: &Path) -> Result<()> {
    let members = fs::read_to_string(base.join("cgroup.procs"))?;
    if members.is_empty() {
        return Ok(());
    }
    let leaf = base.join(CALLERS);
    let _ = fs::create_dir(&leaf);
    for member in members.lines() {
        match fs::write(leaf.join("cgroup.procs"), member) {
            // It has ended meanwhile.
            Err(error) if error.raw_os_error() == Some(Errno::ESRCH as i32) => {}
            done => done.with_context(|| format!("move process {member} to {}", leaf.display()))?,
        }
    }
    Ok(())
}

/// Switches off what labs have switched on, if there is no lab any more.
pub fn take_back(base: &Path) {
    if group::any_in(base) {
        return;
    }
    for note in WANTED.map(|name| base.join(format!("{NOTE}{name}"))) {
        if note.is_dir() && fs::remove_dir(&note).is_ok() {
            after_note(&note);
        }
    }
}

/// Whether this group is a note that a lab has switched a controller on.
pub fn is_note(folder: &Path) -> bool {
    noted(folder).is_some()
}

/// Switches off what a note was about, once it is removed.
pub fn after_note(folder: &Path) {
    if let (Some(name), Some(base)) = (noted(folder), folder.parent()) {
        // Refused while somebody below uses it: then it is theirs.
        let _ = fs::write(base.join("cgroup.subtree_control"), format!("-{name}"));
    }
}

fn noted(folder: &Path) -> Option<&str> {
    folder.file_name()?.to_str()?.strip_prefix(NOTE)
}
