//! Stage 6: what is claimed of `cgroup`, the runner of chapter 6: limits, and that they hold. What happens to a
//! container's processes together stands in `cgroup_life.rs`, what is left in `cgroup_end.rs` and `cgroup_below.rs`, whose
//! group it is below in `cgroup_parent.rs`, attacks in `cgroup_attacks.rs`.
//!
//! The claims are the same for both versions of control groups; where files and values differ, both stand side by side.
//! Every lab has groups of its own, so nothing here touches the machine's.

use std::process::Command;

use nix::sys::signal::Signal;

use super::cgroup_attacks::{
    a_second_view_shows_no_more, devices_are_refused_that_were_not_allowed,
    nothing_inside_raises_its_own_limit, release_agent_cannot_be_written,
};
use super::cgroup_below::{
    odd_and_many_groups_below_are_removed, what_a_container_made_below_is_removed,
    what_cannot_be_removed_is_told, who_is_frozen_from_inside_is_killed,
};
use super::cgroup_end::{
    a_killed_runner_leaves_nothing_for_long, a_lock_is_not_waited_for_for_ever,
    nothing_is_left_when_a_container_ends, wrong_use_is_told_in_one_line,
};
use super::cgroup_io::{a_slow_disk_is_slow, bounds_of_disks_are_written};
use super::cgroup_life::{
    a_container_has_a_cgroup_of_its_own, a_name_is_taken_once, a_pause_stops_and_unpause_goes_on,
    a_users_own_subtree_is_enough, controllers_are_handed_down, kill_leaves_nobody,
    limits_change_while_it_runs, processes_in_the_way_make_room, the_container_sees_its_own_tree,
    the_hosts_tree_is_shown_on_request, the_program_is_born_inside, what_is_not_there_is_named,
};
use super::cgroup_parent::a_parent_stays_its_owners;
use super::cgroup_stats::{controllers_are_listed, events_are_told, statistics_tell_what_was_used};
use crate::stage::case::{Case, Run, Running, eventually};
use crate::stage::cgroups::{NAME, Version, count, hierarchy, read};
use crate::stage::tests;
use crate::stage::verdict::{Trouble, Verdict, fail, holds, same};

tests![
    controllers_are_listed,
    controllers_are_handed_down,
    a_container_has_a_cgroup_of_its_own,
    a_name_is_taken_once,
    a_lock_is_not_waited_for_for_ever,
    nothing_is_left_when_a_container_ends,
    the_hosts_tree_is_shown_on_request,
    the_container_sees_its_own_tree,
    release_agent_cannot_be_written,
    devices_are_refused_that_were_not_allowed,
    limits_of_processors_are_written,
    limits_of_processes_are_written,
    a_fork_bomb_ends_at_the_limit,
    the_program_is_born_inside,
    a_fifth_of_a_processor_is_a_fifth,
    a_container_stays_on_its_processors,
    bounds_of_disks_are_written,
    a_slow_disk_is_slow,
    a_users_own_subtree_is_enough,
    nothing_inside_raises_its_own_limit,
    a_second_view_shows_no_more,
    what_a_container_made_below_is_removed,
    what_cannot_be_removed_is_told,
    wrong_use_is_told_in_one_line,
    limits_of_memory_are_written,
    a_memory_hog_dies_and_its_container_says_so,
    limits_change_while_it_runs,
    processes_in_the_way_make_room,
    what_is_not_there_is_named,
    a_parent_stays_its_owners,
    statistics_tell_what_was_used,
    kill_leaves_nobody,
    odd_and_many_groups_below_are_removed,
    who_is_frozen_from_inside_is_killed,
    a_pause_stops_and_unpause_goes_on,
    a_killed_runner_leaves_nothing_for_long,
    events_are_told,
];

/// A container with a root of its own, and no network: cables take time.
pub(super) const ALONE: [&str; 6] = ["--rootfs", "demo", "--network", "none", "--name", NAME];

/// A container that is not shown its cgroup: what makes it is tested before the view of it.
pub(super) const UNSEEN: [&str; 3] = ["--bare", "--cgroupns", "host"];

/// Runs a script in the container `quay`.
pub(super) fn on_quay(case: &Case, flags: &[&str], script: &str) -> Result<Run, Trouble> {
    hierarchy("pids")?;
    case.sh(&[&ALONE[..], flags].concat(), script)
}

/// Starts a program in the container `quay` that says `ready`, and returns when it has.
pub(super) fn start_quay(case: &Case, flags: &[&str], command: &[&str]) -> Result<Running, Trouble> {
    hierarchy("pids")?;
    case.start(&[&["run"], &ALONE[..], flags, &["--"], command].concat())?.until_ready()
}

