//! Stage 6: groups that the container makes itself, below its own, whatever they are called, and however many.

use std::fs;
use std::os::unix::process::CommandExt;

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;

use super::cgroup::{ALONE, start_quay, stop};
use super::mount::{mount_tmpfs, unmount};
use crate::lab::cgroups::{own, tree};
use crate::stage::case::{Case, Running};
use crate::stage::cgroups::{NAME, Version, hierarchy, none_is_left, read};
use crate::stage::verdict::{Trouble, Verdict, holds, same};

/// As many open files as a small system allows.
const FILES: u64 = 256;

const WRITABLE: [&str; 3] = ["--cgroup-writable", "--pids-limit", "20"];

/// Where the container sees a controller's tree.
fn inside(controller: &str) -> Result<String, Trouble> {
    let version = hierarchy(controller)?.version;
    Ok(if version == Version::V1 { format!("/sys/fs/cgroup/{controller}") } else { "/sys/fs/cgroup".into() })
}

pub fn what_a_container_made_below_is_removed(case: &Case) -> Verdict {
    let (pids, folder) = (hierarchy("pids")?, inside("pids")?);
    let script = format!(
        "cut -d: -f3 /proc/self/cgroup | sort -u; echo max > {folder}/pids.max; mkdir -p {folder}/pier/mole && echo made; \
         sleep 1000 & echo $! > {folder}/pier/mole/cgroup.procs && echo moved; exec probe hold"
    );
    let running = start_quay(case, &WRITABLE, &["sh", "-c", &script])?;
    let said = running.out_so_far()?;
    holds(said.contains("made") && said.contains("moved"), "groups of its own can be made inside", &said)?;
    holds(said.starts_with("/\n"), "its root is all that it sees", &said)?;
    // Below its limits, not beside them.
    same("pids.max", "20".to_owned(), read("pids", NAME, ["pids.max"; 2])?)?;
    let below = tree(&pids.group(NAME));
    holds(below.iter().any(|group| group.ends_with("pier/mole")), "they are below", format!("{below:?}"))?;
    stop(running)?.code_is(0)?;
    none_is_left("a container with groups of its own")
}

/// A name that is no text, more groups than the runner may open files, and a process in the innermost.
pub fn odd_and_many_groups_below_are_removed(case: &Case) -> Verdict {
    let folder = inside("pids")?;
    let script = format!(
        "cd {folder} && mkdir \"$(printf 'odd\\377name')\" .hidden 'two words' && mkdir $(seq 1500) && \
         deep=$(printf 'deeper/%.0s' $(seq 300)) && mkdir -p \"$deep\" && \
         {{ sleep 1000 & echo $! > \"$deep/cgroup.procs\"; }} && exec probe hold"
    );
    let start = || with_few_files(case, &["sh", "-c", &script])?.until_ready();
    let running = start()?;
    case.run(&["kill", NAME])?.code_is(0)?;
    let run = running.ends("it was killed")?;
    run.code_is(137)?.claim(run.err.is_empty(), "nothing to tell: all of it is removed")?;
    none_is_left("a container with many groups of its own")?;
    // The same by the next run, when nobody was left to do it.
    let running = start()?;
    running.signal(Signal::SIGKILL)?;
    running.wait()?;
    with_few_files(case, &["echo", "next"])?.wait()?.code_is(0)?.out_is("next")?;
    none_is_left("its runner's end, and the next run")
}

/// Starts a container whose runner may have no more than some open files.
fn with_few_files(case: &Case, command: &[&str]) -> Result<Running, Trouble> {
    let words = [&["run"], &ALONE[..], &WRITABLE, &["--"], command].concat();
    case.start_with(&words, |command| {
        let limit = || Ok(setrlimit(Resource::RLIMIT_NOFILE, FILES, FILES)?);
        // SAFETY: one system call.
        unsafe { command.pre_exec(limit) };
    })
}

/// In version 1 who is frozen does not die: not before it is thawed, in its own group and in all above.
pub fn who_is_frozen_from_inside_is_killed(case: &Case) -> Verdict {
    let (freezer, folder) = (hierarchy("freezer")?, inside("freezer")?);
    let (file, word) = freezer.pick(("freezer.state", "FROZEN"), ("cgroup.freeze", "1"));
    let script = format!(
        "mkdir -p {folder}/pier/ice && {{ sleep 1000 & echo $! > {folder}/pier/ice/cgroup.procs; }} && \
         echo {word} > {folder}/pier/ice/{file} && exec probe hold"
    );
    let running = start_quay(case, &WRITABLE, &["sh", "-c", &script])?;
    case.run(&["kill", NAME])?.code_is(0)?;
    running.ends("a process that its container froze can be killed")?.code_is(137)?;
    none_is_left("a container that was killed")?;
    let running = start_quay(case, &WRITABLE, &["sh", "-c", &script])?;
    running.signal(Signal::SIGKILL)?;
    running.wait()?;
    case.run(&["clean"])?.code_is(0)?;
    none_is_left("a runner that was killed, and `clean`")
}

/// What does not go is told with its cause, and does not stop the rest; and what was never ours stays.
pub fn what_cannot_be_removed_is_told(case: &Case) -> Verdict {
    let pids = hierarchy("pids")?;
    let running = start_quay(case, &["--pids-limit", "20"], &["probe", "hold"])?;
    let others: Vec<_> = own().into_iter().map(|top| top.join("gantry/.theirs")).collect();
    others.iter().try_for_each(fs::create_dir_all)?;
    mount_tmpfs(&pids.group(NAME))?;
    let run = stop(running);
    let dead = pids.group("wreck");
    fs::create_dir(&dead)?;
    let clean = case.run(&["clean"]);
    unmount(&pids.group(NAME))?;
    run?.code_is(0)?.err_has("is something mounted on it?")?.err_is_one_line()?;
    clean?.code_is(125)?.err_has(NAME)?.err_is_one_line()?;
    holds(!dead.exists(), "one that cannot be removed does not stop the others", dead.display())?;
    case.run(&["clean"])?.code_is(0)?.out_has("cgroups removed: 1")?;
    let stay = others.iter().all(|other| other.exists());
    others.iter().try_for_each(fs::remove_dir)?;
    holds(stay, "a group under a name that is not ours stays", "it is gone")?;
    own().iter().for_each(|top| drop(fs::remove_dir(top.join("gantry"))));
    none_is_left("what could not be removed")
}
