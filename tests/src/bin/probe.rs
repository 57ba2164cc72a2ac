//! `probe`: looks around inside a container, and tries to break out.
//!
//! Every lab has it on its PATH, and a copy stands in the lab's `demo`. It does nothing that the shell of the
//! course's readers could not do; it does it the same way on every machine.

#[path = "probe/attack/mod.rs"]
mod attack;
#[path = "probe/careless.rs"]
mod careless;
#[path = "probe/cgroup.rs"]
mod cgroup;
#[path = "probe/files.rs"]
mod files;
#[path = "probe/ipc.rs"]
mod ipc;
#[path = "probe/net.rs"]
mod net;
#[path = "probe/security.rs"]
mod security;

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::process::{Command, ExitCode};

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{chdir, chroot, fchdir};

/// Name, what it does, and the function; the function's text goes to stdout.
type Probe = (&'static str, &'static str, fn(&[String]) -> Result<String, String>);

const PROBES: [Probe; 34] = [
    ("fds", "the numbers of the open descriptors", fds),
    ("devices", "every node below /dev: type, major:minor, name", devices),
    ("flags", "for each FILE the restrictions of its mount: ro nosuid nodev noexec", flags),
    ("chroot-escape", "the classic way out of a chroot; lists the root that it reaches", chroot_escape),
    ("chmod", "change the mode of FILE to 0", chmod),
    ("interrupts", "say each SIGINT that arrives, until there is silence", interrupts),
    ("orphan", "leave a child to PID 1; whether its death is told to us, who are not its parent", orphan),
    ("sysv-make", "KEY TEXT: make a System V segment with TEXT, a semaphore set and a queue", ipc::sysv_make),
    ("sysv", "KEY: which of these there are", ipc::sysv),
    ("queue-make", "NAME TEXT: make a POSIX queue with one message", ipc::queue_make),
    ("queue", "NAME: take the next message of a POSIX queue", ipc::queue),
    ("links", "every link: its name, up or down, its addresses", net::links),
    ("serve", "tcp|udp PORT TEXT: answer everybody with TEXT and where they came from", net::serve),
    ("ask", "tcp|udp HOST PORT: what a `serve` there answers", net::ask),
    ("hear", "PORT: wait a second for one datagram; what came, and from where", net::hear),
    ("lookup", "NAME [A|AAAA|PTR|TXT|ANY [SERVER]]: what the name server says", net::lookup),
    ("forge", "MAC SOURCE DESTINATION PORT: put a datagram of one's own making on the cable", net::forge),
    ("eat", "MEMORY: touch 16m, say `ready`, and hold it until SIGTERM", cgroup::eat),
    ("burn", "SECONDS: keep a processor busy; how much of it was ours", cgroup::burn),
    ("write", "FILE BYTES: write past the page cache; how long it took", cgroup::write),
    ("hold", "say `ready` and wait for SIGTERM", cgroup::hold),
    ("ticks", "count until SIGTERM", cgroup::ticks),
    ("device", "b|c MAJOR MINOR: make the node /dev/probe-node, and open it", cgroup::device),
    (
        "fork-bomb",
        "[hold]: fork until the kernel refuses; how often that worked; stay so until SIGTERM",
        fork_bomb,
    ),
    (
        "files",
        "SEED COUNT [settle]: random operations on files here; each, and what came of it",
        files::files,
    ),
    ("attributes", "FILE: its extended attributes, a line each", files::attributes),
    ("tree", "[exact]: every file here, with all that can be known of it", files::tree),
    ("attack", "NAME ..: one attack of the escape lab", attack::attack),
    ("careless", "MISTAKE ..: run a container, and make one mistake", careless::careless),
    (
        "call",
        "NUMBER [ARGUMENT...]: make a system call; its answer, `ok` or the error's name",
        security::call,
    ),
    ("call32", "NUMBER [ARGUMENT...]: the same by `int 0x80`, with the numbers of i386", security::call32),
    ("capabilities", "the five sets, asked of the kernel without /proc", security::capabilities),
    ("key-add", "NAME: put a key into the session keyring", security::key_add),
    ("key-find", "NAME: whether the session keyring has that key", security::key_find),
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some((_, _, probe)) = words.first().and_then(|word| PROBES.iter().find(|(name, ..)| name == word))
    else {
        PROBES.iter().for_each(|(name, what, _)| eprintln!("probe {name:14} {what}"));
        return ExitCode::from(2);
    };
    match probe(&words[1..]) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("probe: {error}");
            ExitCode::FAILURE
        }
    }
}

fn told<T>(what: &str, result: Result<T, impl std::fmt::Display>) -> Result<T, String> {
    result.map_err(|error| format!("{what}: {error}"))
}

/// Tries each number, so that it works without /proc, and opens nothing itself.
fn fds(_: &[String]) -> Result<String, String> {
    let open = |fd: &i32| {
        // SAFETY: asks about a number and changes nothing.
        let flags = unsafe { libc::fcntl(*fd, libc::F_GETFD) };
        flags >= 0
    };
    Ok((0..1024).filter(open).map(|fd| fd.to_string()).collect::<Vec<_>>().join(" "))
}

