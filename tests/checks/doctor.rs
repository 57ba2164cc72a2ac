//! The doctor, asked here and on machines that forbid things.
//!
//! A namespace of one's own has switches of its own, so an ordinary user can make a "machine" whose
//! administrator allows no user namespaces, or whose `/proc` is masked as in Docker, and hear what the
//! doctor says about it. The real machine must be the same before and after.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

use libtest_mimic::{Arguments, Failed, Trial};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork, getegid, geteuid};
use workshop::course::Course;
use workshop::doctor;

type Outcome = Result<(), Failed>;

/// Set for the child that is the doctor.
const ASK: &str = "GANTRY_TEST_DOCTOR";

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace's root");
    let course = Course::load(root).expect("the course");
    if std::env::var_os(ASK).is_some() {
        return ExitCode::from(u8::from(!doctor::run(root, &course).expect("the doctor")));
    }
    // One at a time: a program that was copied cannot be started while another test forks with it open.
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    let must = std::env::var_os("GANTRY_MUST_RUN").is_some();
    let skip = |machine: fn() -> nix::Result<()>| !must && ask(machine).is_err();
    let root_asks = geteuid().is_root();
    let tests = vec![
        Trial::test("a_run_here_is_whole_and_changes_nothing", here),
        Trial::test("an_ordinary_user_is_told_so", ordinary_user).with_ignored_flag(!root_asks),
        Trial::test("a_forbidden_user_namespace_is_explained", forbidden)
            .with_ignored_flag(skip(forbid_user_namespaces)),
        Trial::test("chapter_4_and_the_doctor_name_the_same_fixes", same_fixes),
        Trial::test("a_masked_proc_is_explained", masked).with_ignored_flag(skip(mask_proc)),
    ];
    libtest_mimic::run(&arguments, tests).exit_code()
}

fn here() -> Outcome {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("no workspace")?;
    let machine = || ["/proc/self/mountinfo", "/proc/net/dev"].map(names);
    let before = machine();
    let output = ask(|| Ok(()))?;
    ensure(before == machine(), "the machine's mounts or links changed")?;
    let text = said(&output);
    for chapter in &Course::load(root)?.chapters {
        let line = text.lines().find(|line| line.contains(&chapter.title)).ok_or("a chapter is missing")?;
        ensure(line.contains("ready"), line)?;
    }
    ensure(text.starts_with("Linux ") && text.contains("Looked at "), &text)?;
    ensure(output.status.code() == Some(i32::from(text.contains("not ready:"))), &text)?;
    ensure(output.stderr.is_empty(), &String::from_utf8_lossy(&output.stderr))
}

/// Mount points or links: the first word that does not change by itself.
fn names(file: &str) -> Vec<String> {
    let column = if file.ends_with("mountinfo") { 4 } else { 0 };
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| line.split_whitespace().nth(column).map(str::to_owned)).collect()
}

fn ordinary_user() -> Outcome {
    let text = said(&doctor_as(Some(65534), || Ok(()))?);
    ensure(text.contains("as an ordinary user") && text.contains("Looked at "), &text)?;
    ensure(!text.contains("root lacks"), &text)
}

fn forbidden() -> Outcome {
    let text = said(&ask(forbid_user_namespaces)?);
    for part in
        ["user namespaces (missing)", "ENOSPC", "sysctl user.max_user_namespaces", "kernel lab has it"]
    {
        ensure(text.contains(part), &format!("no `{part}` in:\n{text}"))?;
    }
    ensure(text.contains("not here: user namespaces") || text.contains("not ready: user namespaces"), &text)
}

/// What the errors of chapter 4 tell a user to type, the doctor tells her too.
fn same_fixes() -> Outcome {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("no workspace")?;
    let read = |file: &str| std::fs::read_to_string(root.join(file));
    let doctor = read("tests/src/doctor/namespaces.rs")? + &read("tests/src/doctor/ids.rs")?;
    let errors = read("solutions/04-user/src/switches.rs")? + &read("solutions/04-user/src/helper.rs")?;
    let fixes: Vec<&str> = errors
        .match_indices("sudo ")
        .map(|(at, _)| errors[at..].split(['`', '"']).next().unwrap_or_default())
        .collect();
    ensure(fixes.len() == 4, &format!("four fixes in chapter 4, not {fixes:?}"))?;
    fixes.iter().try_for_each(|fix| ensure(doctor.contains(fix), &format!("the doctor does not say `{fix}`")))
}

fn masked() -> Outcome {
    let text = said(&ask(mask_proc)?);
    ensure(text.contains("proc (missing): mount proc: EPERM") && text.contains("/proc/fs is covered"), &text)
}

fn ask(machine: fn() -> nix::Result<()>) -> std::io::Result<Output> {
    doctor_as(None, machine)
}

/// The doctor's answer on the machine that `machine` makes, asked by this or another user.
fn doctor_as(uid: Option<u32>, machine: fn() -> nix::Result<()>) -> std::io::Result<Output> {
    // Another user may not be let into the folder of this program.
    let scratch = Scratch::new()?;
    let program = scratch.0.join("doctor");
    std::fs::copy(std::env::current_exe()?, &program)?;
    let mut command = Command::new(program);
    command.env(ASK, "1");
    if let Some(uid) = uid {
        command.uid(uid).gid(uid);
    }
    // SAFETY: between fork and exec only system calls run.
    unsafe { command.pre_exec(move || Ok(machine()?)) };
    command.output()
}

fn own_users(others: CloneFlags) -> nix::Result<()> {
    let maps =
        [("setgroups", None), ("uid_map", Some(geteuid().as_raw())), ("gid_map", Some(getegid().as_raw()))];
    unshare(CloneFlags::CLONE_NEWUSER | others)?;
    for (file, id) in maps {
        let text = id.map_or("deny".to_owned(), |id| format!("0 {id} 1"));
        std::fs::write(Path::new("/proc/self").join(file), text).map_err(|_| Errno::EPERM)?;
    }
    Ok(())
}

fn forbid_user_namespaces() -> nix::Result<()> {
    own_users(CloneFlags::empty())?;
    std::fs::write("/proc/sys/user/max_user_namespaces", "0").map_err(|_| Errno::EPERM)
}

fn mask_proc() -> nix::Result<()> {
    own_users(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID)?;
    // SAFETY: this process is a fresh fork with one thread.
    if let ForkResult::Parent { child } = unsafe { fork() }? {
        let code = match waitpid(child, None)? {
            WaitStatus::Exited(_, code) => code,
            _ => 125,
        };
        // SAFETY: ends this helper without running the test program's handlers.
        unsafe { nix::libc::_exit(code) }
    }
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), none)?;
    mount(Some("tmpfs"), "/proc/fs", Some("tmpfs"), MsFlags::MS_RDONLY, none)
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn ensure(true_that: bool, otherwise: &str) -> Outcome {
    if true_that { Ok(()) } else { Err(otherwise.into()) }
}

/// A folder that all may enter, gone when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> std::io::Result<Scratch> {
        use std::os::unix::fs::PermissionsExt;
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("gantry-doctor-{}-{number}", std::process::id()));
        std::fs::create_dir(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
