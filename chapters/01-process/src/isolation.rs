//! An isolation: one thing that sets a container apart, and the three moments at which it may act.
//!
//! Every later chapter implements this trait for its own subject; [`crate::spawn`] calls the three methods,
//! each at its moment, each list in the same order.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sched::CloneFlags;

use crate::{Child, Result};

// ANCHOR: trait
/// One isolation of a container.
pub trait Isolation {
    /// Its name in error messages, `mount`.
    fn name(&self) -> &'static str;

    /// Before the process exists: check, open, compile; ask for namespaces.
    ///
    /// # Errors
    /// Whatever is wrong with the wish; nothing has happened yet.
    fn prepare(&mut self, _birth: &mut Birth) -> Result<()> {
        Ok(())
    }

    /// It exists and waits at the gate; we are its parent, with the host's powers.
    ///
    /// # Errors
    /// The child is killed and reaped.
    fn outside(&mut self, _child: &Child) -> Result<()> {
        Ok(())
    }

    /// We are it, in its new namespaces, about to become the user's program.
    ///
    /// # Errors
    /// Sent to the parent through the gate; the child leaves.
    fn inside(&mut self) -> Result<()> {
        Ok(())
    }
}
// ANCHOR_END: trait

/// What the one `clone3` call is to do.
pub struct Birth {
    namespaces: CloneFlags,
    cgroup: Option<OwnedFd>,
}

impl Birth {
    pub(crate) fn new() -> Birth {
        Birth { namespaces: CloneFlags::empty(), cgroup: None }
    }

    /// Asks for a new namespace, `CLONE_NEWPID`. All of them are made in one call.
    pub fn in_new(&mut self, namespace: CloneFlags) {
        self.namespaces |= namespace;
    }

    /// Lets the process be born in this cgroup v2 folder.
    pub fn in_cgroup(&mut self, folder: OwnedFd) {
        self.cgroup = Some(folder);
    }

    pub(crate) fn namespaces(&self) -> CloneFlags {
        self.namespaces
    }

    pub(crate) fn cgroup(&self) -> Option<BorrowedFd<'_>> {
        self.cgroup.as_ref().map(AsFd::as_fd)
    }
}
