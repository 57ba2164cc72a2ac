//! Processors and memory nodes: the one controller whose new cgroups are of no use. A cpuset of version 1 begins with no processor and no memory, and
//! nothing can run in it. Version 2 reads an empty file as "whatever the parent has". See cpuset(7).

use std::collections::BTreeSet;
use std::path::PathBuf;

use process::{Error, Result};

use crate::place::Top;
use crate::{Controller, Folder, Version};

/// More processors than any kernel is built for.
const MOST: u32 = 1 << 16;

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

// ANCHOR: list
/// The numbers in a list such as `0-2,7`; none if it is written wrong or empty.
pub fn numbers(list: &str) -> Option<BTreeSet<u32>> {
    let mut all = BTreeSet::new();
    // Which the kernel does not read as a number.
    if list.contains('+') {
        return None;
    }
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        // No machine has so many; a list of all of them would fill our memory.
        if first > last || last > MOST {
            return None;
        }
        all.extend(first..=last);
    }
    Some(all)
}

/// Makes sure that a cpuset really has what was written: version 2 takes any list, and uses what there is of it.
///
/// # Errors
/// It has not.
pub fn must_have(folder: &Folder, file: &str, wanted: &str) -> Result<()> {
    if folder.version == Version::V1 {
        return Ok(());
    }
    let effective = folder.read(&format!("{file}.effective"))?;
    if numbers(&effective) != numbers(wanted) {
        let cause = format!("of these the cgroup around it has {}", effective.trim());
        return Err(Error::refused("use", format!("{file} {wanted}"), cause));
    }
    Ok(())
}
// ANCHOR_END: list

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

#[cfg(test)]
mod tests {
    use super::numbers;

    #[test]
    fn a_list_is_numbers_and_ranges() {
        assert_eq!(numbers("0-2,7\n").unwrap().into_iter().collect::<Vec<_>>(), [0, 1, 2, 7]);
        for wrong in ["", ",", "2-1", "x", "0-", "-1", "0-4294967295", "0 1", "+0"] {
            assert!(numbers(wrong).is_none(), "{wrong}");
        }
    }
}
