//! Stage 6: what is left of a container when it ends, when it never began, and when its runner is killed.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use super::cgroup::{ALONE, UNSEEN, on_quay, start_quay};
use super::cgroup_life::lock;
use super::network_crash::{follow, has_containers};
use crate::lab::cgroups::own;
use crate::stage::case::{Case, children_of, eventually};
use crate::stage::cgroups::{NAME, hierarchy, none_is_left};
use crate::stage::verdict::{Trouble, Verdict, fail};

/// How many points of a run are tried.
const POINTS: usize = 16;

pub fn nothing_is_left_when_a_container_ends(case: &Case) -> Verdict {
    let scripts = [
        ("exit 3", 3),
        ("sleep 1000 & setsid sleep 1000 & exit 4", 4),
        // Its first process is killed, by its own child's wish: the kernel kills the rest.
        ("sleep 1000 & probe ticks & exec probe ticks | head -n 1", 0),
    ];
    for (script, code) in scripts {
        on_quay(case, &UNSEEN, script)?.code_is(code)?;
        none_is_left(&format!("`{script}`"))?;
    }
    let killed = start_quay(case, &UNSEEN, &["sh", "-c", "sleep 1000 & exec probe hold"])?;
    let first = children_of(killed.pid()).first().copied().unwrap_or_default();
    nix::sys::signal::kill(Pid::from_raw(first), Signal::SIGKILL)?;
    killed.ends("its first process was killed")?.code_is(137)?;
    none_is_left("a first process that was killed")?;
    // Births that fail after the group was made.
    let words = [&["run"], &ALONE[..], &UNSEEN, &["--", "/no/such/program"]].concat();
    case.run(&words)?.code_is(127)?;
    none_is_left("a failed birth")?;
    on_quay(case, &["--volume", "/no/such/folder:/mnt"], "true")?.code_is(125)?;
    none_is_left("a mount that was refused")
}

/// Whoever can read `gantry` can lock it, too: then there is an error, in time.
pub fn a_lock_is_not_waited_for_for_ever(case: &Case) -> Verdict {
    hierarchy("pids")?;
    let folders: Vec<PathBuf> = own().into_iter().map(|top| top.join("gantry")).collect();
    folders.iter().try_for_each(fs::create_dir_all)?;
    let held: Vec<_> = folders.iter().map(|folder| lock(folder)).collect::<Result<_, _>>()?;
    let run = on_quay(case, &UNSEEN, "echo ran")?;
    drop(held);
    run.code_is(125)?.err_has("flock(2)")?.err_is_one_line()?.out_lacks("ran")?;
    on_quay(case, &UNSEEN, "echo ran")?.code_is(0)?.out_is("ran")?;
    folders.iter().for_each(|folder| drop(fs::remove_dir(folder)));
    none_is_left("a lock that was held")
}

/// At each of some points of a run its runner is killed; `clean` removes what it left, or the next run.
pub fn a_killed_runner_leaves_nothing_for_long(case: &Case) -> Verdict {
    hierarchy("pids")?;
    // In full life, and while it is paused: the kernel kills the container with its runner.
    for paused in [false, true] {
        let running =
            start_quay(case, &["--pids-limit", "20"], &["sh", "-c", "sleep 1000 & exec probe hold"])?;
        if paused {
            case.run(&["pause", NAME])?.code_is(0)?;
        }
        running.signal(Signal::SIGKILL)?;
        running.wait()?.code_is(137)?;
        // Its name is free again for whom it left behind.
        on_quay(case, &["--pids-limit", "20"], "exec probe fork-bomb")?
            .code_is(0)?
            .out_has("19 processes")?;
        none_is_left("a runner that was killed, and the next run")?;
    }
    let total = killed_at(case, usize::MAX)?;
    if total < POINTS {
        return Err(fail("a run makes some system calls", total));
    }
    for point in 0..POINTS {
        killed_at(case, 1 + point * (total - 1) / POINTS)?;
        if point % 2 == 0 {
            case.run(&["clean"])?.code_is(0)?;
        } else {
            on_quay(case, &["--pids-limit", "20"], "true")?.code_is(0)?;
        }
        none_is_left(&format!("a runner killed at point {point} of {POINTS}"))?;
    }
    Ok(())
}

