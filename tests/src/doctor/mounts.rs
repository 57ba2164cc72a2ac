//! The mounts of a container, tried as a learner's program makes them: in a user namespace.
//!
//! Every mount is made in a mount namespace that ends with the attempt. `/tmp` is the place: it is covered by
//! a tmpfs first, and all else happens below that.

use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::CloneFlags;
use nix::sys::stat::Mode;
use nix::unistd::{chdir, mkdir, pivot_root};

use super::attempt::{Failure, Step, Trouble, attempt_in};
use super::place::{Place, read};
use super::probe::{Gap, Probe};

const NONE: Option<&str> = None;
const KINDS: CloneFlags = CloneFlags::CLONE_NEWNS;

/// All mounts, each tried apart.
pub fn probes(place: &Place) -> Vec<Probe> {
    let network = KINDS | CloneFlags::CLONE_NEWNET;
    let ipc = KINDS | CloneFlags::CLONE_NEWIPC;
    vec![
        root_probe(attempt_in(KINDS, new_root), place),
        proc_probe(attempt_in(KINDS | CloneFlags::CLONE_NEWPID, || on_tmp("proc", "mount proc")), place),
        simple("sysfs", attempt_in(network, || on_tmp("sysfs", "mount sysfs")), 2, SYSFS),
        simple("devpts", attempt_in(KINDS, || on_tmp("devpts", "mount devpts")), 2, DEVPTS),
        simple("message queues", attempt_in(ipc, || on_tmp("mqueue", "mount mqueue")), 3, MQUEUE),
        overlay_probe(attempt_in(KINDS, overlay), Path::new("/dev/fuse").exists()),
    ]
}

const SYSFS: [&str; 2] = [
    "A container gets a bind mount of this system's /sys instead; its network folders then show the wrong links.",
    "Nothing to do. In a container: start it with `--security-opt systempaths=unconfined`.",
];
const DEVPTS: [&str; 2] = ["A container gets no terminals of its own.", ""];
const MQUEUE: [&str; 2] = [
    "This kernel has no POSIX message queues; their part of chapter 3 shows nothing.",
    "Use another kernel.",
];

/// What a failed mount of a lesser file system means: the chapter goes on without it.
fn simple(name: &'static str, tried: Result<(), Failure>, chapter: u8, [means, fix]: [&str; 2]) -> Probe {
    let probe = match tried {
        Ok(()) => Probe::ok(name, "can be mounted"),
        Err(failure) => Probe::partly(name, failure.to_string(), Gap::new(means, fix)),
    };
    probe.for_chapters([chapter])
}

fn root_probe(tried: Result<(), Failure>, place: &Place) -> Probe {
    let name = "a root of its own";
    let probe = match tried {
        Ok(()) => Probe::ok(name, "tmpfs, bind mounts, read-only, pivot_root"),
        Err(failure) => {
            let means = match (failure.errno, place.container) {
                (Errno::EPERM | Errno::EACCES, Some(_)) => "The container that we run in forbids mounts.",
                (Errno::EPERM | Errno::EACCES, None) => {
                    "A security module forbids mounts in user namespaces."
                }
                _ => "Without it a container cannot have a root directory of its own.",
            };
            let fix = match place.container {
                Some(_) => {
                    "Start the container with `--security-opt seccomp=unconfined --security-opt apparmor=unconfined`."
                }
                None => "Look into the kernel's log (`sudo dmesg | tail`) for what was refused.",
            };
            Probe::missing(name, failure.to_string(), Gap::new(means, fix))
        }
    };
    probe.for_chapters(2..=16)
}

fn proc_probe(tried: Result<(), Failure>, place: &Place) -> Probe {
    let name = "proc";
    let probe = match tried {
        Ok(()) => Probe::ok(name, "a new PID namespace gets its own /proc"),
        Err(failure) => {
            let covered = covered(&read("/proc/self/mountinfo"));
            Probe::missing(name, failure.to_string(), proc_gap(&failure, covered.as_deref(), place))
        }
    };
    probe.for_chapters(2..=16)
}

fn proc_gap(failure: &Failure, covered: Option<&str>, place: &Place) -> Gap {
    match (failure.errno, covered) {
        (Errno::EPERM, Some(path)) => {
            let who = if place.container.is_some() { "The container that we run in" } else { "This system" };
            Gap::new(
                format!(
                    "{who} hides parts of /proc ({path} is covered). The kernel then refuses a new proc mount, \
                     because it would show what was hidden."
                ),
                "In Docker: start the container with `--security-opt systempaths=unconfined`; \
                 in podman: with `--security-opt unmask=ALL`.",
            )
        }
        _ => Gap::new("A container would see the processes of this machine, not its own.", ""),
    }
}

/// The first mount below `/proc` that hides a part of it (`binfmt_misc` adds and hides nothing).
fn covered(mountinfo: &str) -> Option<String> {
    let paths = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
    let mut below = paths.filter(|path| path.starts_with("/proc/") && !path.contains("binfmt_misc"));
    below.next().map(str::to_owned)
}

