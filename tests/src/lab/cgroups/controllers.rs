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
const WANTED: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];

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
    let missing = missing(base);
    // The rule of no internal processes: either processes, or controllers handed on. The root is free of it, and
    // only the root has no type. For `memory` the kernel would say EBUSY, but for `cpu` it makes the group a
    // threaded one, below which there is no place for a lab.
    if !missing.is_empty() && base.join("cgroup.type").exists() {
        make_room(base)?;
    }
    for name in switch(base, '+', &missing) {
        let _ = fs::create_dir(base.join(format!("{NOTE}{name}")));
    }
    Ok(())
}

/// The same inside a lab, where nobody has to take anything back: the group goes, and its settings with it.
pub fn hand_on_inside(top: &Path) {
    switch(top, '+', &missing(top));
}

/// What of the wanted controllers a group has and does not hand on.
fn missing(base: &Path) -> Vec<&'static str> {
    let list = |name: &str| fs::read_to_string(base.join(name)).unwrap_or_default();
    let (has, on) = (list("cgroup.controllers"), list("cgroup.subtree_control"));
    let within = |list: &str, name: &str| list.split_whitespace().any(|word| word == name);
    WANTED.into_iter().filter(|name| within(&has, name) && !within(&on, name)).collect()
}

/// Switches controllers on or off, those that let it; which ones.
///
/// All in one write where that goes, since each makes the kernel wait. One that cannot be handed on (realtime
/// processes keep `cpu` back) is missed by the tests that need it; one that cannot be taken back is in use.
fn switch<'a>(base: &Path, sign: char, names: &[&'a str]) -> Vec<&'a str> {
    let file = base.join("cgroup.subtree_control");
    let words: Vec<String> = names.iter().map(|name| format!("{sign}{name}")).collect();
    if names.is_empty() || fs::write(&file, words.join(" ")).is_ok() {
        return names.to_vec();
    }
    let each = names.iter().zip(&words).filter(|(_, word)| fs::write(&file, word).is_ok());
    each.map(|(name, _)| *name).collect()
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
    let noted = |name: &&str| fs::remove_dir(base.join(format!("{NOTE}{name}"))).is_ok();
    switch(base, '-', &WANTED.into_iter().filter(noted).collect::<Vec<_>>());
}

/// Whether this group is a note that a lab has switched a controller on.
pub fn is_note(folder: &Path) -> bool {
    noted(folder).is_some()
}

/// Switches off what a note was about, once it is removed.
pub fn after_note(folder: &Path) {
    if let (Some(name), Some(base)) = (noted(folder), folder.parent()) {
        switch(base, '-', &[name]);
    }
}

fn noted(folder: &Path) -> Option<&str> {
    folder.file_name()?.to_str()?.strip_prefix(NOTE)
}
