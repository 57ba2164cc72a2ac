//! A runner that makes one mistake: the defence that the engine has in its code, taken out.
//!
//! Everything else is as short as a runner can be: a mount namespace, a root, `/proc`. Which mistake it makes is its
//! first argument; each is the step of a runtime that once made it, and no more than that step.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{
    ForkResult, Gid, Uid, chdir, dup2_raw, execvp, fork, pivot_root, setgroups, setresgid, setresuid,
};

use crate::{Probe, told};

const NONE: Option<&str> = None;

const MISTAKES: [Probe; 10] = [
    (
        "executable",
        "ROOTFS COMMAND..: stay inside as its parent, run from a file that can be written",
        executable,
    ),
    ("descriptor", "ROOTFS WORKDIR COMMAND..: leave a folder of the host open", descriptor),
    (
        "mount",
        "ROOTFS SOURCE TARGET COMMAND..: look whether TARGET is inside, then mount there by its name",
        by_name,
    ),
    ("null", "ROOTFS DEV COMMAND..: mask a file of /proc by the container's own /dev/null", null),
    ("console", "ROOTFS DEV COMMAND..: show the container's own /dev/pts/0 as its console", console),
    ("write", "ROOTFS FALSE COMMAND..: set a switch below /proc by its name in the container", write),
    ("join", "PID COMMAND..: join a container, and be in no hurry", join),
    ("inheritable", "ROOTFS COMMAND..: run it as uid 1000 with every capability inheritable", inheritable),
    ("groups", "GROUP COMMAND..: map the only group of a user who is in GROUP, and let him leave it", groups),
    ("plain", "ROOTFS COMMAND..: forget nothing but what no namespace covers", plain),
];

/// `MISTAKE ..`: runs a command in a container, with this one mistake.
pub fn careless(words: &[String]) -> Result<String, String> {
    let known = || MISTAKES.map(|(name, what, _)| format!("  {name:12} {what}")).join("\n");
    let found = words.first().and_then(|name| MISTAKES.iter().find(|(known, ..)| known == name));
    let (_, _, mistake) = found.ok_or_else(|| format!("which mistake?\n{}", known()))?;
    mistake(&words[1..])
}

// ANCHOR: contain
/// A container, as small as can be. `more` acts when `/proc` is mounted and the root is not exchanged yet.
fn contain(rootfs: &str, more: impl FnOnce(&Path) -> Result<(), String>) -> Result<(), String> {
    told("unshare", unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET))?;
    told("make / private", mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE))?;
    bind(rootfs, rootfs)?;
    let proc = Path::new(rootfs).join("proc");
    told("mount /proc", mount(Some("proc"), &proc, Some("proc"), MsFlags::empty(), NONE))?;
    more(Path::new(rootfs))?;
    told("chdir", chdir(rootfs))?;
    told("pivot_root", pivot_root(".", "."))?;
    told("umount the old root", umount2(".", MntFlags::MNT_DETACH))?;
    told("chdir", chdir("/"))
}
// ANCHOR_END: contain

fn bind(source: impl AsRef<Path>, target: impl AsRef<Path>) -> Result<(), String> {
    let (source, target) = (source.as_ref(), target.as_ref());
    let words = format!("bind {} to {}", source.display(), target.display());
    told(&words, mount(Some(source), target, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE))
}

/// Becomes the command.
fn become_command(command: &[String]) -> Result<String, String> {
    let words = command.iter().map(|word| CString::new(word.as_str())).collect::<Result<Vec<_>, _>>();
    let words = told("read COMMAND", words)?;
    let Err(errno) = execvp(words.first().ok_or("COMMAND is needed")?, &words);
    Err(format!("exec: {errno}"))
}

fn plain(words: &[String]) -> Result<String, String> {
    let [rootfs, command @ ..] = words else { return Err("ROOTFS COMMAND.. are needed".into()) };
    contain(rootfs, |_| Ok(()))?;
    become_command(command)
}

// ANCHOR: executable
/// The mistake of CVE-2019-5736: our own file can be written, and `/proc/PID/exe` of this process leads to it.
fn executable(words: &[String]) -> Result<String, String> {
    let [rootfs, program, arguments @ ..] = words else { return Err("ROOTFS COMMAND.. are needed".into()) };
    contain(rootfs, |_| Ok(()))?;
    told(program, Command::new(program).args(arguments).status())?;
    Ok("the container has ended".into())
}
// ANCHOR_END: executable

