//! What safety costs: a filter from the cache against one made anew, a birth with all of it against one without, and
//! what a filter adds to a system call.
//!
//! `cargo bench -p security --bench security` prints medians and ratios, and fails where a promise is not kept. It needs
//! root, or an ordinary user who may create user namespaces, and makes nothing outside of namespaces of its own but a folder
//! in the temporary one.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use mount::MountNamespace;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use process::exit::Exit;
use process::pid::PidNamespace;
use process::{Isolation, Program, spawn};
use security::capability::Set;
use security::order::Paths;
use security::privileges::Privileges;
use security::profile::DEFAULT;
use security::resolve::Facts;
use security::seccomp::{Choice, Filter};
use security::settings::Settings;
use security::{credentials, kernel};

/// The rest before each birth: work that the kernel puts off must not be hidden.
const REST: Duration = Duration::from_millis(50);

fn main() -> ExitCode {
    if !std::env::args().any(|word| word == "--bench") {
        return ExitCode::SUCCESS;
    }
    become_root();
    let state = State::new();
    let mut kept = filters(&state.0);
    kept &= births(&state.0, &demo());
    calls();
    ExitCode::from(u8::from(!kept))
}

/// A mount and, for an ordinary user, user namespace of our own.
fn become_root() {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    if !uid.is_root() {
        unshare(CloneFlags::CLONE_NEWUSER).expect("a user namespace");
        std::fs::write("/proc/self/setgroups", "deny").expect("setgroups");
        std::fs::write("/proc/self/uid_map", format!("0 {uid} 1")).expect("uid_map");
        std::fs::write("/proc/self/gid_map", format!("0 {gid} 1")).expect("gid_map");
    }
    unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .expect("private mounts");
}

/// A folder for the state in memory, as /run is; gone when dropped.
struct State(PathBuf);

