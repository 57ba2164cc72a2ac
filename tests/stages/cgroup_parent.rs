//! Stage 6: below somebody else's group. It stays what it was, and so do the processes in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use super::cgroup::{ALONE, on_quay};
use crate::lab::cgroups::{own, tree};
use crate::stage::case::{Case, eventually};
use crate::stage::cgroups::{Version, hierarchy, none_is_left};
use crate::stage::verdict::{Verdict, holds, same};

pub fn a_parent_stays_its_owners(case: &Case) -> Verdict {
    let pids = hierarchy("pids")?;
    // One that was there, one to which nobody has handed anything down, one that is made on the way.
    let there = ["harbour", "pier/mole"].map(|name| pids.top.join(name));
    there.iter().try_for_each(fs::create_dir_all)?;
    for parent in ["/harbour", "/pier/mole", "/wharf/berth"] {
        let flags = ["--cgroup-parent", parent, "--pids-limit", "20", "-m", "64m"];
        on_quay(case, &flags, "exec probe fork-bomb")?.code_is(0)?.out_has("19 processes")?;
        let parent = pids.top.join(&parent[1..]);
        same("groups below the parent", vec![parent.clone()], tree(&parent))?;
    }
    on_quay(case, &["--cgroup-parent", "/harbour/gantry"], "echo ran")?
        .code_is(125)?
        .out_lacks("ran")?
        .err_has("--cgroup-parent")?
        .err_is_one_line()?;
    // In version 1 they were made in the other hierarchies, too.
    remove(&["harbour", "pier/mole", "pier", "wharf/berth", "wharf"])?;
    others_are_not_moved(case, &pids.top, pids.version)
}

/// Version 2 allows no processes beside controllers that are handed down; but those of others are not ours to move, and
/// their group does not become one for threads.
fn others_are_not_moved(case: &Case, top: &Path, version: Version) -> Verdict {
    let group = top.join("harbour");
    fs::create_dir(&group)?;
    let mut sleeper = Command::new("sleep").arg("1000").spawn()?;
    let tried = try_beside(case, &group, &sleeper, version);
    sleeper.kill()?;
    sleeper.wait()?;
    remove(&["harbour/berth", "harbour"])?;
    tried
}

fn try_beside(case: &Case, group: &Path, sleeper: &Child, version: Version) -> Verdict {
    fs::write(group.join("cgroup.procs"), sleeper.id().to_string())?;
    for parent in ["/harbour", "/harbour/berth"] {
        let limited = on_quay(case, &["--cgroup-parent", parent, "--pids-limit", "9"], "echo ran")?;
        match version {
            // There is no such rule.
            Version::V1 => limited.code_is(0)?,
            Version::V2 => limited.code_is(125)?.out_lacks("ran")?.err_has("there are processes in that")?,
        };
        on_quay(case, &["--cgroup-parent", parent], "echo ran")?.code_is(0)?.out_is("ran")?;
        let inside = fs::read_to_string(group.join("cgroup.procs"))?;
        same("who is in that group", sleeper.id().to_string(), inside.trim().to_owned())?;
        if version == Version::V2 {
            let kind = fs::read_to_string(group.join("cgroup.type"))?;
            same("what it is", "domain", kind.trim())?;
        }
    }
    none_is_left("containers below an occupied group")
}

/// Removes these groups from all hierarchies, where they are.
fn remove(names: &[&str]) -> Verdict {
    let all: Vec<PathBuf> =
        names.iter().flat_map(|name| own().into_iter().map(move |top| top.join(name))).collect();
    all.iter().try_for_each(|group| {
        eventually("the group can be removed", || Ok(!group.exists() || fs::remove_dir(group).is_ok()))
    })
}

/// Runs the engine in a PID namespace of its own, which shows it none of the processes that are in its way.
pub(super) fn who_has_no_number_is_not_moved(case: &Case, top: &Path) -> Verdict {
    let before = fs::read_to_string(top.join("cgroup.procs"))?;
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc"]).arg(case.program()).arg("run").args(ALONE);
    let output = command.args(["--pids-limit", "20", "--", "true"]).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    holds(output.status.code() == Some(125), "processes without a number are an error", &said)?;
    holds(said.contains("another PID namespace"), "it says so", &said)?;
    let now = fs::read_to_string(top.join("cgroup.procs"))?;
    let moved: Vec<&str> = before.lines().filter(|pid| !now.lines().any(|line| line == *pid)).collect();
    holds(moved.is_empty(), "nobody was moved", format!("{moved:?}"))
}
