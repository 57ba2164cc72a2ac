//! The isolation of this chapter: the container's root as a union of layers.
//!
//! The union is mounted inside, in the container's own mount namespace, on a folder that then becomes the root
//! (chapter 2). So nobody outside sees it, and with the namespace it is gone.
//!
//! Where real root gives the container other ids (`--uid-map`), the layers' files would be nobody's. So inside, each
//! layer and the upper folder is seen through an idmapped mount (chapter 4), which parent and child both hold: taken
//! before the birth, mapped from outside, attached inside. On the disk, every file has the ids that the image says.

use std::fs::{self, DirBuilder, File, Permissions};
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;

use mount::detached::Detached;
use mount::propagation;
use mount::resolve::{Links, open};
use mount::root::Root;
use process::{Birth, Child, Context, Error, Isolation, Result};
use user::idmap::idmap;
use user::map::root_outside;

use crate::Container;

/// A root of layers.
pub struct Layered {
    container: Container,
    /// Each folder of the union, and the place at which it is seen with the container's ids.
    views: Vec<(Detached, PathBuf)>,
}

impl Layered {
    /// For a container, which is thrown away with it if it is not kept.
    pub fn new(container: Container) -> Layered {
        Layered { container, views: Vec::new() }
    }

    /// Where each layer is seen: itself, or a mount in the container's folder.
    fn lowers(&self) -> Vec<PathBuf> {
        let layers = self.container.layers.iter().enumerate();
        let view = |number: usize| self.container.folder.join("lower").join(number.to_string());
        layers
            .map(|(number, layer)| if self.container.mapped { view(number) } else { layer.clone() })
            .collect()
    }
}

impl Isolation for Layered {
    fn name(&self) -> &'static str {
        "overlay"
    }

    // ANCHOR: layered
    fn prepare(&mut self, _birth: &mut Birth) -> Result<()> {
        for layer in &self.container.layers {
            mount::plan::must_be_folder(layer)?;
        }
        if !self.container.mapped {
            return Ok(());
        }
        // The container's folder first: the places of the layers lie in it.
        let folder = &self.container.folder;
        self.views.push((Detached::bind(folder)?, folder.clone()));
        for (layer, place) in self.container.layers.iter().zip(self.lowers()) {
            DirBuilder::new().recursive(true).create(&place).during("create", place.display())?;
            self.views.push((Detached::bind(layer)?, place));
        }
        Ok(())
    }

    fn outside(&mut self, child: &Child) -> Result<()> {
        if self.views.is_empty() {
            return Ok(());
        }
        let path = format!("/proc/{}/ns/user", child.pid());
        let namespace = File::open(&path).during("open", &path)?;
        for (view, place) in &self.views {
            idmap(view.as_fd(), namespace.as_fd()).map_err(|errno| {
                Error::new("idmap", place.display(), errno)
                    .because("this kind of file system cannot give a layer other ids on this kernel")
            })?;
        }
        // Its root must come as far as to where its own view lies; nobody else.
        let folder = &self.container.folder;
        chown(folder, None, Some(root_group(child)?)).during("chown", folder.display())?;
        fs::set_permissions(folder, Permissions::from_mode(0o710)).during("chmod", folder.display())
    }

    fn inside(&mut self) -> Result<()> {
        // Before anything is mounted, or the host would see it.
        propagation::make_private()?;
        let root = Root::current()?;
        for (view, place) in &self.views {
            let spot = open(root.as_fd(), place, Links::Refuse).during("open", place.display())?;
            view.attach(spot.as_fd()).during("move_mount", place.display())?;
        }
        self.container.raise(self.lowers())
    }
    // ANCHOR_END: layered
}

/// Which group outside is the child's group 0.
fn root_group(child: &Child) -> Result<u32> {
    let path = format!("/proc/{}/gid_map", child.pid());
    let map = fs::read_to_string(&path).during("read", &path)?;
    root_outside(&map).ok_or_else(|| Error::refused("find", "group 0", "the container's map has none"))
}
