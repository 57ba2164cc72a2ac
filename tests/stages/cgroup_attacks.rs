//! Stage 6, the attacks: a program inside that wants more than it was given.
//!
//! Two lines hold before chapter 8. The view is mounted read-only in the container's own cgroup namespace; and what a
//! second, writable view would show belongs to others (in a user namespace with ids of its own), or is refused by the
//! kernel (version 2, mounted with `nsdelegate`). What remains is version 1 and a root inside who is root outside:
//! chapter 8 takes CAP_SYS_ADMIN away, which mounting needs. There only the bounds of the view are tested here.

use std::fs;

use super::cgroup::{is_v1, on_quay, start_quay, stop};
use super::user::has_many_ids;
use crate::lab::Ground;
use crate::stage::case::Case;
use crate::stage::cgroups::{NAME, Version, hierarchy, none_is_left, read};
use crate::stage::verdict::{Verdict, holds, same};

/// The attack: mounts the hierarchy of `pids` anew at /mnt.
fn mount_anew() -> Result<String, crate::stage::verdict::Trouble> {
    Ok(if is_v1("pids")? { "mount -t cgroup -o pids none /mnt" } else { "mount -t cgroup2 none /mnt" }
        .to_owned())
}

pub fn nothing_inside_raises_its_own_limit(case: &Case) -> Verdict {
    let folder = if is_v1("pids")? { "/sys/fs/cgroup/pids" } else { "/sys/fs/cgroup" };
    let write = format!("for f in pids.max ../pids.max ../../pids.max; do echo max > {folder}/$f; done");
    let leave = format!("for f in .. ../.. .; do echo 0 > {folder}/$f/cgroup.procs; done");
    let plain = format!("cat {folder}/pids.max; {write}; {leave}; echo tried; exec probe hold");
    // The view is made writable again, and a second one is mounted.
    let mounts = format!(
        "mount -o remount,rw {folder}; mount -o remount,rw,bind {folder} && echo writable; \
         {} && echo max > /mnt/pids.max; {write}; {plain}",
        mount_anew()?
    );
    limit_stays(case, &[], &plain)?;
    if !is_v1("pids")? {
        // `nsdelegate`.
        limit_stays(case, &[], &mounts)?;
    }
    // Version 1: who is the owner of the files, and may mount, can write them. Left to chapter 8, which takes
    // CAP_SYS_ADMIN; but where the container's ids are others outside, nothing there belongs to its root.
    if has_many_ids(case) {
        limit_stays(case, &["--uid-map", "0:100000:65536"], &mounts)?;
    }
    Ok(())
}

fn limit_stays(case: &Case, flags: &[&str], script: &str) -> Verdict {
    let flags = [flags, &["--pids-limit", "20"]].concat();
    let running = start_quay(case, &flags, &["sh", "-c", script])?;
    let said = running.out_so_far()?;
    let limit = read("pids", NAME, ["pids.max"; 2])?;
    let procs = read("pids", NAME, ["cgroup.procs"; 2])?;
    stop(running)?;
    holds(said.contains("20\ntried\n"), "it sees its limit, and tries", &said)?;
    same("the limit", "20".to_owned(), limit)?;
    same("processes in the container's group", 1, procs.lines().count())
}

pub fn a_second_view_shows_no_more(case: &Case) -> Verdict {
    let own = "cut -d: -f3 /proc/self/cgroup | sort -u";
    let script = format!(
        "{own}; {} && ls -d /mnt/*/ && echo more; echo max > /mnt/pids.max; cat /mnt/pids.max; \
         echo 0 > /mnt/../cgroup.procs; echo tried; exec probe hold",
        mount_anew()?
    );
    let neighbour = case.start(&[
        "run",
        "--rootfs",
        "demo",
        "--network",
        "none",
        "--name",
        "pier",
        "--",
        "probe",
        "hold",
    ])?;
    let neighbour = neighbour.until_ready()?;
    let running = start_quay(case, &["--pids-limit", "20"], &["sh", "-c", &script])?;
    let said = running.out_so_far()?;
    let limit = read("pids", NAME, ["pids.max"; 2])?;
    let whole = fs::read_to_string(hierarchy("pids")?.top.join("pids.max"))?;
    stop(running)?;
    stop(neighbour)?;
    holds(said.starts_with("/\n") && said.contains("tried"), "its own group is its root", &said)?;
    holds(
        !said.contains("more") && !said.contains("pier"),
        "a second view shows no groups of others",
        &said,
    )?;
    same("the limit of the lab", "1024", whole.trim())?;
    let left_to_chapter_8 = is_v1("pids")?;
    holds(left_to_chapter_8 || limit == "20", "the limit is still 20", limit)?;
    none_is_left("both")
}

