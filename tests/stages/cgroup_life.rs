//! Stage 6: being born in a cgroup, what is seen of it, and what happens to all of its processes at once.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use nix::unistd::mkdir;

use super::cgroup::{ALONE, UNSEEN, is_v1, on_quay, start_quay, stop};
use super::cgroup_parent::who_has_no_number_is_not_moved;
use super::mount::{mount_tmpfs, unmount};
use super::user::{become_ordinary, own_demo};
use crate::lab::Ground;
use crate::lab::cgroups::{SCOPE, TOP, own, tree};
use crate::stage::case::{Case, Running, children_of, eventually, state_of};
use crate::stage::cgroups::{Hierarchy, NAME, Version, count, hierarchy, none_is_left, read};
use crate::stage::verdict::{Trouble, Verdict, fail, holds, same};

/// Where a process is, in each hierarchy that the engine uses: its path as this lab sees it.
fn places_of(pid: i32) -> Result<Vec<(String, String)>, Trouble> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let place = |line: &str| {
        let (names, path) = line.split_once(':')?.1.split_once(':')?;
        // Groups without a controller are others' (`name=systemd`).
        (!names.contains('=')).then(|| (names.to_owned(), path.to_owned()))
    };
    Ok(text.lines().filter_map(place).collect())
}

/// The container's first process, as this lab numbers it.
fn first_process(running: &Running) -> Result<i32, Trouble> {
    children_of(running.pid()).first().copied().ok_or_else(|| fail("the runner has a child", "none"))
}

pub fn a_container_has_a_cgroup_of_its_own(case: &Case) -> Verdict {
    let running = start_quay(case, &UNSEEN, &["probe", "hold"])?;
    let first = first_process(&running)?;
    for (names, path) in places_of(first)? {
        same(&format!("the place in the hierarchy `{names}`"), format!("/gantry/{NAME}"), path)?;
    }
    same("cgroup.procs", first.to_string(), read("pids", NAME, ["cgroup.procs"; 2])?)?;
    stop(running)?.code_is(0)?;
    // Without a name it has one of twelve hexadecimal digits.
    let words = "run --rootfs demo --network none --bare --cgroupns host -- probe hold".split(' ');
    let words: Vec<&str> = words.collect();
    let running = case.start(&words)?.until_ready()?;
    let named = hierarchy("pids")?.top.join("gantry");
    let names: Vec<String> = folders(&named)?;
    let is_digits = |name: &String| name.len() == 12 && name.chars().all(|c| c.is_ascii_hexdigit());
    stop(running)?.code_is(0)?;
    holds(
        names.len() == 1 && names.iter().all(is_digits),
        "one group, named by twelve digits",
        format!("{names:?}"),
    )?;
    none_is_left("a container")
}

