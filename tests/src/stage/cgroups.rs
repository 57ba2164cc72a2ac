//! Where a test finds control groups: the lab's own hierarchies, and in them what the engine makes.
//!
//! The two versions differ in folders and files; a test says both on one line and reads what is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::verdict::{Trouble, Verdict, fail};
use crate::lab::cgroups::{NO_CGROUPS, own, tree};

/// The name of the container in most tests.
pub const NAME: &str = "quay";

/// Which interface a controller speaks here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// A hierarchy for each controller.
    V1,
    /// One for all.
    V2,
}

/// A controller's hierarchy in this lab.
#[derive(Debug, Clone)]
pub struct Hierarchy {
    /// Its interface.
    pub version: Version,
    /// Where it is mounted; this is the lab's own group.
    pub top: PathBuf,
}

/// The hierarchy of a controller, by its name in version 2; `freezer` and `devices` too, which are no controllers there.
///
/// # Errors
/// It cannot be tried here: the reason with its fix.
pub fn hierarchy(controller: &str) -> Result<Hierarchy, Trouble> {
    let all = own();
    if all.is_empty() {
        return Err(Trouble::Skipped(NO_CGROUPS.to_owned()));
    }
    let name = if controller == "io" { "blkio" } else { controller };
    let is_v1_of = |top: &&PathBuf| {
        let names = top.file_name().unwrap_or_default().to_string_lossy();
        !is_v2(top) && names.split(',').any(|one| one == name)
    };
    if let Some(top) = all.iter().find(is_v1_of) {
        return Ok(Hierarchy { version: Version::V1, top: top.clone() });
    }
    let has = |top: &&PathBuf| {
        let offered = fs::read_to_string(top.join("cgroup.controllers")).unwrap_or_default();
        let core = ["cpuacct", "devices", "freezer"].contains(&controller);
        is_v2(top) && (core || offered.split_whitespace().any(|word| word == controller))
    };
    match all.iter().find(has) {
        Some(top) => Ok(Hierarchy { version: Version::V2, top: top.clone() }),
        None => Err(Trouble::Skipped(format!(
            "the controller `{controller}` is not handed on to this lab; `cargo workshop doctor` tells the fix"
        ))),
    }
}

fn is_v2(top: &Path) -> bool {
    top.join("cgroup.controllers").exists()
}

impl Hierarchy {
    /// The group of a container.
    pub fn group(&self, name: &str) -> PathBuf {
        self.top.join("gantry").join(name)
    }

    /// The one of two that fits.
    pub fn pick<T>(&self, v1: T, v2: T) -> T {
        if self.version == Version::V1 { v1 } else { v2 }
    }
}

/// The text of a file in a container's group.
///
/// # Errors
/// It is not there.
pub fn read(controller: &str, name: &str, [v1, v2]: [&str; 2]) -> Result<String, Trouble> {
    let hierarchy = hierarchy(controller)?;
    let file = hierarchy.group(name).join(hierarchy.pick(v1, v2));
    match fs::read_to_string(&file) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) => Err(fail(format!("{} can be read", file.display()), error)),
    }
}

/// The number behind a word of a flat keyed file, `oom_kill 3`.
///
/// # Errors
/// As [`read`]; or the word is not in the file.
pub fn count(controller: &str, name: &str, files: [&str; 2], words: [&str; 2]) -> Result<u64, Trouble> {
    let word = hierarchy(controller)?.pick(words[0], words[1]);
    let text = read(controller, name, files)?;
    let value = text.lines().find_map(|line| line.split_once(' ').filter(|(key, _)| *key == word));
    value
        .and_then(|(_, value)| value.trim().parse().ok())
        .ok_or_else(|| fail(format!("a line `{word} NUMBER` in {files:?}"), text))
}

/// All groups in this lab, with those that the lab itself has.
pub fn groups() -> BTreeSet<PathBuf> {
    own().iter().flat_map(|top| tree(top)).collect()
}

/// There must be no container's group any more.
///
/// # Errors
/// There is one; where.
pub fn none_is_left(after: &str) -> Verdict {
    let left: Vec<String> = groups()
        .into_iter()
        .filter(|folder| folder.iter().any(|part| part == "gantry"))
        .map(|folder| folder.display().to_string())
        .collect();
    if left.is_empty() {
        Ok(())
    } else {
        Err(fail(format!("no cgroup is left after {after}"), left.join(" ")))
    }
}
