//! The birth of a container against the least that the kernel asks for it.
//!
//! Ours is `process::spawn` of `/bin/true` with a PID namespace and a mount namespace on `demo`, with all of
//! `/proc`, `/sys` and `/dev`, up to the end of the wait. The peer is what a careful C programmer would write for
//! the same result: one clone3, the same mounts by the classic calls in a row, pivot_root, exec, wait; no check, no
//! message, no allocation. Both are started from this one process, by turns, after 50 ms of rest each: starts
//! one after the other hide what the kernel puts off.
//!
//! `cargo bench -p mount` prints medians and their ratio, and fails above 1.5.

use std::ffi::{CStr, CString};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use mount::MountNamespace;
use nix::sched::{CloneFlags, unshare};
use process::exit::Exit;
use process::pid::PidNamespace;
use process::{Isolation, Program, spawn};

/// How often each of the two is started.
const ROUNDS: usize = 100;

/// The rest before each start.
const REST: Duration = Duration::from_millis(50);

/// The most that ours may take, as a multiple of the peer's time.
const MOST: f64 = 1.5;

fn main() -> ExitCode {
    if !std::env::args().any(|word| word == "--bench") {
        return ExitCode::SUCCESS;
    }
    let demo = demo();
    become_root();
    let peer = Peer::new(&demo);
    let (mut our_times, mut peer_times) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS + 5 {
        // Who comes first changes: if that matters, it matters to both.
        let (one, other) = if round % 2 == 0 {
            (timed(|| ours(&demo)), timed(|| peer.start()))
        } else {
            let other = timed(|| peer.start());
            (timed(|| ours(&demo)), other)
        };
        // The first starts fill caches.
        if round >= 5 {
            our_times.push(one);
            peer_times.push(other);
        }
    }
    let ratio = report("ours", &mut our_times) / report("peer", &mut peer_times);
    println!("ratio {ratio:.2} (at most {MOST})");
    ExitCode::from(u8::from(ratio > MOST))
}

/// Makes `demo` if it is not there, by the learner's command.
fn demo() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["run", "--quiet", "--package", "workshop", "--bin", "workshop", "--", "rootfs"]);
    let made = cargo.current_dir(&root).output().expect("run cargo");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    root.join("target/gantry/rootfs/demo").canonicalize().expect("the demo root file system")
}

/// An ordinary user measures in a user namespace; its /sys needs a network namespace, too.
fn become_root() {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    if uid.is_root() {
        return;
    }
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)
        .expect("a user namespace");
    std::fs::write("/proc/self/setgroups", "deny").expect("setgroups");
    std::fs::write("/proc/self/uid_map", format!("0 {uid} 1")).expect("uid_map");
    std::fs::write("/proc/self/gid_map", format!("0 {gid} 1")).expect("gid_map");
}

fn timed(start: impl FnOnce()) -> Duration {
    std::thread::sleep(REST);
    let begin = Instant::now();
    start();
    begin.elapsed()
}

/// Prints the median and the tenth and ninetieth percentiles in microseconds; the median.
fn report(name: &str, times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e6;
    println!("{name}  median {:.0} µs, from {:.0} to {:.0} in four of five starts", at(50), at(10), at(90));
    at(50)
}

fn ours(demo: &Path) {
    let program = Program {
        command: vec!["/bin/true".into()],
        environment: vec![("PATH".into(), "/bin".into())],
        workdir: "/".into(),
        ..Program::default()
    };
    let root = MountNamespace { rootfs: Some(demo.to_owned()), ..MountNamespace::default() };
    let mut isolations: [Box<dyn Isolation>; 2] = [Box::new(PidNamespace), Box::new(root)];
    let child = spawn(&program, &mut isolations).expect("it starts");
    assert_eq!(child.wait(), Ok(Exit::Status(0)));
}

/// The same by bare calls; the paths are made before the clock runs, as C would have them in the binary.
struct Peer {
    root: CString,
    proc: CString,
    sys: CString,
    dev: CString,
    pts: CString,
    devices: [(CString, CString); 6],
    links: [(CString, CString); 5],
}