impl State {
    fn new() -> State {
        let path = std::env::temp_dir().join(format!("gantry-bench-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        mount(Some("none"), &path, Some("tmpfs"), MsFlags::empty(), Some("mode=700")).expect("a tmpfs");
        State(path)
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let _ = nix::mount::umount(&self.0);
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// Prints whether a promise is kept.
fn promise(what: &str, measured: f64, most: f64, unit: &str) -> bool {
    let kept = measured <= most;
    println!(
        "{what:<58} {measured:>7.3}{unit} (at most {most}{unit}){}",
        if kept { "" } else { "  NOT KEPT" }
    );
    kept
}

fn median(times: &[f64]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn milliseconds(rest: Duration, work: impl FnOnce()) -> f64 {
    std::thread::sleep(rest);
    let begin = Instant::now();
    work();
    begin.elapsed().as_secs_f64() * 1e3
}

/// Docker's profile as a program: made, and taken from the cache.
fn filters(state: &Path) -> bool {
    let facts = Facts::here(Set::of_docker()).expect("this machine");
    let from_cache = || drop(Choice::Builtin.filter(&facts, state).expect("a filter"));
    from_cache();
    let make = || drop(Filter::compile(DEFAULT, "Docker's", &facts).expect("a filter"));
    // In two rows: to make one fills the processor's caches with a profile, which no start from the cache does before.
    let row = |work: &dyn Fn()| -> Vec<f64> {
        (0..100).map(|_| milliseconds(Duration::from_millis(10), work)).collect()
    };
    let (taken, made) = (row(&from_cache), row(&make));
    let (made, taken) = (median(&made), median(&taken));
    println!("Docker's profile made into a program {made:.3} ms, taken from the cache {taken:.3} ms");
    promise("the program of Docker's profile, from the cache", taken, 0.1, " ms")
}

/// The root file system of the labs, made by the learner's command where it is not there.
fn demo() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join("target/gantry/rootfs/demo");
    if !path.exists() {
        let words = ["run", "--quiet", "--package", "workshop", "--bin", "workshop", "--", "rootfs"];
        let made = std::process::Command::new(env!("CARGO")).args(words).current_dir(&root).output();
        assert!(made.is_ok_and(|made| made.status.success()), "cargo workshop rootfs");
    }
    path.canonicalize().expect("the demo root file system")
}

/// A birth with everything of this chapter, and the same without.
fn births(state: &Path, demo: &Path) -> bool {
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for round in 0..105 {
        let (one, other) =
            (milliseconds(REST, || birth(demo, Some(state))), milliseconds(REST, || birth(demo, None)));
        if round >= 5 {
            with.push(one);
            without.push(other);
        }
    }
    let (with, without) = (median(&with), median(&without));
    println!("birth with all privileges taken {with:.2} ms, without this chapter {without:.2} ms");
    promise("birth with this chapter, as a multiple of that without", with / without, 1.5, "")
}

fn birth(demo: &Path, state: Option<&Path>) {
    let program = Program {
        command: vec!["/bin/true".into()],
        environment: vec![("PATH".into(), "/bin".into())],
        workdir: "/".into(),
        ..Program::default()
    };
    let root = MountNamespace { rootfs: Some(demo.into()), ..MountNamespace::default() };
    let mut all: Vec<Box<dyn Isolation>> = vec![Box::new(PidNamespace), Box::new(root)];
    if let Some(state) = state {
        let ceiling = Set::of_docker();
        all.push(Box::new(Settings {
            nodes_open: true,
            sysctls: Vec::new(),
            paths: Paths::Covered,
            ceiling,
            oom_score: None,
            limits: Vec::new(),
        }));
        all.push(Box::new(Privileges::new(ceiling, state.to_owned())));
    }
    let child = spawn(&program, &mut all).expect("it starts");
    assert_eq!(child.wait(), Ok(Exit::Status(0)));
}

/// What a filter adds to calls: to one that it always allows, which newer kernels know beforehand (since 5.11), and to one
/// that it looks at each time. Told, and not promised: it is the kernel's to say.
fn calls() {
    let allowed = || {
        // SAFETY: numbers only.
        unsafe { libc::syscall(libc::SYS_getppid) };
    };
    let looked_at = || {
        // SAFETY: numbers only; asks for the personality and changes nothing.
        unsafe { libc::syscall(libc::SYS_personality, 0xffff_ffff_u64) };
    };
    for (name, call) in [("getppid", &allowed as &dyn Fn()), ("personality", &looked_at)] {
        let (bare, filtered) = (nanoseconds(false, call), nanoseconds(true, call));
        println!("{name:<12} {bare:>6.0} ns without a filter, {filtered:>6.0} ns under Docker's");
    }
}

/// The median time of a call, in a child that a filter may be put over.
fn nanoseconds(filter: bool, call: &dyn Fn()) -> f64 {
    let (mut from, mut to) = std::io::pipe().expect("a pipe");
    // SAFETY: this process has one thread.
    match unsafe { fork() }.expect("a child") {
        ForkResult::Child => {
            if filter {
                let facts = Facts::here(Set::of_docker()).expect("this machine");
                let filter = Filter::compile(DEFAULT, "Docker's", &facts).expect("a filter");
                credentials::no_new_privileges().expect("no_new_privs");
                kernel::seccomp(&filter.program, filter.flags).expect("seccomp");
            }
            let times: Vec<f64> = (0..51)
                .map(|_| {
                    let begin = Instant::now();
                    (0..20_000).for_each(|_| call());
                    begin.elapsed().as_secs_f64() * 1e9 / 20_000.0
                })
                .collect();
            std::io::Write::write_all(&mut to, median(&times).to_string().as_bytes()).expect("write");
            std::process::exit(0);
        }
        ForkResult::Parent { child } => {
            drop(to);
            let mut text = String::new();
            std::io::Read::read_to_string(&mut from, &mut text).expect("read");
            assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
            text.parse().expect("a number")
        }
    }
}