/// Ends a container whose program listens to SIGTERM, and waits until its runner has cleaned up.
pub(super) fn stop(running: Running) -> Result<Run, Trouble> {
    running.signal(Signal::SIGTERM)?;
    running.ends("a signal ends the container")
}

/// A controller, and a file and its text in version 1 and in version 2.
type Line = (&'static str, [(&'static str, &'static str); 2]);

/// A container with these flags has these lines.
fn written(case: &Case, flags: &[&str], lines: &[Line]) -> Verdict {
    lines.iter().try_for_each(|(controller, _)| hierarchy(controller).map(drop))?;
    let running = start_quay(case, flags, &["probe", "hold"])?;
    for (controller, [(v1, one), (v2, two)]) in lines {
        let seen = read(controller, NAME, [v1, v2])?;
        let (file, expected) = hierarchy(controller)?.pick((v1, one), (v2, two));
        same(&format!("{file} with {}", flags.join(" ")), (*expected).to_owned(), seen)?;
    }
    stop(running)?.code_is(0)?;
    Ok(())
}

pub fn limits_of_processors_are_written(case: &Case) -> Verdict {
    written(
        case,
        &["--cpus", "1.5", "--cpu-shares", "1024", "--cpuset-cpus", "0", "--cpuset-mems", "0"],
        &[
            ("cpu", [("cpu.cfs_quota_us", "150000"), ("cpu.max", "150000 100000")]),
            ("cpu", [("cpu.shares", "1024"), ("cpu.weight", "100")]),
            ("cpuset", [("cpuset.cpus", "0"), ("cpuset.cpus", "0")]),
            ("cpuset", [("cpuset.mems", "0"), ("cpuset.mems", "0")]),
        ],
    )?;
    written(
        case,
        &["--cpu-period", "50000", "--cpu-quota", "20000", "--cpu-shares", "512"],
        &[
            ("cpu", [("cpu.cfs_quota_us", "20000"), ("cpu.max", "20000 50000")]),
            ("cpu", [("cpu.cfs_period_us", "50000"), ("cpu.max", "20000 50000")]),
            ("cpu", [("cpu.shares", "512"), ("cpu.weight", "59")]),
        ],
    )
}

pub fn limits_of_memory_are_written(case: &Case) -> Verdict {
    written(
        case,
        &["-m", "64m", "--memory-swap", "96m", "--memory-reservation", "32m"],
        &[
            ("memory", [("memory.limit_in_bytes", "67108864"), ("memory.max", "67108864")]),
            // Version 1 counts memory and swap together, version 2 swap alone.
            ("memory", [("memory.memsw.limit_in_bytes", "100663296"), ("memory.swap.max", "33554432")]),
            ("memory", [("memory.soft_limit_in_bytes", "33554432"), ("memory.low", "33554432")]),
        ],
    )?;
    // As much swap as memory, if nothing is said about it.
    written(
        case,
        &["--memory", "64m"],
        &[("memory", [("memory.memsw.limit_in_bytes", "134217728"), ("memory.swap.max", "67108864")])],
    )
}

pub fn limits_of_processes_are_written(case: &Case) -> Verdict {
    written(case, &["--pids-limit", "100"], &[("pids", [("pids.max", "100"), ("pids.max", "100")])])?;
    written(case, &["--pids-limit", "-1"], &[("pids", [("pids.max", "max"), ("pids.max", "max")])])
}

pub fn a_fork_bomb_ends_at_the_limit(case: &Case) -> Verdict {
    let bomb = start_quay(case, &["--pids-limit", "20"], &["probe", "fork-bomb", "hold"])?;
    // Nineteen, and the bomb itself.
    let said = bomb.out_so_far()?;
    holds(said.contains("19 processes, then: EAGAIN"), "19 processes, then: EAGAIN", &said)?;
    same("pids.current", "20".to_owned(), read("pids", NAME, ["pids.current"; 2])?)?;
    // Forks that were refused.
    let refused = count("pids", NAME, ["pids.events"; 2], ["max"; 2])?;
    holds(refused > 0, "pids.events counts what was refused", refused)?;
    for _ in 0..50 {
        let status = Command::new("true").status()?;
        holds(status.success(), "the host forks meanwhile", status)?;
    }
    stop(bomb)?.code_is(0)?;
    Ok(())
}

pub fn a_memory_hog_dies_and_its_container_says_so(case: &Case) -> Verdict {
    let limit = ["-m", "24m"];
    let modest = start_quay(case, &limit, &["probe", "eat", "8m"])?;
    stop(modest)?.code_is(0)?.claim_quiet()?;
    let hog = on_quay(case, &limit, "exec probe eat 200m")?;
    hog.code_is(137)?.err_has("my-cgroup: oom: ")?.out_lacks("ready")?;
    hog.err_is_one_line()?;
    // Who is killed by somebody else has the same code, and no such line.
    let killed = on_quay(case, &limit, "kill -9 $$; sh -c 'kill -9 $$'; exit 137")?;
    killed.code_is(137)?.claim_quiet()?;
    // One of the container's processes, not its first: the container lives on, and says so at its end.
    let survived = on_quay(case, &limit, "probe eat 200m; echo $?")?;
    survived.code_is(0)?.out_is("137")?.err_has("my-cgroup: oom: ")?;
    Ok(())
}

impl Run {
    /// Nothing is said about memory.
    fn claim_quiet(&self) -> Result<&Run, Trouble> {
        self.claim(!self.err.contains("oom"), "nothing about `oom` on stderr")
    }
}

/// What `probe burn` says that it got, in percent.
pub(super) fn percent(text: &str) -> Result<f64, Trouble> {
    let word = text.lines().find_map(|line| line.strip_suffix(" percent")?.rsplit(' ').next()?.parse().ok());
    word.ok_or_else(|| fail("`probe burn` says what it got", text))
}

/// Whether a container of `probe burn N; exec probe hold` is at its second step, and hears signals.
pub(super) fn is_burned(running: &Running) -> Result<bool, Trouble> {
    Ok(running.out_so_far()?.matches("ready").count() == 2)
}

/// How often it is measured again: while others keep all processors busy, less than the limit arrives.
const TRIES: usize = 3;

pub fn a_fifth_of_a_processor_is_a_fifth(case: &Case) -> Verdict {
    hierarchy("cpu")?;
    let mut got = 0.0;
    for _ in 0..TRIES {
        got = a_fifth(case)?;
        holds(got <= 23.0, "not more than 20 percent of a processor in 5 s, give or take 3", got)?;
        if got >= 17.0 {
            break;
        }
    }
    holds(got >= 17.0, "not less than 20 percent of a processor in 5 s, give or take 3", got)?;
    // Without a limit there is more, whenever others on this machine leave as much.
    eventually("without a limit it gets more", || {
        Ok(percent(&on_quay(case, &[], "probe burn 0.5")?.out)? > 23.0)
    })
}

/// What a container with a fifth of a processor gets in five seconds, in percent.
fn a_fifth(case: &Case) -> Result<f64, Trouble> {
    let script = "probe burn 5; exec probe hold";
    let words = [&["run"], &ALONE[..], &["--cpus", "0.2", "--", "sh", "-c", script]].concat();
    let busy = case.start(&words)?.until("`probe burn` comes to its end", is_burned)?;
    let got = percent(&busy.out_so_far()?)?;
    // Some fifty periods of a tenth of a second. In how many of them the quota was used up depends on others, too: who
    // gets a little less than the quota is not held back by it.
    let throttled = count("cpu", NAME, ["cpu.stat"; 2], ["nr_throttled"; 2])?;
    holds(throttled > 0 || got < 17.0, "cpu.stat counts the throttled periods", throttled)?;
    let waited = count("cpu", NAME, ["cpu.stat"; 2], ["throttled_time", "throttled_usec"])?;
    holds(waited > 0 || got < 17.0, "cpu.stat says for how long", waited)?;
    stop(busy)?.code_is(0)?;
    Ok(got)
}

pub fn a_container_stays_on_its_processors(case: &Case) -> Verdict {
    hierarchy("cpuset")?;
    let script = "grep -E 'Cpus_allowed_list|Mems_allowed_list' /proc/self/status";
    let run = on_quay(case, &["--cpuset-cpus", "0", "--cpuset-mems", "0"], script)?;
    let words: Vec<&str> = run.out.split_whitespace().collect();
    run.code_is(0)?.claim(
        words == ["Cpus_allowed_list:", "0", "Mems_allowed_list:", "0"],
        "the first of each, and no other",
    )?;
    for wrong in ["4000", "0-4000", "harbour", "1-0"] {
        on_quay(case, &["--cpuset-cpus", wrong], "true")?.code_is(125)?.err_is_one_line()?;
    }
    // Nothing said: all that the lab has.
    let all = on_quay(case, &[], "grep Cpus_allowed_list /proc/self/status")?;
    let ours = std::fs::read_to_string("/proc/self/status")?;
    let ours = ours.lines().find(|line| line.starts_with("Cpus_allowed_list")).unwrap_or_default();
    all.code_is(0)?.out_is(ours)?;
    Ok(())
}

/// Whether limits are checked by version 1, whose groups a mount made elsewhere can show.
pub(super) fn is_v1(controller: &str) -> Result<bool, Trouble> {
    Ok(hierarchy(controller)?.version == Version::V1)
}