/// CVE-2022-0492: the kernel runs `release_agent` as the machine's root when a group becomes empty.
pub fn release_agent_cannot_be_written(case: &Case) -> Verdict {
    let v1 = is_v1("pids")?;
    let script = format!(
        "for d in /sys/fs/cgroup /sys/fs/cgroup/*; do echo /evil > $d/release_agent; done; \
         for c in pids memory rdma cpu devices; do mkdir -p /tmp/$c && mount -t cgroup -o $c none /tmp/$c && \
         echo /evil > /tmp/$c/release_agent && echo $c written; done; \
         mount -t cgroup -o none,name=evil none /mnt && echo /evil > /mnt/release_agent && echo new written; \
         find /sys/fs/cgroup /tmp /mnt -name release_agent; echo tried; {}",
        "exec probe hold"
    );
    let running = start_quay(case, &[], &["sh", "-c", &script])?;
    let said = running.out_so_far()?;
    let agents: Vec<String> = if v1 {
        let tops = crate::lab::cgroups::own();
        tops.iter().filter_map(|top| fs::read_to_string(top.join("release_agent")).ok()).collect()
    } else {
        Vec::new()
    };
    stop(running)?;
    let agents: Vec<&String> = agents.iter().filter(|agent| agent.contains("evil")).collect();
    holds(agents.is_empty(), "no release_agent is changed", format!("{agents:?}"))?;
    holds(said.contains("tried"), "all of it was tried", &said)?;
    // Left to chapter 8: the machine's root may make a hierarchy of version 1 that nobody has yet, with its own agent.
    let expected = case.ground == Ground::Root || !said.contains("written");
    holds(expected, "no release_agent is in reach", &said)?;
    holds(
        !["pids", "memory"].iter().any(|name| v1 && said.contains(&format!("{name} written"))),
        "none that is in use",
        &said,
    )
}

pub fn devices_are_refused_that_were_not_allowed(case: &Case) -> Verdict {
    let devices = hierarchy("devices")?;
    // The usual ones work for everybody.
    let usual = "echo x > /dev/null && head -c 4 /dev/zero | wc -c && head -c 4 /dev/urandom | wc -c && \
                 test -c /dev/tty && test -c /dev/full && echo ok";
    on_quay(case, &[], usual)?.code_is(0)?.out_is("4\n4\nok")?;
    if case.ground == Ground::Root {
        // A disk, the machine's memory, and a terminal of the machine.
        for node in ["b 7 0", "c 1 1", "c 4 1"] {
            let run = on_quay(case, &[], &format!("probe device {node}"))?;
            run.code_is(1)?.err_has("open: Operation not permitted")?;
        }
        let rule = ["--device-cgroup-rule", "b 7:* rwm"];
        on_quay(case, &rule, "probe device b 7 0")?.code_is(0)?.out_has("can be opened")?;
        on_quay(case, &rule, "probe device c 1 1")?.code_is(1)?.err_has("open: Operation not permitted")?;
        // Reading is not writing.
        let reading = ["--device-cgroup-rule", "b 7:0 rm"];
        on_quay(case, &reading, "probe device b 7 0")?
            .code_is(1)?
            .err_has("open: Operation not permitted")?;
    } else {
        // A user namespace makes no nodes; those of the machine are not in its /dev.
        on_quay(case, &[], "probe device b 7 0")?.code_is(1)?.err_has("mknod")?;
    }
    let version = devices.version;
    holds(
        matches!(version, Version::V1 | Version::V2),
        "a hierarchy of either version",
        format!("{version:?}"),
    )
}