fn devices(_: &[String]) -> Result<String, String> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let mut lines = Vec::new();
    for entry in told("read /dev", fs::read_dir("/dev"))?.flatten() {
        let meta = told("look at a node", entry.path().symlink_metadata())?;
        let (major, minor) = (libc::major(meta.rdev()), libc::minor(meta.rdev()));
        let name = entry.file_name().to_string_lossy().into_owned();
        lines.push(match meta.file_type() {
            kind if kind.is_char_device() => format!("c {major}:{minor} {name}"),
            kind if kind.is_block_device() => format!("b {major}:{minor} {name}"),
            kind if kind.is_symlink() => {
                format!("l {name} -> {}", fs::read_link(entry.path()).unwrap_or_default().display())
            }
            kind if kind.is_dir() => format!("d {name}"),
            _ => format!("f {name}"),
        });
    }
    lines.sort_unstable();
    Ok(lines.join("\n"))
}

/// From statvfs, so that it works without /proc.
fn flags(files: &[String]) -> Result<String, String> {
    let known = [
        (FsFlags::ST_RDONLY, " ro"),
        (FsFlags::ST_NOSUID, " nosuid"),
        (FsFlags::ST_NODEV, " nodev"),
        (FsFlags::ST_NOEXEC, " noexec"),
    ];
    let line = |file: &String| {
        let set = told(file, statvfs(file.as_str()))?.flags();
        let words = known.iter().filter(|(flag, _)| set.contains(*flag)).map(|(_, word)| *word);
        Ok(format!("{file}{}", words.collect::<String>()))
    };
    Ok(files.iter().map(line).collect::<Result<Vec<_>, String>>()?.join("\n"))
}

// ANCHOR: chroot_escape
/// A folder open outside, a chroot that does not contain it, and up from there.
fn chroot_escape(_: &[String]) -> Result<String, String> {
    let outside = told("open .", File::open("."))?;
    told("mkdir jail", fs::create_dir_all("/tmp/jail"))?;
    told("chroot", chroot("/tmp/jail"))?;
    told("fchdir", fchdir(&outside))?;
    for _ in 0..64 {
        told("chdir ..", chdir(".."))?;
    }
    told("chroot .", chroot("."))?;
    let mut names: Vec<String> = told("read /", fs::read_dir("/"))?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort_unstable();
    Ok(names.join(" "))
}
// ANCHOR_END: chroot_escape

fn chmod(words: &[String]) -> Result<String, String> {
    use std::os::unix::fs::PermissionsExt;
    let file = words.first().ok_or("FILE is needed")?;
    told("chmod", fs::set_permissions(file, fs::Permissions::from_mode(0o000)))?;
    Ok(format!("{file} has mode 0 now"))
}

/// Takes each signal before the next can merge with it: signals of one kind do not queue.
fn interrupts(_: &[String]) -> Result<String, String> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGINT);
    told("block SIGINT", set.thread_block())?;
    let signals = told("signalfd", SignalFd::new(&set))?;
    println!("ready");
    let mut count = 0;
    while told("poll", poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], 1000u16))? > 0 {
        told("read a signal", signals.read_signal())?;
        count += 1;
        println!("interrupt {count}.");
    }
    Ok(format!("interrupts in all: {count}"))
}

/// The child's parent ends at once, so the child is PID 1's when it ends. No SIGCHLD may come of that.
fn orphan(_: &[String]) -> Result<String, String> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGCHLD);
    told("run a shell", Command::new("sh").args(["-c", "sleep 0.1 &"]).status())?;
    told("block SIGCHLD", set.thread_block())?;
    let signals = told("signalfd", SignalFd::new(&set))?;
    let heard = told("poll", poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], 600u16))?;
    Ok(if heard > 0 { "it was told to us" } else { "silence" }.to_owned())
}

fn fork_bomb(words: &[String]) -> Result<String, String> {
    let mut children = Vec::new();
    let refusal = loop {
        // SAFETY: this process has one thread; the child only sleeps.
        match unsafe { nix::unistd::fork() } {
            Ok(nix::unistd::ForkResult::Parent { child }) => children.push(child),
            Ok(nix::unistd::ForkResult::Child) => loop {
                nix::unistd::pause();
            },
            Err(errno) => break errno,
        }
        if children.len() > 20_000 {
            return Err("20,000 processes and still no limit".into());
        }
    };
    if words.first().is_some_and(|word| word == "hold") {
        println!("{} processes, then: {refusal}", children.len());
        cgroup::hold(&[])?;
    }
    for child in &children {
        let _ = nix::sys::signal::kill(*child, nix::sys::signal::Signal::SIGKILL);
    }
    Ok(format!("{} processes, then: {refusal}", children.len()))
}
