//! The isolation of this chapter: a mount namespace, and what is done in it, in order.

use std::path::PathBuf;

use nix::sched::CloneFlags;
use process::{Birth, Isolation, Result};

use crate::plan::{self, Mount};
use crate::root::Root;
use crate::{dev, propagation};

/// A mount namespace, and a root of its own in it if `rootfs` is given.
#[derive(Debug, Default)]
pub struct MountNamespace {
    /// The folder that becomes `/`.
    pub rootfs: Option<PathBuf>,
    /// Whether nothing of it can be changed.
    pub read_only: bool,
    /// Whether `/proc`, `/sys` and `/dev` are left out.
    pub bare: bool,
    /// Volumes and temporary file systems, in the order given.
    pub mounts: Vec<Mount>,
}

impl Isolation for MountNamespace {
    fn name(&self) -> &'static str {
        "mount namespace"
    }

    /// Whatever can be found wrong before a process exists is found here.
    fn prepare(&mut self, birth: &mut Birth) -> Result<()> {
        if let Some(rootfs) = &self.rootfs {
            plan::must_be_folder(rootfs)?;
        }
        for mount in &self.mounts {
            mount.place()?;
        }
        birth.in_new(CloneFlags::CLONE_NEWNS);
        Ok(())
    }

    // ANCHOR: inside
    fn inside(&mut self) -> Result<()> {
        propagation::make_private()?;
        let Some(rootfs) = &self.rootfs else { return Ok(()) };
        let root = Root::attach(rootfs)?;
        if self.read_only {
            root.restrict()?;
        }
        self.fill(&root)?;
        if self.read_only {
            root.seal()?;
        }
        root.pivot()
    }
    // ANCHOR_END: inside
}

impl MountNamespace {
    // ANCHOR: fill
    /// The standard file systems first: a volume may lie in one of them.
    fn fill(&self, root: &Root) -> Result<()> {
        if !self.bare {
            for mount in plan::standard().iter().chain(&dev::mounts()) {
                mount.perform(root)?;
            }
            dev::links(root)?;
        }
        self.mounts.iter().try_for_each(|mount| mount.perform(root))
    }
    // ANCHOR_END: fill
}