// ANCHOR: descriptor
/// The mistakes of CVE-2024-21626: a folder stays open without close-on-exec, and the working directory may lead
/// through it.
fn descriptor(words: &[String]) -> Result<String, String> {
    let [rootfs, workdir, command @ ..] = words else {
        return Err("ROOTFS WORKDIR COMMAND.. are needed".into());
    };
    let cgroups = told("open", File::open("/sys"))?;
    // SAFETY: nobody else owns number 7 in this program.
    std::mem::forget(told("dup2", unsafe { dup2_raw(&cgroups, 7) })?);
    contain(rootfs, |_| Ok(()))?;
    told(&format!("chdir {workdir}"), chdir(workdir.as_str()))?;
    become_command(command)
}
// ANCHOR_END: descriptor

// ANCHOR: by_name
/// The mistake of CVE-2021-30465: the name is checked, and then used again. What it leads to may have changed.
fn by_name(words: &[String]) -> Result<String, String> {
    let [rootfs, source, target, command @ ..] = words else {
        return Err("ROOTFS SOURCE TARGET COMMAND.. are needed".into());
    };
    contain(rootfs, |root| {
        let place = root.join(target.trim_start_matches('/'));
        let parent = told("find the target", place.parent().unwrap_or(root).canonicalize())?;
        if !parent.starts_with(told("find the root", root.canonicalize())?) {
            return Err(format!("{target} leads outside"));
        }
        // There was other work to do; the longer it takes, the fewer tries an attacker needs.
        std::thread::sleep(Duration::from_millis(1));
        told(&format!("make {target}"), fs::create_dir_all(&place))?;
        bind(source, &place)
    })?;
    become_command(command)
}
// ANCHOR_END: by_name

// ANCHOR: null
/// The mistake of CVE-2025-31133: what masks a file is "the container's /dev/null", whatever that is by now.
fn null(words: &[String]) -> Result<String, String> {
    show(words, "/dev/null", "/proc/keys")
}

/// The mistake of CVE-2025-52565: the same with the terminal.
fn console(words: &[String]) -> Result<String, String> {
    show(words, "/dev/pts/0", "/dev/console")
}

/// Mounts `/dev` from a folder; in the new root, binds one name to another, and makes `/proc/sys` read-only.
fn show(words: &[String], source: &str, target: &str) -> Result<String, String> {
    let [rootfs, dev, command @ ..] = words else { return Err("ROOTFS DEV COMMAND.. are needed".into()) };
    contain(rootfs, |root| bind(dev, root.join("dev")))?;
    bind(source, target)?;
    bind("/proc/sys", "/proc/sys")?;
    let read_only = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    told("make /proc/sys read-only", mount(NONE, "/proc/sys", NONE, read_only, NONE))?;
    become_command(command)
}
// ANCHOR_END: null

// ANCHOR: write
/// The mistake of CVE-2025-52881: a file of /proc is written by its name, and nobody looks whether it is one.
fn write(words: &[String]) -> Result<String, String> {
    let [rootfs, lie, command @ ..] = words else { return Err("ROOTFS FALSE COMMAND.. are needed".into()) };
    contain(rootfs, |root| bind(lie, root.join("proc/sys/net/ipv4")))?;
    told("write the switch", fs::write("/proc/sys/net/ipv4/ip_forward", "1"))?;
    become_command(command)
}
// ANCHOR_END: write

// ANCHOR: join
/// The mistake of CVE-2016-9962: it is inside already, with no more capabilities than the others there, and still has a
/// folder of the host open, and can be traced.
fn join(words: &[String]) -> Result<String, String> {
    let [pid, command @ ..] = words else { return Err("PID COMMAND.. are needed".into()) };
    let host = told("open /", File::open("/"))?;
    let capabilities = permitted_of(pid)?;
    for (name, kind) in [("pid", CloneFlags::CLONE_NEWPID), ("mnt", CloneFlags::CLONE_NEWNS)] {
        let namespace = told(name, File::open(format!("/proc/{pid}/ns/{name}")))?;
        told(&format!("setns {name}"), setns(namespace, kind))?;
    }
    // SAFETY: this process has one thread.
    match told("fork", unsafe { fork() })? {
        ForkResult::Child => {
            change_sets(|sets| (sets[0], sets[1], sets[3], sets[4]) = capabilities)?;
            // Between the two there was set-up to do; nobody had closed it yet.
            std::thread::sleep(Duration::from_millis(500));
            drop(host);
            become_command(command)
        }
        ForkResult::Parent { child } => match told("wait", waitpid(child, None))? {
            WaitStatus::Exited(_, 0) => Ok("the second process has ended".into()),
            other => Err(format!("{other:?}")),
        },
    }
}
// ANCHOR_END: join