/// The names of the folders in a folder.
fn folders(folder: &Path) -> Result<Vec<String>, Trouble> {
    let entries = fs::read_dir(folder)?.flatten().filter(|entry| entry.path().is_dir());
    Ok(entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

pub fn the_program_is_born_inside(case: &Case) -> Verdict {
    // With a limit of one process, the very first fork is one too many.
    let one = on_quay(case, &["--pids-limit", "1"], "exec probe fork-bomb")?;
    one.code_is(0)?.out_has("0 processes, then: EAGAIN")?;
    born_in_no_other(case)
}

/// `gantry` hands on all that there is: what a runner finds that lives, it leaves, with the controllers that it has.
pub fn controllers_are_handed_down(case: &Case) -> Verdict {
    let pids = hierarchy("pids")?;
    // What a living runner would have: its groups, and the lock on the first.
    let tops: Vec<PathBuf> = own().into_iter().filter(|top| !top.ends_with("systemd")).collect();
    let groups: Vec<PathBuf> = tops.iter().map(|top| top.join("gantry").join(NAME)).collect();
    groups.iter().try_for_each(fs::create_dir_all)?;
    let locked: Vec<_> = groups.iter().map(|group| lock(group)).collect::<Result<_, _>>()?;
    let run = case.run(&["clean"])?;
    let on = match pids.version {
        Version::V1 => fs::read_to_string(hierarchy("cpuset")?.top.join("gantry/cpuset.cpus"))?,
        Version::V2 => fs::read_to_string(pids.top.join("gantry/cgroup.subtree_control"))?,
    };
    let there = groups.iter().all(|group| group.exists());
    drop(locked);
    run.code_is(0)?.claim(there, "the groups of a runner that lives stay")?;
    let expected: &[&str] = pids.pick(&[], &["cpu", "io", "memory", "pids"]);
    let missing: Vec<&&str> =
        expected.iter().filter(|name| !on.split_whitespace().any(|word| word == **name)).collect();
    holds(missing.is_empty() && !on.trim().is_empty(), "a container in `gantry` gets every controller", &on)?;
    case.run(&["clean"])?.code_is(0)?;
    none_is_left("`clean`, and no runner lives")
}

pub(super) fn lock(folder: &Path) -> Result<Flock<File>, Trouble> {
    Flock::lock(File::open(folder)?, FlockArg::LockExclusive).map_err(|(_, errno)| errno.into())
}

/// Version 2: where the runner is there is room for the runner alone, so whom it bears must be born elsewhere. Version
/// 1 knows no such birth, and moves the process before it becomes the program: that was seen above.
fn born_in_no_other(case: &Case) -> Verdict {
    if is_v1("pids")? {
        return Ok(());
    }
    let scope = hierarchy("pids")?.top.join(SCOPE);
    let present = fs::read_to_string(scope.join("pids.current"))?;
    let room: u32 = present.trim().parse::<u32>().unwrap_or_default() + 1;
    fs::write(scope.join("pids.max"), room.to_string())?;
    let run = on_quay(case, &[], "true; echo born");
    fs::write(scope.join("pids.max"), "max")?;
    run?.code_is(0)?.out_is("born")?;
    Ok(())
}

pub fn the_container_sees_its_own_tree(case: &Case) -> Verdict {
    let pids = hierarchy("pids")?;
    let folder = if pids.version == Version::V1 { "/sys/fs/cgroup/pids" } else { "/sys/fs/cgroup" };
    let script = format!(
        "cut -d: -f3 /proc/self/cgroup | sort -u; head -n 1 {folder}/cgroup.procs; cat {folder}/pids.max; \
         ls -d {folder}/*/; echo 5 > {folder}/pids.max; mkdir {folder}/pier; cat {folder}/pids.max; \
         exec probe flags {folder}"
    );
    let run = on_quay(case, &[], &script)?;
    // Its own group is the root of all that it sees (the lab's has a limit); nothing is below, and nothing can be
    // changed.
    run.code_is(0)?.out_is(&format!("/\n1\nmax\nmax\n{folder} ro nosuid nodev noexec"))?;
    none_is_left("a container")
}

pub fn the_hosts_tree_is_shown_on_request(case: &Case) -> Verdict {
    let script = "cat /proc/self/cgroup; find /sys/fs/cgroup -name quay; for d in /sys/fs/cgroup /sys/fs/cgroup/*; do \
                  mkdir $d/pier; done; find /sys/fs/cgroup -name pier";
    let run = on_quay(case, &["--cgroupns", "host"], script)?;
    run.code_is(0)?.out_has(&format!(":/gantry/{NAME}\n"))?.out_lacks("pier")?;
    run.out_has(&hierarchy("pids")?.group(NAME).display().to_string())?;
    // What its root mounts on that view does not reach the host.
    let gantry = hierarchy("pids")?.top.join("gantry").display().to_string();
    let script = format!("mount -t tmpfs none {gantry} && ls {gantry} | wc -l && exec probe hold");
    let running = start_quay(case, &["--cgroupns", "host"], &["sh", "-c", &script])?;
    let (said, mounts) = (running.out_so_far()?, fs::read_to_string("/proc/self/mountinfo")?);
    stop(running)?.code_is(0)?;
    holds(said.starts_with("0\n"), "it covers the folder for itself", said)?;
    holds(!mounts.contains(&format!(" {gantry} ")), "nothing is mounted on the host's folder", mounts)?;
    none_is_left("a container")
}

pub fn a_pause_stops_and_unpause_goes_on(case: &Case) -> Verdict {
    let running = start_quay(case, &[], &["sh", "-c", "probe ticks & exec probe ticks"])?;
    case.run(&["pause", NAME])?.code_is(0)?;
    let frozen = match hierarchy("freezer")?.version {
        Version::V1 => read("freezer", NAME, ["freezer.state", ""])? == "FROZEN",
        Version::V2 => count("freezer", NAME, ["cgroup.events"; 2], ["frozen"; 2])? == 1,
    };
    holds(frozen, "when `pause` returns, the kernel says that all are stopped", "it does not")?;
    let then = running.out_so_far()?.len();
    // They would have counted some twenty times.
    std::thread::sleep(Duration::from_millis(120));
    same("what is said meanwhile, in bytes", 0, running.out_so_far()?.len() - then)?;
    case.run(&["unpause", NAME])?.code_is(0)?;
    let running =
        running.until("after `unpause` they count on", |running| Ok(running.out_so_far()?.len() > then))?;
    // Who is paused can be killed.
    case.run(&["pause", NAME])?.code_is(0)?;
    case.run(&["kill", NAME])?.code_is(0)?;
    running.ends("a paused container can be killed")?.code_is(137)?;
    for verb in ["pause", "unpause", "kill"] {
        case.run(&[verb, "pier"])?.code_is(125)?.err_has("pier")?.err_is_one_line()?;
    }
    none_is_left("a container that was paused")
}

pub fn kill_leaves_nobody(case: &Case) -> Verdict {
    let script = "setsid sleep 1000 & (sleep 1000 & exec sleep 1000) & exec probe fork-bomb hold";
    let running = start_quay(case, &["--pids-limit", "64"], &["sh", "-c", script])?;
    let listed = read("pids", NAME, ["cgroup.procs"; 2])?;
    let members: Vec<i32> = listed.lines().filter_map(|line| line.parse().ok()).collect();
    same("processes before", 64, members.len())?;
    case.run(&["kill", NAME])?.code_is(0)?;
    let alive: Vec<&i32> =
        members.iter().filter(|pid| !matches!(state_of(**pid), None | Some('Z'))).collect();
    holds(alive.is_empty(), "when `kill` returns, nobody is alive", format!("{alive:?}"))?;
    running.ends("the runner ends with its container")?.code_is(137)?;
    none_is_left("a container that was killed")
}

pub fn limits_change_while_it_runs(case: &Case) -> Verdict {
    let running = start_quay(case, &["--pids-limit", "20", "-m", "64m"], &["probe", "hold"])?;
    let update = |flags: &[&str]| case.run(&[&["update", NAME], flags].concat());
    let pids = || read("pids", NAME, ["pids.max"; 2]);
    let memory = || read("memory", NAME, ["memory.limit_in_bytes", "memory.max"]);
    update(&["--pids-limit", "30", "--cpus", "0.5"])?.code_is(0)?;
    same("pids.max", "30".to_owned(), pids()?)?;
    let quota = read("cpu", NAME, ["cpu.cfs_quota_us", "cpu.max"])?;
    same("the quota", hierarchy("cpu")?.pick("50000", "50000 100000").to_owned(), quota)?;
    // Up beyond what memory and swap were together, and down again: version 1 wants them in the right order.
    for (size, bytes) in [("256m", "268435456"), ("32m", "33554432")] {
        update(&["--memory", size])?.code_is(0)?;
        same("the memory limit", bytes.to_owned(), memory()?)?;
    }
    same("what was not named stays", "30".to_owned(), pids()?)?;
    for wrong in [&["--pids-limit", "0x7"][..], &["--cpus", "many"], &["-m", "1"], &[]] {
        update(wrong)?.code_is(125)?.err_is_one_line()?;
    }
    same("after what was refused", ("30".to_owned(), "33554432".to_owned()), (pids()?, memory()?))?;
    case.run(&["update", "pier", "--cpus", "1"])?.code_is(125)?.err_has("pier")?.err_is_one_line()?;
    stop(running)?.code_is(0)?;
    none_is_left("a container that was updated")
}

pub fn a_name_is_taken_once(case: &Case) -> Verdict {
    let first = start_quay(case, &UNSEEN, &["probe", "hold"])?;
    let group = fs::metadata(hierarchy("pids")?.group(NAME))?.ino();
    on_quay(case, &UNSEEN, "echo second")?
        .code_is(125)?
        .err_has(NAME)?
        .err_is_one_line()?
        .out_lacks("second")?;
    same("the first one's group", group, fs::metadata(hierarchy("pids")?.group(NAME))?.ino())?;
    let flags = [&["--rootfs", "demo", "--network", "none", "--name", "pier"], &UNSEEN[..]].concat();
    case.sh(&flags, "echo other")?.code_is(0)?.out_is("other")?;
    stop(first)?.code_is(0)?;
    on_quay(case, &UNSEEN, "echo again")?.code_is(0)?.out_is("again")?;
    none_is_left("both")
}

/// The test itself moves to the lab's root, where version 2 allows no processes beside controllers that are handed on.
/// Version 1 knows no such rule, and there the test is in the root already.
pub fn processes_in_the_way_make_room(case: &Case) -> Verdict {
    let pids = hierarchy("pids")?;
    if pids.version == Version::V2 {
        let control = pids.top.join("cgroup.subtree_control");
        for name in fs::read_to_string(&control)?.split_whitespace() {
            fs::write(&control, format!("-{name}"))?;
        }
        for member in fs::read_to_string(pids.top.join(SCOPE).join("cgroup.procs"))?.lines() {
            // The lab's own processes among them; one that our PID namespace does not show stays.
            let _ = fs::write(pids.top.join("cgroup.procs"), member);
        }
    }
    if pids.version == Version::V2 {
        who_has_no_number_is_not_moved(case, &pids.top)?;
    }
    let run = on_quay(case, &["--pids-limit", "20", "-m", "64m"], "exec probe fork-bomb")?;
    run.code_is(0)?.out_has("19 processes, then: EAGAIN")?;
    none_is_left("a container")?;
    let left = crate::stage::cgroups::groups().into_iter().filter(|folder| folder.ends_with("gantry-leaf"));
    for leaf in left {
        for member in fs::read_to_string(leaf.join("cgroup.procs"))?.lines() {
            fs::write(pids.top.join(SCOPE).join("cgroup.procs"), member)?;
        }
        eventually("the leaf is empty when all have gone back", || Ok(fs::remove_dir(&leaf).is_ok()))?;
    }
    Ok(())
}

/// Makes a group for an ordinary user in every hierarchy, and gives it to him as systemd does.
fn delegate(id: u32) -> Result<Vec<PathBuf>, Trouble> {
    let mut groups = Vec::new();
    for top in own() {
        let group = top.join("user.scope");
        mkdir(&group, Mode::from_bits_truncate(0o755))?;
        for name in ["cpuset.cpus", "cpuset.mems"] {
            if let (Ok(above), true) =
                (fs::read_to_string(top.join(name)), !top.join("cgroup.controllers").exists())
            {
                fs::write(group.join(name), above.trim())?;
            }
        }
        for name in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads", "tasks"] {
            let path = group.join(name);
            if path.exists() {
                chown(&path, Some(id), Some(id))?;
            }
        }
        groups.push(group);
    }
    Ok(groups)
}

/// On the ground of a user namespace, the lab itself is such a subtree: all other tests show it.
pub fn a_users_own_subtree_is_enough(case: &Case) -> Verdict {
    hierarchy("pids")?;
    if case.ground != Ground::Root {
        on_quay(case, &["--pids-limit", "20"], "exec probe fork-bomb")?
            .code_is(0)?
            .out_has("19 processes")?;
        return Ok(());
    }
    const USER: u32 = 1000;
    own_demo(case, USER)?;
    let groups = delegate(USER)?;
    // Opened by root, who may move him there.
    let doors: Vec<File> = groups
        .iter()
        .map(|group| OpenOptions::new().write(true).open(group.join("cgroup.procs")))
        .collect::<Result<_, _>>()?;
    // A folder that he made inside and then closed to everybody, himself included, is removed all the same.
    let folder = if is_v1("pids")? { "/sys/fs/cgroup/pids" } else { "/sys/fs/cgroup" };
    let script = format!("mkdir -p {folder}/pier/mole && chmod 0 {folder}/pier && probe fork-bomb; id -u");
    let flags = ["--cgroup-writable", "--pids-limit", "20", "--", "sh", "-c", &script];
    let started = case.start_with(&[&["run"], &ALONE[..], &flags].concat(), |command| {
        command.env("GANTRY_STATE", "/tmp/state-of-the-user");
        let enter = move || doors.iter().try_for_each(|mut door| door.write_all(b"0"));
        // SAFETY: plain writes; the caller has one thread.
        unsafe { command.pre_exec(enter) };
        become_ordinary(case, command, &[]);
    })?;
    // `sh` is there, too.
    let run = started.wait()?;
    run.code_is(0)?
        .out_has("18 processes, then: EAGAIN")?
        .claim(run.out.ends_with("\n0\n"), "root of its user namespace")?;
    for group in groups {
        let inside: Vec<PathBuf> = tree(&group);
        let engine = inside.iter().find(|folder| folder.ends_with("gantry"));
        holds(engine.is_none(), "nothing is left in the user's subtree", format!("{inside:?}"))?;
        inside.iter().rev().try_for_each(|folder| remove(folder))?;
    }
    Ok(())
}

fn remove(folder: &Path) -> Verdict {
    eventually(&format!("{} can be removed", folder.display()), || {
        Ok(!folder.exists() || fs::remove_dir(folder).is_ok())
    })
}

/// Version 1 has each controller by itself: its hierarchy is covered. Version 2: the runner is in a container of some
/// engine that hands `pids` on to nobody.
pub fn what_is_not_there_is_named(case: &Case) -> Verdict {
    let pids = hierarchy("pids")?;
    // One that handed on controllers to a container takes no processes any more: each run has its own.
    let outer = ["one", "two", "three", "four"].map(|name| pids.top.join(name));
    let without = |outer: &PathBuf, flags: &[&str]| {
        let words = [&["run"], &ALONE[..], flags, &["--", "sh", "-c", "echo ran"]].concat();
        let outer = outer.clone();
        let change = |command: &mut Command| {
            if pids.version == Version::V2 {
                // SAFETY: files are written and a mount is made; the caller has one thread.
                unsafe { command.pre_exec(move || enter_without(&outer)) };
            }
        };
        case.start_with(&words, change)?.wait()
    };
    match pids.version {
        Version::V1 => mount_tmpfs(&pids.top)?,
        Version::V2 => {
            fs::write(pids.top.join("cgroup.subtree_control"), "-pids")?;
            outer.iter().try_for_each(fs::create_dir)?;
        }
    }
    let asked = without(&outer[0], &["--pids-limit", "20"]);
    let silent = without(&outer[1], &["-m", "64m"]);
    let none = without(&outer[2], &["--cgroups", "disabled"]);
    let refused = without(&outer[3], &["--cgroups", "disabled", "-m", "64m"]);
    bring_back(&pids, &outer)?;
    asked?.code_is(125)?.err_has("pids")?.err_is_one_line()?.out_lacks("ran")?;
    // Who did not ask for it does not need it.
    silent?.code_is(0)?.out_is("ran")?;
    none?.code_is(0)?.out_is("ran")?;
    refused?.code_is(125)?.out_lacks("ran")?.err_is_one_line()?;
    none_is_left("a container")
}

/// Undoes it.
fn bring_back(pids: &Hierarchy, outer: &[PathBuf]) -> Verdict {
    if pids.version == Version::V1 {
        return unmount(&pids.top);
    }
    let inside = outer.iter().flat_map(|folder| tree(folder)).collect::<Vec<_>>();
    inside.iter().rev().try_for_each(|folder| remove(folder))?;
    Ok(fs::write(pids.top.join("cgroup.subtree_control"), "+pids")?)
}

/// Moves into a group, makes it the root of all that is seen, and shows it in a mount namespace of its own.
fn enter_without(outer: &Path) -> std::io::Result<()> {
    const NONE: Option<&str> = None;
    fs::write(outer.join("cgroup.procs"), "0")?;
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWCGROUP)?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    let top = Path::new(TOP);
    // No hierarchy lies on itself.
    mount(Some("tmpfs"), top, Some("tmpfs"), MsFlags::empty(), NONE)?;
    Ok(mount(Some("cgroup2"), top, Some("cgroup2"), MsFlags::empty(), NONE)?)
}
