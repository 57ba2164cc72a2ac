//! What is mounted in a container, as data.
//!
//! A [`Mount`] says what comes from where, to which place, with which restrictions. Volumes and `--tmpfs`
//! become such values, and so do the file systems that every container gets. Only [`Mount::perform`] acts.

use std::fs;
use std::path::{Component, Path, PathBuf};

use libc::{MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY};
use process::{Context, Error, Result};

use crate::detached::{Detached, restrict};
use crate::resolve::{self, Links, Place};
use crate::root::Root;
use crate::sys;
use std::os::fd::AsFd;

// ANCHOR: data
/// Where a mount comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Something that exists outside: a folder, a file, a device.
    Bind(PathBuf),
    /// A new file system and its options.
    Fresh(&'static str, Vec<(String, String)>),
}

/// One mount of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// What.
    pub source: Source,
    /// Where inside the container; absolute.
    pub target: PathBuf,
    /// `MOUNT_ATTR_*`, for it and everything below it.
    pub attributes: u64,
    /// Whether links of the image may lead to the target.
    pub links: Links,
}
// ANCHOR_END: data

impl Mount {
    /// A volume, as `--volume` writes it: `SOURCE:TARGET`, `SOURCE:TARGET:ro`.
    ///
    /// # Errors
    /// A relative target, or an option that there is not.
    pub fn volume(text: &str) -> Result<Mount> {
        let refuse = |cause: &str| Err(Error::refused("volume", text, cause));
        let (source, target, attributes) = match text.split(':').collect::<Vec<_>>()[..] {
            [source, target] | [source, target, "rw"] => (source, target, 0),
            [source, target, "ro"] => (source, target, MOUNT_ATTR_RDONLY),
            [_, _, _] => return refuse("the third part is `ro` or `rw`"),
            _ => return refuse("write it as SOURCE:TARGET or SOURCE:TARGET:ro"),
        };
        Mount { source: Source::Bind(source.into()), target: target.into(), attributes, links: Links::Follow }
            .checked()
    }

    /// A temporary file system, as `--tmpfs` writes it: `TARGET`, `TARGET:size=64m,mode=1777,ro`.
    ///
    /// # Errors
    /// A relative target.
    pub fn tmpfs(text: &str) -> Result<Mount> {
        let (target, words) = text.split_once(':').unwrap_or((text, ""));
        let mut attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
        let mut options = Vec::new();
        for word in words.split(',').filter(|word| !word.is_empty()) {
            match (word, word.split_once('=')) {
                (_, Some((key, value))) => options.push((key.to_owned(), value.to_owned())),
                ("ro", _) => attributes |= MOUNT_ATTR_RDONLY,
                ("exec", _) => attributes &= !MOUNT_ATTR_NOEXEC,
                ("rw" | "nosuid" | "nodev" | "noexec", _) => {}
                _ => return Err(Error::refused("tmpfs", text, format!("there is no option `{word}`"))),
            }
        }
        Mount {
            source: Source::Fresh("tmpfs", options),
            target: target.into(),
            attributes,
            links: Links::Follow,
        }
        .checked()
    }

    /// One of the engine's own: the target must be what it is called, no link.
    pub fn own(source: Source, target: impl Into<PathBuf>, attributes: u64) -> Mount {
        Mount { source, target: target.into(), attributes, links: Links::Refuse }
    }

    /// Refuses targets that are no absolute path below the root.
    fn checked(self) -> Result<Mount> {
        let refuse = |cause| Err(Error::refused("mount on", self.target.display(), cause));
        if !self.target.is_absolute() {
            return refuse("the target must be an absolute path inside the container");
        }
        if self.target.components().any(|part| part == Component::ParentDir) {
            return refuse("the target must not contain `..`");
        }
        if self.target.parent().is_none() {
            return refuse("the root itself is what --rootfs is for");
        }
        Ok(self)
    }

    /// Whether the source needs a folder or a file to be mounted on.
    ///
    /// # Errors
    /// ENOENT: there is no such source.
    pub fn place(&self) -> Result<Place> {
        match &self.source {
            Source::Fresh(..) => Ok(Place::Folder),
            Source::Bind(source) => {
                let kind = fs::metadata(source).during("stat", source.display());
                let kind = kind.map_err(|error| error.because("the source of a volume must exist"))?;
                Ok(if kind.is_dir() { Place::Folder } else { Place::File })
            }
        }
    }

    // ANCHOR: perform
    /// Makes it, detached, and attaches it at its place inside `root`.
    ///
    /// # Errors
    /// Whatever the kernel says to one of these steps.
    pub fn perform(&self, root: &Root) -> Result<()> {
        let kind = self.place()?;
        let place = resolve::place(root.as_fd(), &self.target, kind, self.links)?;
        resolve::check(root.as_fd(), place.as_fd(), &self.target, kind)?;
        let mount = self.detached()?;
        mount.attach(place.as_fd()).during("move_mount", self.target.display())
    }

    fn detached(&self) -> Result<Detached> {
        match &self.source {
            Source::Fresh(filesystem, options) => Detached::fresh(filesystem, options, self.attributes),
            Source::Bind(source) => {
                let mount = Detached::bind(source)?;
                if self.attributes != 0 {
                    restrict(mount.as_fd(), self.attributes)?;
                }
                Ok(mount)
            }
        }
    }
    // ANCHOR_END: perform
}

// ANCHOR: standard
/// The file systems that programs expect everywhere; the order is that of the tree, parents first.
pub fn standard() -> Vec<Mount> {
    let locked = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    vec![
        Mount::own(Source::Fresh("proc", vec![]), "/proc", locked),
        // Its files change the host's devices and drivers: for reading only.
        Mount::own(sys::source(), "/sys", locked | MOUNT_ATTR_RDONLY),
    ]
}
// ANCHOR_END: standard

/// Whether `path` is a folder; the error otherwise.
///
/// # Errors
/// ENOENT, ENOTDIR, EACCES.
pub fn must_be_folder(path: &Path) -> Result<()> {
    if fs::metadata(path).during("stat", path.display())?.is_dir() {
        return Ok(());
    }
    Err(Error::new("open", path.display(), nix::errno::Errno::ENOTDIR)
        .because("a root file system is a folder"))
}