// ANCHOR: inheritable
/// The mistake of CVE-2022-24769: the inheritable set is filled like the others, and stays so for another user.
fn inheritable(words: &[String]) -> Result<String, String> {
    let [rootfs, command @ ..] = words else { return Err("ROOTFS COMMAND.. are needed".into()) };
    contain(rootfs, |_| Ok(()))?;
    change_sets(|sets| (sets[2], sets[5]) = (sets[1], sets[4]))?;
    let (uid, gid) = (Uid::from_raw(1000), Gid::from_raw(1000));
    told("setgroups", setgroups(&[]))?;
    told("setresgid", setresgid(gid, gid, gid))?;
    told("setresuid", setresuid(uid, uid, uid))?;
    become_command(command)
}
// ANCHOR_END: inheritable

/// Effective and permitted set as another process has its permitted one, in the order of capset(2).
fn permitted_of(pid: &str) -> Result<(u32, u32, u32, u32), String> {
    let status = told("read its status", fs::read_to_string(format!("/proc/{pid}/status")))?;
    let line = status.lines().find_map(|line| line.strip_prefix("CapPrm:\t"));
    let set = told("read its capabilities", u64::from_str_radix(line.unwrap_or_default(), 16))?;
    let (low, high) = (set as u32, (set >> 32) as u32);
    Ok((low, low, high, high))
}

/// Changes our capability sets: effective, permitted, inheritable; twice, for 64 bits. See capset(2).
fn change_sets(change: impl FnOnce(&mut [u32; 6])) -> Result<(), String> {
    const VERSION_3: u32 = 0x2008_0522;
    let header = [VERSION_3, 0];
    let mut sets = [0; 6];
    // SAFETY: the header says that there is room for two triples, and there is.
    let got = unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), sets.as_mut_ptr()) };
    told("capget", Errno::result(got))?;
    change(&mut sets);
    // SAFETY: as above.
    let set = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) };
    told("capset", Errno::result(set)).map(drop)
}

// ANCHOR: groups
/// The mistake of CVE-2018-7169, in the helper that writes maps for a user: it maps his own group and nothing else,
/// which is no right that the administrator gave, and does not deny setgroups(2) for it.
fn groups(words: &[String]) -> Result<String, String> {
    let [group, command @ ..] = words else { return Err("GROUP COMMAND.. are needed".into()) };
    let group = Gid::from_raw(told("read GROUP", group.parse())?);
    let (uid, gid) = (Uid::from_raw(1000), Gid::from_raw(1000));
    let (mut is_there, here) = told("pipe", std::io::pipe())?;
    let (mut mapped, go) = told("pipe", std::io::pipe())?;
    // SAFETY: this process has one thread.
    match told("fork", unsafe { fork() })? {
        ForkResult::Child => {
            drop(go);
            told("setgroups", setgroups(&[gid, group]))?;
            told("setresgid", setresgid(gid, gid, gid))?;
            told("setresuid", setresuid(uid, uid, uid))?;
            told("unshare", unshare(CloneFlags::CLONE_NEWUSER))?;
            drop(here);
            told("wait", mapped.read_to_end(&mut Vec::new()))?;
            become_command(command)
        }
        ForkResult::Parent { child } => {
            drop((here, mapped));
            told("wait", is_there.read_to_end(&mut Vec::new()))?;
            told("write the map", fs::write(format!("/proc/{child}/gid_map"), format!("0 {gid} 1")))?;
            told("write the map", fs::write(format!("/proc/{child}/uid_map"), format!("0 {uid} 1")))?;
            drop(go);
            match told("wait", waitpid(child, None))? {
                WaitStatus::Exited(_, 0) => Ok("the user's program has ended".into()),
                other => Err(format!("{other:?}")),
            }
        }
    }
}
// ANCHOR_END: groups
