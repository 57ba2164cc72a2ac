//! `--device`: a device of the host, in the container's `/dev`.
//!
//! It is bound, not made: a node of our own would need CAP_MKNOD on the host, and its mode would be ours to choose. The
//! mount is read-only, which says nothing about the device and keeps its node as it is on the host.
//!
//! A bind mount needs the host's files, and a place in the container's: one is there until the root is exchanged, the
//! other from then on. So this isolation stands at two places. The first takes copies of the mounts; they wait in
//! [`CARRIED`]; the second gives them their places.
//!
//! Which devices a container may *use* is not decided by nodes but by its cgroup (chapter 6): what is shown here is
//! added to its list.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Mutex;

use cgroup::devices::Rule;
use libc::{MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY};
use mount::detached::{Detached, restrict};
use mount::resolve::{self, Links, Place};
use mount::root::Root;
use process::{Birth, Context, Error, Isolation, Result};

/// A device of the host, and its place inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// On the host.
    pub source: PathBuf,
    /// In the container; absolute.
    pub target: PathBuf,
    /// What may be done with it: letters of `rwm`, as its cgroup reads them.
    pub access: String,
}

// ANCHOR: parse
impl Device {
    /// A wish, `/dev/fuse`, `/dev/fuse:/dev/other`, `/dev/fuse:/dev/other:rwm`.
    ///
    /// # Errors
    /// A relative path, or other letters.
    pub fn parse(text: &str) -> Result<Device> {
        let refuse = |cause| Err(Error::refused("--device", text, cause));
        let is_access = |word: &str| !word.is_empty() && word.chars().all(|c| "rwm".contains(c));
        let (source, target, access) = match text.split(':').collect::<Vec<_>>()[..] {
            [source] => (source, source, "rwm"),
            [source, access] if is_access(access) => (source, source, access),
            [source, target] => (source, target, "rwm"),
            [source, target, access] if is_access(access) => (source, target, access),
            _ => return refuse("write it as HOST, HOST:CONTAINER or HOST:CONTAINER:rwm"),
        };
        let (source, target) = (PathBuf::from(source), PathBuf::from(target));
        if !source.is_absolute()
            || !target.is_absolute()
            || target.components().any(|c| c == Component::ParentDir)
        {
            return refuse("both paths must be absolute, without `..`");
        }
        Ok(Device { source, target, access: access.to_owned() })
    }

    /// The line of its cgroup's list.
    ///
    /// # Errors
    /// It is no device.
    pub fn rule(&self) -> Result<Rule> {
        let found = fs::metadata(&self.source).during("stat", self.source.display())?;
        let kind = match found.file_type() {
            kind if kind.is_block_device() => 'b',
            kind if kind.is_char_device() => 'c',
            _ => return Err(Error::refused("--device", self.source.display(), "it is no device")),
        };
        let (major, minor) = (libc::major(found.rdev()), libc::minor(found.rdev()));
        Rule::parse(&format!("{kind} {major}:{minor} {}", self.access))
    }
}
// ANCHOR_END: parse

/// What lies in `/dev` and is no device of the machine, or the container's own.
const LEFT_OUT: [&str; 11] =
    ["console", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "tty", "urandom"];

/// Every device of the host, for `--privileged`.
pub fn all() -> Vec<Device> {
    fn walk(folder: &Path, found: &mut Vec<Device>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let Ok(kind) = entry.file_type() else { continue };
            if folder == Path::new("/dev") && (LEFT_OUT.iter().any(|out| name == *out) || name == "zero") {
                continue;
            }
            if kind.is_dir() {
                walk(&path, found);
            } else if kind.is_char_device() || kind.is_block_device() {
                found.push(Device { source: path.clone(), target: path, access: "rwm".into() });
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new("/dev"), &mut found);
    found.sort_by(|one, other| one.target.cmp(&other.target));
    found
}

/// Copies on their way from the host's tree to the container's. The child of `spawn` has one thread and a memory of
/// its own: nobody else puts anything here.
static CARRIED: Mutex<Vec<(PathBuf, Detached)>> = Mutex::new(Vec::new());

/// Takes copies of devices while the host's files can still be seen.
pub struct Take(pub Vec<Device>);

impl Isolation for Take {
    fn name(&self) -> &'static str {
        "devices"
    }

    // ANCHOR: take
    fn prepare(&mut self, _birth: &mut Birth) -> Result<()> {
        self.0.iter().try_for_each(|device| device.rule().map(drop))
    }

    fn inside(&mut self) -> Result<()> {
        let mut carried = CARRIED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for Device { source, target, .. } in &self.0 {
            let copy = Detached::bind(source)?;
            restrict(copy.as_fd(), MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC)?;
            carried.push((target.clone(), copy));
        }
        Ok(())
    }
    // ANCHOR_END: take
}

// ANCHOR: place
/// Gives the copies their places in the container, whose root is ours now.
///
/// # Errors
/// Whatever stands in the way there.
pub fn place_carried() -> Result<()> {
    let root = Root::current()?;
    let carried = std::mem::take(&mut *CARRIED.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    for (target, copy) in carried {
        let place = resolve::place(root.as_fd(), &target, Place::File, Links::Refuse)?;
        resolve::check(root.as_fd(), place.as_fd(), &target, Place::File)?;
        copy.attach(place.as_fd()).during("move_mount", target.display())?;
    }
    Ok(())
}
// ANCHOR_END: place

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read() {
        for (text, target, access) in [
            ("/dev/fuse", "/dev/fuse", "rwm"),
            ("/dev/fuse:r", "/dev/fuse", "r"),
            ("/dev/fuse:/dev/other", "/dev/other", "rwm"),
            ("/dev/fuse:/dev/other:mrw", "/dev/other", "mrw"),
        ] {
            let expected =
                Device { source: "/dev/fuse".into(), target: target.into(), access: access.into() };
            assert_eq!(Device::parse(text).unwrap(), expected, "{text}");
        }
        assert_eq!(Device::parse("/dev/zero:rw").unwrap().rule().unwrap().to_string(), "c 1:5 rw");
        for text in ["", "fuse", "/dev/fuse:", "/dev/fuse:/dev/../x", "/dev/fuse:/dev/x:z", "/a:/b:rwm:x"] {
            assert!(Device::parse(text).is_err(), "{text}");
        }
        assert!(all().iter().all(|device| !device.target.starts_with("/dev/pts")));
    }
}