fn overlay_probe(tried: Result<(), Failure>, fuse: bool) -> Probe {
    let name = "overlay";
    let Err(failure) = tried else {
        return Probe::ok(name, "can be mounted in a user namespace").for_chapters(7..=16);
    };
    let mut gap = match failure.errno {
        Errno::ENODEV => Gap::new("The kernel's overlay module is not loaded.", "sudo modprobe overlay"),
        Errno::EPERM => Gap::new(
            "This kernel lets only root mount overlays; an ordinary user may since Linux 5.11.",
            "Use a newer kernel.",
        ),
        _ => Gap::new("The overlay file system refuses to stack on a tmpfs here.", ""),
    };
    if fuse {
        gap.means += " (There is /dev/fuse, but the course uses the kernel's overlay.)";
    }
    Probe::missing(name, failure.to_string(), gap).for_chapters(7..=16)
}

/// The steps of chapter 2, in its order.
fn new_root() -> Result<(), Trouble> {
    tmpfs("/tmp")?;
    mkdir("/tmp/new", Mode::S_IRWXU).step("make a folder on a tmpfs")?;
    tmpfs("/tmp/new")?;
    mkdir("/tmp/new/data", Mode::S_IRWXU).step("make a folder on a tmpfs")?;
    mount(Some("/tmp/new"), "/tmp/new/data", NONE, MsFlags::MS_BIND, NONE).step("bind mount")?;
    let read_only =
        MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(NONE, "/tmp/new/data", NONE, read_only, NONE).step("make a bind mount read-only")?;
    chdir("/tmp/new").step("enter the new root")?;
    pivot_root(".", ".").step("pivot_root")?;
    umount2(".", MntFlags::MNT_DETACH).step("take the old root away")
}

fn on_tmp(kind: &'static str, step: &'static str) -> Result<(), Trouble> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    let (flags, data) = match kind {
        "devpts" => (flags, Some("newinstance,ptmxmode=0666,mode=0620")),
        "sysfs" => (flags | MsFlags::MS_NODEV | MsFlags::MS_RDONLY, None),
        _ => (flags | MsFlags::MS_NODEV, None),
    };
    mount(Some(kind), "/tmp", Some(kind), flags, data).step(step)
}

fn overlay() -> Result<(), Trouble> {
    tmpfs("/tmp")?;
    for folder in ["/tmp/lower", "/tmp/upper", "/tmp/work", "/tmp/merged"] {
        mkdir(folder, Mode::S_IRWXU).step("make a folder on a tmpfs")?;
    }
    let layers = "lowerdir=/tmp/lower,upperdir=/tmp/upper,workdir=/tmp/work,userxattr";
    mount(Some("overlay"), "/tmp/merged", Some("overlay"), MsFlags::empty(), Some(layers))
        .step("mount an overlay")
}

fn tmpfs(target: &str) -> Result<(), Trouble> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), target, Some("tmpfs"), flags, NONE).step("mount a tmpfs")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::probe::Outcome;

    const DOCKER: &str = "\
        600 599 0:51 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw\n\
        601 600 0:51 /bus /proc/bus ro,nosuid,nodev,noexec,relatime - proc proc rw\n\
        602 600 0:55 / /proc/acpi ro,relatime - tmpfs tmpfs ro\n";
    const DESKTOP: &str = "\
        24 30 0:22 / /proc rw,nosuid,nodev,noexec,relatime shared:14 - proc proc rw\n\
        33 24 0:30 / /proc/sys/fs/binfmt_misc rw,relatime shared:16 - autofs systemd-1 rw\n";

    fn failed(errno: Errno) -> Result<(), Failure> {
        Err(Failure { step: "mount it".into(), errno })
    }

    #[test]
    fn a_masked_proc_is_told_by_its_covers() {
        assert_eq!(covered(DOCKER).as_deref(), Some("/proc/bus"));
        assert_eq!(covered(DESKTOP), None);
        let place = Place { container: Some("Docker"), ..Place::default() };
        let gap = proc_gap(&failed(Errno::EPERM).unwrap_err(), Some("/proc/bus"), &place);
        assert!(gap.means.contains("/proc/bus") && gap.means.starts_with("The container"), "{gap:?}");
        assert!(gap.fix.contains("systempaths=unconfined"));
    }

    #[test]
    fn a_missing_overlay_names_the_module_or_the_kernel() {
        assert!(overlay_probe(failed(Errno::ENODEV), false).fix.contains("modprobe overlay"));
        let old = overlay_probe(failed(Errno::EPERM), true);
        assert!(old.means.contains("5.11") && old.means.contains("/dev/fuse"));
        assert_eq!(overlay_probe(Ok(()), false).outcome, Outcome::Ok);
    }

    #[test]
    fn a_lesser_mount_blocks_no_chapter() {
        let probe = simple("sysfs", failed(Errno::EPERM), 2, SYSFS);
        assert_eq!(probe.outcome, Outcome::Partly);
        assert_eq!(root_probe(failed(Errno::EPERM), &Place::default()).outcome, Outcome::Missing);
    }
}