impl Peer {
    fn new(demo: &Path) -> Peer {
        let text = |text: String| CString::new(text).expect("no zero byte");
        let inside = |name: &str| text(format!("{}/{name}", demo.display()));
        let devices = ["null", "zero", "full", "random", "urandom", "tty"];
        let links = [
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
            ("ptmx", "pts/ptmx"),
        ];
        Peer {
            root: text(demo.display().to_string()),
            proc: inside("proc"),
            sys: inside("sys"),
            dev: inside("dev"),
            pts: inside("dev/pts"),
            devices: devices.map(|name| (text(format!("/dev/{name}")), inside(&format!("dev/{name}")))),
            links: links.map(|(name, target)| (text(target.into()), inside(&format!("dev/{name}")))),
        }
    }

    fn start(&self) {
        let mut pidfd: i32 = -1;
        // struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, ...
        let flags = libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_PIDFD;
        let mut arguments = [0u64; 11];
        arguments[0] = flags as u64;
        arguments[1] = &raw mut pidfd as u64;
        arguments[4] = libc::SIGCHLD as u64;
        // SAFETY: the arguments outlive the call; the child, a copy with its own memory, makes system calls only.
        let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of_val(&arguments)) };
        if pid == 0 {
            self.child();
        }
        assert!(pid > 0, "clone3: {}", std::io::Error::last_os_error());
        // SAFETY: siginfo_t is plain data, for which zeroes are a valid value.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: `info` lives through the call; the descriptor is ours and is closed once.
        let status = unsafe {
            libc::waitid(libc::P_PIDFD, pidfd as u32, &mut info, libc::WEXITED);
            libc::close(pidfd);
            info.si_status()
        };
        assert_eq!(status, 0, "the bare child failed");
    }

    /// Everything in a row; leaves with another status than 0 if the program does not run.
    fn child(&self) -> ! {
        use libc::{MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_PRIVATE, MS_RDONLY, MS_REC, MS_REMOUNT};
        let locked = MS_NOSUID | MS_NODEV | MS_NOEXEC;
        let none = c"none";
        mount(none, c"/", none, MS_REC | MS_PRIVATE, c"");
        mount(&self.root, &self.root, none, MS_BIND | MS_REC, c"");
        mount(c"proc", &self.proc, c"proc", locked, c"");
        mount(c"sysfs", &self.sys, c"sysfs", locked | MS_RDONLY, c"");
        mount(c"tmpfs", &self.dev, c"tmpfs", MS_NOSUID, c"mode=755,size=65536k");
        // SAFETY: the paths end with a zero byte and outlive the calls.
        unsafe {
            libc::mkdir(self.pts.as_ptr(), 0o755);
        }
        mount(c"devpts", &self.pts, c"devpts", MS_NOSUID | MS_NOEXEC, c"mode=620,ptmxmode=666");
        for (source, target) in &self.devices {
            // SAFETY: as above; the descriptor is closed once.
            unsafe { libc::close(libc::open(target.as_ptr(), libc::O_CREAT | libc::O_CLOEXEC, 0o644)) };
            mount(source, target, none, MS_BIND, c"");
            mount(none, target, none, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOEXEC, c"");
        }
        for (target, link) in &self.links {
            // SAFETY: as above.
            unsafe { libc::symlink(target.as_ptr(), link.as_ptr()) };
        }
        self.enter()
    }

    fn enter(&self) -> ! {
        let words = [c"/bin/true".as_ptr(), std::ptr::null()];
        let variables = [c"PATH=/bin".as_ptr(), std::ptr::null()];
        // SAFETY: all strings and lists are constants that end as they must; nothing runs after `_exit`.
        unsafe {
            libc::chdir(self.root.as_ptr());
            libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr());
            libc::umount2(c".".as_ptr(), libc::MNT_DETACH);
            libc::chdir(c"/".as_ptr());
            libc::execve(words[0], words.as_ptr(), variables.as_ptr());
            libc::_exit(125)
        }
    }
}

/// mount(2); a failure shows when the program does not run.
fn mount(source: &CStr, target: &CStr, kind: &CStr, flags: u64, data: &CStr) {
    // SAFETY: all strings end with a zero byte and outlive the call.
    let done =
        unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast()) };
    if done != 0 {
        // SAFETY: ends this copy of the process.
        unsafe { libc::_exit(124) };
    }
}
