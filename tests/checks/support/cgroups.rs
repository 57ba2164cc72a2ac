//! The machine's control groups as they must stay: which there are, and what is set in them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use workshop::lab::cgroups::{TOP, tree};

/// Files that say how a group is set, of both versions, and what no lab may change in a group of the machine's.
const SETTINGS: [&str; 14] = [
    "cgroup.clone_children",
    "cgroup.freeze",
    "cgroup.subtree_control",
    "cgroup.type",
    "cpu.cfs_quota_us",
    "cpu.max",
    "cpuset.cpus",
    "cpuset.mems",
    "devices.list",
    "freezer.state",
    "memory.limit_in_bytes",
    "memory.max",
    "notify_on_release",
    "pids.max",
];

/// Every group with its settings.
pub type Groups = BTreeMap<PathBuf, String>;

/// What there is now.
pub fn look() -> Groups {
    let settings = |folder: &Path| -> String {
        let read = |name: &&'static str| Some((*name, fs::read_to_string(folder.join(name)).ok()?));
        SETTINGS.iter().filter_map(read).map(|(name, text)| format!("{name}: {}; ", text.trim())).collect()
    };
    let release_agent = |folder: &Path| fs::read_to_string(folder.join("release_agent")).unwrap_or_default();
    tree(Path::new(TOP))
        .into_iter()
        .map(|folder| (folder.clone(), settings(&folder) + &release_agent(&folder)))
        .collect()
}

/// What is different. Groups of the machine's own come and go meanwhile, ours may not stay.
pub fn harm(before: &Groups, after: &Groups) -> Vec<String> {
    let mut harm = Vec::new();
    for (folder, settings) in after {
        let ours = || folder.iter().any(|name| name.to_string_lossy().starts_with("gantry"));
        match before.get(folder) {
            Some(then) if then != settings => {
                harm.push(format!("{}: {then}, now {settings}", folder.display()));
            }
            None if ours() => harm.push(format!("a cgroup is left: {}", folder.display())),
            _ => {}
        }
    }
    harm
}
