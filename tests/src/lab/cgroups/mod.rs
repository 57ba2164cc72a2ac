//! The control groups of a lab: a group of its own in every hierarchy where we may make one.
//!
//! ```text
//! <base>/gantry-lab-N              limits of the lab as a whole; the root of its cgroup namespace
//!        ├─ lab.scope              version 2: its processes, so that the root may hand on controllers
//!        └─ ...                    what the lab's engines make
//! ```
//! The groups are made, watched and removed by a keeper, a process outside of the lab with all of its caller's
//! rights ([`keeper`]). It holds a lock on each of them: a group that nobody locks is a dead lab's, and the next lab
//! removes it. The lab itself enters them ([`Seats`]), and sees them as a small machine's ([`view`]).
//!
//! Invariant: nothing of the machine's is changed for longer than a lab lives. Where no group can be made (an
//! ordinary user without a delegated subtree), a lab has none, sees the machine's, and is otherwise the same.

mod controllers;
mod group;
pub mod keeper;
mod seats;
mod table;
mod view;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Ground;
use super::users;
use group::Group;
use table::{Hierarchy, Kind, hierarchies, is_pure};

pub use controllers::{after_note, is_note};
pub use group::is_lab;
pub use keeper::keep;
pub use seats::Seats;

/// Lists the lab's own hierarchies, a path a line; is not there if the lab has none.
pub const OWN: &str = "/run/lab/cgroups";

/// Why a lab has none, and what helps.
pub const NO_CGROUPS: &str = "this lab could make no cgroups. On a system with version 2, start your shell by \
    `systemd-run --user --scope -p Delegate=yes bash`; everywhere, `--ground kernel` (for `check`, `--lab kernel`) has \
    them";

/// Where every system shows its control groups.
pub const TOP: &str = "/sys/fs/cgroup";

/// The group of a lab's own processes in version 2.
pub const SCOPE: &str = "lab.scope";

/// The group of those who were in a delegated group before it had to hand on controllers.
pub const CALLERS: &str = "caller.scope";

/// The groups of one lab, locked.
#[derive(Debug, Default)]
pub struct Groups(Vec<Group>);

impl Groups {
    /// Makes a group for a new lab wherever that is possible, after removing those of dead ones.
    pub fn make(ground: Ground) -> Groups {
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        let all = hierarchies(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"));
        let (root, pure) = (users::is_root(), is_pure(&all));
        let owner = (root && ground == Ground::User).then_some(users::NOBODY);
        let mut groups = Vec::new();
        for hierarchy in all {
            let base = hierarchy.base(root, pure);
            group::sweep(&base);
            // No right, a read-only mount, no controllers to copy from: this lab goes without.
            groups.extend(Group::make(hierarchy, &base, owner).ok());
        }
        Groups(groups)
    }

    /// Whether the lab has none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Closes what a fork of the keeper has of them.
    fn leave(self) {
        self.0.into_iter().for_each(Group::leave);
    }

    /// What the lab needs to enter them, without the locks.
    fn seats(&self) -> Seats {
        Seats::new(self.0.iter().map(|group| (group.hierarchy.clone(), group.folder.clone())).collect())
    }
}

/// Where a lab's group would be made in version 2, by the texts of `/proc/self/mountinfo` and `/proc/self/cgroup`.
pub fn base_in_v2(mountinfo: &str, own: &str, root: bool) -> Option<PathBuf> {
    let all = hierarchies(mountinfo, own);
    let one = all.iter().find(|one| one.kind == Kind::V2)?;
    Some(one.base(root, is_pure(&all)))
}

/// Every folder below `top`, and `top` itself.
pub fn tree(top: &Path) -> Vec<PathBuf> {
    let mut all = vec![top.to_owned()];
    let entries = fs::read_dir(top).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.for_each(|entry| all.extend(tree(&entry.path())));
    all
}

/// Lets everything below `top` run that is frozen: in version 1 a frozen process cannot even be killed.
pub fn thaw(top: &Path) {
    for folder in tree(top) {
        let file = folder.join("freezer.state");
        if fs::read_to_string(&file).is_ok_and(|state| state.trim() != "THAWED") {
            let _ = fs::write(&file, "THAWED");
        }
    }
}

/// The tops of the lab's own hierarchies, from within a lab; none if it has none.
pub fn own() -> Vec<PathBuf> {
    fs::read_to_string(OWN).unwrap_or_default().lines().map(PathBuf::from).collect()
}

/// Thaws whatever is frozen in this lab.
pub fn thaw_own() {
    own().iter().for_each(|top| thaw(top));
}

/// Writes into one of a group's files; with the path.
fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("write {text:?} to {}", file.display()))
}

/// As [`write`], but a file that is not there is no error: the controller is not.
fn write_if_there(file: &Path, text: &str) -> Result<()> {
    match fs::OpenOptions::new().write(true).open(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        _ => write(file, text),
    }
}
