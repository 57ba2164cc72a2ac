//! The lab's side of its groups: entering them, and looking like a machine from within.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, unshare};

use super::{Hierarchy, Kind, OWN, SCOPE, controllers, view, write};

/// The groups that a lab is about to enter, or has entered.
#[derive(Debug, Clone, Default)]
pub struct Seats {
    groups: Vec<(Hierarchy, PathBuf)>,
}

impl Seats {
    /// Seats in these groups.
    pub fn new(groups: Vec<(Hierarchy, PathBuf)>) -> Seats {
        Seats { groups }
    }

    /// The flag for `unshare`, if there is a group to be the root of a cgroup namespace.
    pub fn namespace(&self) -> CloneFlags {
        if self.groups.is_empty() { CloneFlags::empty() } else { CloneFlags::CLONE_NEWCGROUP }
    }

    /// Moves this process into the groups. One that cannot be entered is no longer among them.
    ///
    /// # Errors
    /// None of them can be entered.
    pub fn enter(&mut self) -> Result<()> {
        let mut last = None;
        self.groups.retain(|(_, folder)| match write(&folder.join("cgroup.procs"), "0") {
            Ok(()) => true,
            Err(error) => {
                last = Some(error);
                false
            }
        });
        match last {
            Some(error) if self.groups.is_empty() => Err(error).context("enter the lab's cgroups"),
            _ => Ok(()),
        }
    }

    /// A cgroup namespace whose root is the lab's groups, and mounts that show them. We must be in the groups and in
    /// a mount namespace of our own, and `/run/lab` must be there.
    ///
    /// # Errors
    /// The kernel refuses the namespace or a mount.
    pub fn show(&self) -> Result<()> {
        if self.groups.is_empty() {
            return Ok(());
        }
        unshare(CloneFlags::CLONE_NEWCGROUP).context("unshare cgroup namespace")?;
        let places = view::mount_all(self.groups.iter().map(|(hierarchy, _)| hierarchy))?;
        let list: String = places.iter().map(|place| format!("{}\n", place.display())).collect();
        fs::write(OWN, list).with_context(|| format!("write {OWN}"))
    }

    /// In version 2 the lab's root must be empty before it can hand on controllers: we go one down. After the last
    /// cgroup namespace was made, since its root is where we are then.
    ///
    /// # Errors
    /// The move is refused.
    pub fn settle(&self) -> Result<()> {
        for (hierarchy, _) in self.groups.iter().filter(|(hierarchy, _)| hierarchy.kind == Kind::V2) {
            let place = view::place(hierarchy, self.groups.iter().map(|(hierarchy, _)| hierarchy));
            write(&place.join(SCOPE).join("cgroup.procs"), "0")?;
            controllers::hand_on_inside(&place);
        }
        Ok(())
    }
}