/// Runs a container under ptrace(2), and kills its runner at its `last` step of those that change something. How many
/// there were.
fn killed_at(case: &Case, last: usize) -> Result<usize, Trouble> {
    let mut command = Command::new(case.program());
    command.arg("run").args(ALONE).args(["--pids-limit", "20", "-m", "64m", "--", "true"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: one system call.
    unsafe { command.pre_exec(|| Ok(ptrace::traceme()?)) };
    let child = command.spawn()?;
    let pid = Pid::from_raw(child.id() as i32);
    let steps = follow(pid, last, is_a_step);
    // What is still there was not reaped: an error on the way.
    let _ = waitpid(pid, None);
    drop(child);
    eventually("the container is gone when its runner is", || Ok(!has_containers(&case.binary)))?;
    steps
}

/// Opening counts, too: most of what is done here is opening and writing.
fn is_a_step(number: i64) -> bool {
    let steps = [
        libc::SYS_clone3,
        libc::SYS_flock,
        libc::SYS_mkdirat,
        libc::SYS_openat,
        libc::SYS_openat2,
        libc::SYS_unlinkat,
        libc::SYS_write,
    ];
    #[cfg(target_arch = "x86_64")]
    let steps = [&steps[..], &[libc::SYS_mkdir, libc::SYS_rmdir]].concat();
    steps.contains(&number)
}

/// What nobody can mean.
const WRONG: [&[&str]; 22] = [
    &["--cpus", "0"],
    &["--cpus", "-1"],
    &["--cpus", "many"],
    &["--cpus", "1", "--cpu-quota", "50000"],
    &["--cpu-period", "1"],
    &["--cpu-quota", "1"],
    &["--cpu-shares", "1"],
    &["-m", "1k"],
    &["-m", "much"],
    &["-m", "64m", "--memory-swap", "32m"],
    &["--memory-swap", "32m"],
    &["--pids-limit", "0"],
    &["--pids-limit", "x"],
    &["--blkio-weight", "5"],
    &["--blkio-weight", "1001"],
    &["--cpuset-mems", "4000"],
    &["--device-cgroup-rule", "x 1:3 rwm"],
    &["--device-cgroup-rule", "c 1:3 z"],
    &["--cgroups", "sometimes"],
    &["--cgroupns", "theirs"],
    &["--cgroup-parent", "../quay"],
    &["--cgroup-parent", "/quay/../pier"],
];

/// What only the kernel would refuse, in words that do not name the flag.
const NAMED: [&[&str]; 6] = [
    &["--cpus", "0.001"],
    &["--pids-limit", "4194305"],
    &["--memory-reservation", "0"],
    &["--cpuset-cpus", "+0"],
    &["--device-write-bps", ":1m"],
    &["--cgroup-parent", "/gantry/quay"],
];

pub fn wrong_use_is_told_in_one_line(case: &Case) -> Verdict {
    hierarchy("pids")?;
    for flags in WRONG {
        let run = on_quay(case, flags, "echo ran")?;
        // The command line's own words take several lines and end with a hint.
        let one_line = run.err.contains("--help") || run.err_is_one_line().is_ok();
        run.code_is(125)?.out_lacks("ran")?.claim(one_line, "one line on stderr")?;
    }
    for name in ["../quay", "quay/pier", ".quay", ""] {
        let run = case.sh(&["--rootfs", "demo", "--network", "none", "--name", name], "echo ran")?;
        run.code_is(125)?.out_lacks("ran")?.err_is_one_line()?;
    }
    for flags in NAMED {
        on_quay(case, flags, "echo ran")?
            .code_is(125)?
            .out_lacks("ran")?
            .err_has(flags[0])?
            .err_is_one_line()?;
    }
    let taken = ["--rootfs", "demo", "--network", "none", "--name", "cgroup.procs"];
    case.sh(&taken, "echo ran")?.code_is(125)?.out_lacks("ran")?.err_has("the kernel has a file")?;
    none_is_left("wrong use")?;
    on_quay(case, &["--cpuset-cpus", "4000"], "true")?.code_is(125)?.err_is_one_line()?;
    none_is_left("a limit that the kernel refused")
}
