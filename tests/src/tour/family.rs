//! Who descends from whom: by it we find the container's process, from its host and from around the lab.
//!
//! The lab is made of namespaces too, so the same process has one more number on this machine itself.

use std::collections::BTreeMap;
use std::fs;

use super::view;

struct Process {
    parent: i32,
    numbers: Vec<i32>,
}

/// The one child of process `pid`, if it has one.
pub fn child_of(pid: i32) -> Option<i32> {
    processes().into_iter().find_map(|(child, process)| (process.parent == pid).then_some(child))
}

/// The numbers of the process that a lab started by our child `lab` knows by `inner`: ours first, then those.
/// None if `/proc` does not show it.
pub fn numbers_here(lab: i32, inner: &[i32]) -> Option<Vec<i32>> {
    let all = processes();
    let found = all.iter().find(|(pid, process)| {
        let deeper = process.numbers.len() > inner.len() && process.numbers.ends_with(inner);
        deeper && descends(**pid, lab, &all)
    });
    found.map(|(_, process)| process.numbers.clone())
}

/// Every process that we may read.
fn processes() -> BTreeMap<i32, Process> {
    let process = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        let parent = view::field(&status, "PPid:").ok()?.parse().ok()?;
        Some((pid, Process { parent, numbers: view::numbers(&status).ok()? }))
    };
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(process).collect()
}

/// Whether `ancestor` is among the parents of `pid`, their parents, and so on.
fn descends(pid: i32, ancestor: i32, all: &BTreeMap<i32, Process>) -> bool {
    let mut at = pid;
    // A chain is never longer than there are processes; a snapshot may hold a circle.
    for _ in 0..all.len() {
        let Some(process) = all.get(&at) else { return false };
        at = process.parent;
        if at == ancestor {
            return true;
        }
    }
    false
}
