//! What a lab sees at `/sys/fs/cgroup`: its own groups, mounted anew, in the folders that the machine has.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::{Hierarchy, Kind, TOP};

const QUIET: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);

/// Mounts the hierarchies; where each of them is. We are in a cgroup namespace whose root is the lab's groups.
///
/// # Errors
/// A mount is refused; with its place.
pub fn mount_all<'a>(all: impl Iterator<Item = &'a Hierarchy> + Clone) -> Result<Vec<PathBuf>> {
    // In an ordinary user's lab it is locked, and stays, covered.
    let uncovered = umount2(TOP, MntFlags::MNT_DETACH).is_ok();
    // On a mount of the same hierarchy no second one may lie.
    if !uncovered || !is_alone(all.clone()) {
        mount(Some("tmpfs"), TOP, Some("tmpfs"), QUIET, Some("mode=755,size=1m"))
            .with_context(|| format!("mount a tmpfs on {TOP}"))?;
    }
    let mut places = Vec::new();
    for one in all.clone() {
        let place = place(one, all.clone());
        fs::create_dir_all(&place).with_context(|| format!("make {}", place.display()))?;
        let (kind, options) = match &one.kind {
            Kind::V2 => ("cgroup2", None),
            Kind::V1(options) => ("cgroup", Some(options.as_str())),
        };
        mount(Some(kind), &place, Some(kind), QUIET, options)
            .with_context(|| format!("mount {kind} on {}", place.display()))?;
        if let Some(names) = options {
            links(&place, names);
        }
        places.push(place);
    }
    Ok(places)
}

/// Where a hierarchy is mounted in a lab that has all of these.
pub fn place<'a>(one: &Hierarchy, all: impl Iterator<Item = &'a Hierarchy>) -> PathBuf {
    match one.point.file_name() {
        Some(name) if !is_alone(all) => Path::new(TOP).join(name),
        _ => PathBuf::from(TOP),
    }
}

/// Whether there is version 2 and nothing else, which is mounted on the top itself.
fn is_alone<'a>(mut all: impl Iterator<Item = &'a Hierarchy>) -> bool {
    all.all(|one| one.kind == Kind::V2 && one.point == Path::new(TOP))
}

/// Two controllers in one hierarchy can be found by the name of each.
fn links(place: &Path, names: &str) {
    let Some(target) = place.file_name() else { return };
    for name in names.split(',').filter(|name| *name != "none" && Path::new(name) != Path::new(target)) {
        let name = name.trim_start_matches("name=");
        if Path::new(name) != Path::new(target) {
            let _ = symlink(target, place.with_file_name(name));
        }
    }
}
