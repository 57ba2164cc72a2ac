//! The worst `my-mount` that a learner could write: every mistake of chapter 2, and some of other chapters.
//!
//! `my-mount MISTAKE [FOLDER]`; the folder is one of the host's. Called as the stage's tests call a runner
//! (`my-mount run ...`), it makes all of those that end. It never says that something went wrong: what counts is
//! what the host looks like afterwards.

use std::fs;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{ForkResult, Pid, fork};

const NONE: Option<&str> = None;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let folder = words.get(1).map_or("/no/folder", String::as_str);
    match words.first().map(String::as_str) {
        Some("unmount") => unmount_everything(),
        Some("cover") => cover_the_host(),
        Some("sysctl") => write_sysctls(),
        Some("delete") => delete(folder),
        Some("fill") => fill_the_temporary_folders(),
        Some("kill") => kill_everybody(),
        Some("freeze") => freeze_everywhere(),
        Some("bomb") => fork_without_end(Some(Duration::from_secs(2))),
        Some("endless-bomb") => fork_without_end(None),
        _ => {
            write_sysctls();
            cover_the_host();
            unmount_everything();
            kill_everybody();
        }
    }
    println!("done");
}

fn places() -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    table.lines().rev().filter_map(|line| line.split(' ').nth(1).map(str::to_owned)).collect()
}

fn unmount_everything() {
    for place in places() {
        let _ = umount2(place.as_str(), MntFlags::MNT_DETACH);
    }
}

/// No private propagation: in a namespace that still is tied to the host's, these would appear there.
fn cover_the_host() {
    for place in ["/mnt", "/etc", "/usr", "/var", "/home", "/root", "/"] {
        let _ = mount(Some("tmpfs"), place, Some("tmpfs"), MsFlags::empty(), NONE);
        let _ = mount(Some("/dev"), place, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE);
    }
}

fn write_sysctls() {
    let values = [
        ("vm/swappiness", "61"),
        ("vm/overcommit_memory", "1"),
        ("kernel/hostname", "broken"),
        ("kernel/domainname", "broken"),
        ("kernel/panic", "7"),
        ("kernel/threads-max", "20000"),
        ("kernel/shmmax", "4096"),
        ("kernel/core_pattern", "/tmp/broken"),
        ("fs/nr_open", "2048"),
        ("net/ipv4/ip_forward", "1"),
        ("net/ipv4/ip_default_ttl", "7"),
        ("user/max_user_namespaces", "3"),
    ];
    let _ = mount(Some("proc"), "/mnt", Some("proc"), MsFlags::empty(), NONE);
    for (name, value) in values {
        for proc in ["/proc", "/mnt"] {
            let _ = fs::write(format!("{proc}/sys/{name}"), value);
        }
    }
}

/// Takes read-only away wherever the kernel lets it, then deletes.
fn delete(folder: &str) {
    for place in places() {
        let writable = MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
        let _ = mount(NONE, place.as_str(), NONE, writable, NONE);
        let _ = mount(NONE, place.as_str(), NONE, writable | MsFlags::MS_NOSUID | MsFlags::MS_NODEV, NONE);
    }
    let _ = fs::write(format!("{folder}/new"), "");
    let _ = fs::remove_dir_all(folder);
    println!("{}", fs::exists(folder).unwrap_or(false));
}

fn fill_the_temporary_folders() {
    let block = vec![0; 1 << 20];
    for folder in ["/tmp", "/var/tmp", "/dev/shm", "/run/lab/work", "/run"] {
        use std::io::Write;
        let Ok(mut file) = fs::File::create(format!("{folder}/big")) else { continue };
        let mut count = 0;
        // Six times what a folder of the lab may hold: enough to see that there is no limit.
        while count < 3000 && file.write_all(&block).is_ok() {
            count += 1;
        }
        println!("{folder}: {count} MiB");
    }
}

fn kill_everybody() {
    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
    for pid in (1..70_000).filter(|pid| *pid != std::process::id() as i32) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// In every cgroup in sight a new one with a process that is frozen, and the worst settings that there are.
fn freeze_everywhere() {
    let top = std::path::Path::new("/sys/fs/cgroup");
    let below = fs::read_dir(top).into_iter().flatten().flatten().map(|entry| entry.path());
    for folder in std::iter::once(top.to_owned()).chain(below) {
        let quay = folder.join("quay");
        let _ = fs::create_dir(&quay);
        for name in ["cpuset.cpus", "cpuset.mems"] {
            let _ = fs::read(folder.join(name)).and_then(|list| fs::write(quay.join(name), list));
        }
        // SAFETY: this process has one thread; the child only sleeps.
        match unsafe { fork() } {
            Ok(ForkResult::Parent { child }) => {
                let _ = fs::write(quay.join("cgroup.procs"), child.to_string());
            }
            _ => loop {
                nix::unistd::pause();
            },
        }
        let settings = [
            ("freezer.state", "FROZEN"),
            ("cgroup.freeze", "1"),
            ("pids.max", "1"),
            ("cpu.max", "1000 1000000"),
            ("cpu.cfs_quota_us", "1000"),
            ("devices.deny", "a"),
            ("notify_on_release", "1"),
            ("release_agent", "/tmp/broken"),
            ("cgroup.subtree_control", "-pids"),
        ];
        for (place, (name, value)) in settings.iter().flat_map(|one| [(&quay, one), (&folder, one)]) {
            let is_freezer = name.contains("freeze");
            // Frozen ourselves, we could not do worse.
            if !is_freezer || place == &quay {
                let _ = fs::write(place.join(name), value);
            }
        }
    }
}

/// Every process forks as often as it can; the first one ends after a while, or never.
fn fork_without_end(end: Option<Duration>) {
    let (start, first) = (Instant::now(), std::process::id());
    loop {
        // SAFETY: this process has one thread.
        let born = unsafe { fork() };
        let full = !matches!(born, Ok(ForkResult::Parent { .. } | ForkResult::Child));
        if std::process::id() == first && end.is_some_and(|end| start.elapsed() > end) {
            return;
        }
        // Who meets the limit stays and waits for a place.
        if full {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
