//! The one controller whose new cgroups are of no use: a cpuset of version 1 begins with no processor and no memory, and
//! nothing can run in it. Version 2 reads an empty file as "whatever the parent has". See cpuset(7).

use std::path::PathBuf;

use process::Result;

use crate::place::Top;
use crate::{Controller, Folder, Version};

// ANCHOR: inherit
/// Gives a new cgroup what its parent has, where it has nothing.
///
/// # Errors
/// The parent has nothing either.
pub fn inherit(folder: &Folder, parent: &Folder) -> Result<()> {
    if folder.version == Version::V2 || !folder.controllers.contains(&Controller::Cpuset) {
        return Ok(());
    }
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if folder.read(file)?.trim().is_empty() {
            folder.write(file, parent.read(file)?.trim())?;
        }
    }
    Ok(())
}
// ANCHOR_END: inherit

/// The same along a way of folders, each from the one before.
///
/// # Errors
/// As for [`inherit`].
pub fn inherit_along(way: &[PathBuf], top: &Top) -> Result<()> {
    let folders = way
        .iter()
        .map(|path| Folder::open(top.version, &top.controllers, path))
        .collect::<Result<Vec<_>>>()?;
    folders.windows(2).try_for_each(|pair| inherit(&pair[1], &pair[0]))
}
