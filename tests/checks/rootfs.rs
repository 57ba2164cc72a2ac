//! The demo root file system, looked at from outside: it is entered and used, and its builder is killed.
//!
//! Each kind is made in a scratch folder and entered in namespaces of its own, which an ordinary user may
//! create. Where that is forbidden, or there is no busybox, tests are skipped (and fail under `GANTRY_MUST_RUN=1`).

#[path = "support/ground.rs"]
mod ground;

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use ground::Skip;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, chdir, chroot, fork, getgid, getuid};
use workshop::rootfs;

type Outcome = Result<(), Failed>;

/// Set for the child that builds, and may be killed: the workspace that it builds for. It adds this program
/// itself; here, a program that was copied cannot be started while another test forks with it open.
const BUILD: &str = "GANTRY_TEST_BUILD";

fn main() -> ExitCode {
    if let Some(root) = std::env::var_os(BUILD) {
        let demo = rootfs::demo(Path::new(&root)).expect("the builder");
        let own = std::env::current_exe().expect("this program");
        rootfs::add_program(&demo, &own, "/usr/local/bin/probe").expect("the probe");
        return ExitCode::SUCCESS;
    }
    let mut trials = Vec::new();
    for kind in ["busybox", "host"] {
        let of_kind = OF_EACH_KIND.iter().chain(if kind == "host" { OF_HOST } else { &[] });
        trials.extend(of_kind.map(|claim| trial(kind, claim)));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// What is claimed of a demo of some kind.
struct Claim {
    name: &'static str,
    test: fn(&str) -> Outcome,
    /// Whether it is entered, which takes a user namespace.
    enters: bool,
    /// Programs that a machine may lack, and then its demo lacks them.
    tools: &'static [&'static str],
}

const OF_EACH_KIND: &[Claim] = &[
    Claim { name: "its_programs_run", test: its_programs_run, enters: true, tools: &[] },
    Claim { name: "its_tools_run", test: its_tools_run, enters: true, tools: &["ps", "ip"] },
    Claim { name: "an_added_program_runs", test: an_added_program_runs, enters: true, tools: &[] },
    Claim { name: "links_stay_inside", test: links_stay_inside, enters: false, tools: &[] },
    Claim { name: "a_copy_is_quick_and_the_same", test: a_copy_is_quick, enters: false, tools: &[] },
];

const OF_HOST: &[Claim] = &[
    Claim {
        name: "every_program_finds_its_libraries",
        test: every_program_finds_its_libraries,
        enters: true,
        tools: &[],
    },
    Claim { name: "a_killed_builder_leaves_nothing_half", test: a_killed_builder, enters: false, tools: &[] },
];

fn trial(kind: &'static str, claim: &'static Claim) -> Trial {
    Trial::ignorable_test(format!("{kind}::{}", claim.name), move || match missing(kind, claim) {
        Some(why) => Skip::Avoidable(why).ended(),
        None => (claim.test)(kind).map(|()| Completion::Completed),
    })
}

/// What this machine lacks for the test of a claim.
fn missing(kind: &str, claim: &Claim) -> Option<String> {
    static CAN_ENTER: LazyLock<bool> = LazyLock::new(can_enter);
    if kind == "busybox" && rootfs::static_busybox(rootfs::find_program).is_none() {
        return Some("there is no static busybox".to_owned());
    }
    if claim.enters && !*CAN_ENTER {
        return Some("no user namespace can be made".to_owned());
    }
    let lacks = |tool: &&&str| kind == "host" && rootfs::find_program(tool).is_none();
    claim.tools.iter().find(lacks).map(|tool| format!("this machine has no `{tool}`"))
}

fn its_programs_run(kind: &str) -> Outcome {
    let scratch = Scratch::new("programs");
    let demo = scratch.make(kind)?;
    says(
        &demo,
        "ls / && id && cat /etc/os-release && cd ~ && pwd",
        &["etc\n", "uid=0(root) gid=0(root)", "NAME=\"Gantry demo\"", "/root\n"],
    )?;
    says(&demo, "ls -ld /tmp /var/run; . /etc/profile; echo \"$PS1\"", &["drwxrwxrwt", ":$PWD# "])
}

fn its_tools_run(kind: &str) -> Outcome {
    let scratch = Scratch::new("tools");
    says(&scratch.make(kind)?, "ps && ip link", &["PID", "lo:"])
}

/// Runs a script inside, which must succeed and print each part.
fn says(demo: &Path, script: &str, parts: &[&str]) -> Outcome {
    let output = enter(demo, script)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure(output.status.success(), &format!("{output:?}"))?;
    parts.iter().try_for_each(|part| ensure(text.contains(part), &format!("no `{part}` in:\n{text}")))
}

fn every_program_finds_its_libraries(kind: &str) -> Outcome {
    let scratch = Scratch::new("libraries");
    let demo = scratch.make(kind)?;
    // No /dev/null inside: there is no device at all.
    let script = "count=0; for program in /usr/bin/*; do count=$((count + 1)); \
                  timeout 5 $program --version </etc/shells >/tmp/said 2>&1; status=$?; \
                  if [ $status = 126 ] || [ $status = 127 ] || grep -q 'shared librar' /tmp/said; then \
                  echo \"$program: $status\"; cat /tmp/said; fi; done; echo $count >/tmp/count";
    let output = enter(&demo, script)?;
    ensure(output.status.success() && output.stdout.is_empty(), &format!("{output:?}"))?;
    let count = std::fs::read_to_string(demo.join("tmp/count"))?;
    ensure(count.trim().parse::<u32>()? > 60, &format!("only {count} programs were tried"))
}

fn an_added_program_runs(kind: &str) -> Outcome {
    let scratch = Scratch::new("added");
    let demo = scratch.make(kind)?;
    let output = enter(&demo, "/usr/local/bin/probe --list")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure(output.status.success() && text.contains("links_stay_inside"), &format!("{output:?}"))
}

fn a_killed_builder(kind: &str) -> Outcome {
    let mut cut_short = 0;
    for delay in 0..16 {
        let scratch = Scratch::new("killed");
        let mut builder = Command::new(std::env::current_exe()?)
            .env(BUILD, scratch.path())
            .env("GANTRY_ROOTFS", kind)
            .stderr(Stdio::null())
            .spawn()?;
        std::thread::sleep(Duration::from_millis(delay * 8));
        builder.kill()?;
        cut_short += u32::from(builder.wait()?.signal().is_some());
        let demo = scratch.path().join(format!("target/gantry/rootfs/demo-{kind}"));
        if demo.exists() {
            for name in ["etc/passwd", "usr/bin/sh", "usr/bin/ls", "bin", "tmp", "var/tmp"] {
                ensure(demo.join(name).exists(), &format!("{name} is missing after {} ms", delay * 8))?;
            }
        }
        ensure(scratch.make(kind)?.join("usr/bin/sh").exists(), "a second builder fails")?;
    }
    ensure(cut_short >= 3, &format!("only {cut_short} of 16 builders were killed in time"))
}

fn links_stay_inside(kind: &str) -> Outcome {
    let scratch = Scratch::new("links");
    let demo = scratch.make(kind)?.canonicalize()?;
    let mut queue = vec![demo.clone()];
    while let Some(folder) = queue.pop() {
        for entry in folder.read_dir()? {
            let path = entry?.path();
            if path.is_symlink() {
                let target = path.canonicalize().map_err(|error| format!("{}: {error}", path.display()))?;
                ensure(target.starts_with(&demo), &format!("{} leads to {target:?}", path.display()))?;
            } else if path.is_dir() {
                queue.push(path);
            }
        }
    }
    Ok(())
}

fn a_copy_is_quick(kind: &str) -> Outcome {
    let scratch = Scratch::new("copies");
    let demo = scratch.make(kind)?;
    let begin = std::time::Instant::now();
    let copy = scratch.path().join("copy");
    rootfs::copy(&demo, &copy)?;
    ensure(begin.elapsed() < Duration::from_secs(2), &format!("took {:?}", begin.elapsed()))?;
    let (from, to) = (tree(&demo)?, tree(&copy)?);
    ensure(from == to && from.len() > 60, &format!("{} and {} entries", from.len(), to.len()))
}

/// Every path of a tree with what it is, its permissions, and its size or target.
fn tree(root: &Path) -> Result<Vec<String>, Failed> {
    use std::os::unix::fs::MetadataExt;
    let mut queue = vec![root.to_owned()];
    let mut all = Vec::new();
    while let Some(folder) = queue.pop() {
        for entry in folder.read_dir()? {
            let path = entry?.path();
            let facts = path.symlink_metadata()?;
            let size = if facts.is_dir() { 0 } else { facts.len() };
            let target = std::fs::read_link(&path).unwrap_or_default();
            all.push(format!("{:?} {:o} {size} {target:?}", path.strip_prefix(root)?, facts.mode()));
            if facts.is_dir() {
                queue.push(path);
            }
        }
    }
    all.sort();
    Ok(all)
}

fn can_enter() -> bool {
    enter_with(Path::new("/"), "/bin/sh", "exit 0").is_ok_and(|output| output.status.success())
}

/// Runs a shell script in `demo` as its root directory.
fn enter(demo: &Path, script: &str) -> std::io::Result<Output> {
    enter_with(demo, "/bin/sh", script)
}

fn enter_with(demo: &Path, shell: &str, script: &str) -> std::io::Result<Output> {
    let demo = demo.to_owned();
    let (uid, gid) = (getuid(), getgid());
    let maps = [format!("0 {uid} 1"), format!("0 {gid} 1")];
    let mut command = Command::new(shell);
    command.args(["-c", script]).env_clear().envs([("PATH", "/usr/bin:/bin"), ("HOME", "/root")]);
    // SAFETY: between fork and exec only system calls run; the strings were made before.
    unsafe { command.pre_exec(move || Ok(step_inside(&demo, &maps)?)) };
    command.output()
}

/// Namespaces of its own, a process that is PID 1 of them, `/proc`, and the new root.
fn step_inside(demo: &Path, maps: &[String; 2]) -> nix::Result<()> {
    let kinds = [CloneFlags::CLONE_NEWUSER, CloneFlags::CLONE_NEWNS, CloneFlags::CLONE_NEWPID];
    unshare(kinds.into_iter().collect::<CloneFlags>() | CloneFlags::CLONE_NEWNET)?;
    for (file, text) in [("setgroups", "deny"), ("uid_map", &maps[0]), ("gid_map", &maps[1])] {
        let path: PathBuf = Path::new("/proc/self").join(file);
        std::fs::write(path, text).map_err(|_| nix::errno::Errno::EPERM)?;
    }
    // SAFETY: this process is a fresh fork with one thread.
    if let ForkResult::Parent { child } = unsafe { fork() }? {
        let code = match waitpid(child, None)? {
            WaitStatus::Exited(_, code) => code,
            _ => 1,
        };
        // SAFETY: ends this helper without running the test program's handlers.
        unsafe { nix::libc::_exit(code) }
    }
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    chroot(demo)?;
    chdir("/")?;
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), none)
}

fn ensure(true_that: bool, otherwise: &str) -> Outcome {
    if true_that { Ok(()) } else { Err(otherwise.into()) }
}

/// A workspace of its own, gone when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("gantry-rootfs-{name}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a scratch folder");
        Scratch(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }

    /// The demo of one kind, made by a child, since the kind is asked for in the environment.
    fn make(&self, kind: &str) -> Result<PathBuf, Failed> {
        let mut builder = Command::new(std::env::current_exe()?);
        let output = builder.env(BUILD, self.path()).env("GANTRY_ROOTFS", kind).output()?;
        ensure(output.status.success(), &format!("{output:?}"))?;
        Ok(self.path().join(format!("target/gantry/rootfs/demo-{kind}")))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
