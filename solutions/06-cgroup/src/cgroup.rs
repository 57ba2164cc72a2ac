//! A container's cgroup: one folder in each tree, under one name.
//!
//! What happens to all its processes together is in [`crate::life`], what they used in [`crate::stats`], what they may
//! use in [`crate::limits`].

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::Flock;
use process::{Error, Result};

use crate::place::Place;
use crate::yard::Yard;
use crate::{Controller, Folder, Version, yard};

/// The cgroup inside that a container may change, where it may change one.
pub const INNER: &str = "container";

// ANCHOR: cgroup
/// A container's cgroup.
#[derive(Debug)]
pub struct Cgroup {
    /// Its name below `gantry`.
    pub name: String,
    /// One in each tree, that of version 2 first.
    pub folders: Vec<Folder>,
    /// Ours for as long as we live; none where we only look.
    held: Option<Flock<OwnedFd>>,
    /// Controllers that there are, but not for us, and why.
    refused: Vec<(Controller, Error)>,
}

impl Cgroup {
    pub(crate) fn new(
        name: &str,
        folders: Vec<Folder>,
        held: Option<Flock<OwnedFd>>,
        refused: Vec<(Controller, Error)>,
    ) -> Cgroup {
        Cgroup { name: name.to_owned(), folders, held, refused }
    }

    /// Makes one, and holds it for as long as the value lives: what of it is left then belongs to nobody.
    ///
    /// # Errors
    /// The name is taken, or nothing can be made there.
    pub fn create(place: &Place, name: &str) -> Result<Cgroup> {
        Yard::enter(place)?.create(name)
    }

    /// One that exists, to look at it or to change it. It may lack a tree that its runner did not come to.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn open(place: &Place, name: &str) -> Result<Cgroup> {
        yard::check_name(name)?;
        let mut folders = Vec::new();
        for top in &place.tops {
            match Folder::open(top.version, &top.controllers, &top.gantry().join(name)) {
                Ok(folder) => folders.push(folder.with_what_is_there()),
                Err(error) if error.errno == Errno::ENOENT => {}
                Err(error) => return Err(error),
            }
        }
        if folders.is_empty() {
            let cause = "there is no such container here; `stats --no-stream` lists those that there are";
            return Err(Error::refused("find the container", name, cause));
        }
        Ok(Cgroup::new(name, folders, None, Vec::new()))
    }

    /// The folder in the tree that has a controller.
    ///
    /// # Errors
    /// No tree has it for us; the message names the controller.
    pub fn folder(&self, controller: Controller) -> Result<&Folder> {
        let found = self.folders.iter().find(|folder| folder.controllers.contains(&controller));
        found.ok_or_else(|| {
            let name = controller.name(Version::V2);
            let why = self.refused.iter().find(|(refused, _)| *refused == controller);
            let why = why.map_or(
                "it is not here, or not handed down to us; `controllers` shows what there is".into(),
                |(_, error)| error.to_string(),
            );
            Error::new("find the controller", name, Errno::ENOENT).because(why)
        })
    }

    /// Its folder in the tree of version 2, which may have no controllers.
    pub fn unified(&self) -> Option<&Folder> {
        self.folders.iter().find(|folder| folder.version == Version::V2)
    }

    /// Its folders in the trees of version 1.
    pub fn legacy(&self) -> impl Iterator<Item = &Folder> {
        self.folders.iter().filter(|folder| folder.version == Version::V1)
    }

    /// Takes the lock if its runner is gone; whether it is ours now.
    ///
    /// # Errors
    /// None that a user could cause.
    pub fn take_over(&mut self) -> Result<bool> {
        if self.held.is_none() {
            self.held = yard::lock(&self.folders[0])?;
        }
        Ok(self.held.is_some())
    }
}
// ANCHOR_END: cgroup
