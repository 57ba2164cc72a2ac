//! Stage 1: what is claimed of `process`, the runner of chapter 1. Signals stand in `process_signals.rs`.
//!
//! The tests of an exercise need that exercise and those before it, and nothing behind it: so they are
//! ordered as the birth itself, and each looks only at what has happened by then.

use std::fs;
use std::io::{PipeReader, PipeWriter, Write, pipe};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, mkfifo};

use super::process_descriptors::{a_forgotten_descriptor_leads_nowhere, the_program_starts_clean};
use super::process_signals::{
    a_signal_to_the_runner_reaches_the_program, ctrl_c_arrives_once, init_ends_with_the_code_of_its_child,
    init_forwards_signals_and_keeps_nothing_open, init_reaps_orphans,
};
use crate::stage::case::{Case, Running, children_of, eventually, processes, stat_field, state_of, write};
use crate::stage::tests;
use crate::stage::verdict::{Trouble, Verdict, fail, holds, same};

tests![
    a_clone_tells_both_sides_apart,
    the_clone_is_pid_one_of_its_namespace,
    an_exit_status_passes_unchanged,
    a_signal_is_reported_as_128_plus_its_number,
    the_child_waits_for_the_go,
    a_child_whose_parent_dies_at_the_gate_gives_up,
    a_failure_in_the_child_reaches_the_user,
    the_program_is_found_in_its_own_path,
    not_found_is_127_and_not_executable_is_126,
    arguments_environment_folder_and_streams_arrive,
    the_runner_ends_as_its_program_ends,
    the_program_starts_clean,
    a_forgotten_descriptor_leads_nowhere,
    the_program_is_pid_one_and_sees_the_host_in_proc,
    when_pid_one_dies_its_namespace_dies,
    when_the_runner_dies_the_container_dies,
    a_signal_to_the_runner_reaches_the_program,
    ctrl_c_arrives_once,
    init_reaps_orphans,
    init_ends_with_the_code_of_its_child,
    init_forwards_signals_and_keeps_nothing_open,
];

/// The number behind `words` in a line of text.
fn number_after(text: &str, words: &str) -> Option<i32> {
    let rest = &text[text.find(words)? + words.len()..];
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

pub fn a_clone_tells_both_sides_apart(case: &Case) -> Verdict {
    let run = case.run(&["clone", "--pid", "host"])?;
    let parent = number_after(&run.out, "parent: I am PID ");
    let child = number_after(&run.out, "my child is PID ");
    let both = run.out.contains("parent: ") && run.out.contains("child: ");
    run.claim(both, "one line from the parent and one from the child")?;
    run.claim(child.is_some() && child != parent, "the child has a PID of its own")?;
    run.claim(
        child == number_after(&run.out, "child: I am PID "),
        "without a namespace both sides agree on the child's PID",
    )?;
    run.claim(
        parent == number_after(&run.out, "my parent is PID "),
        "the child's parent is the process that called clone3",
    )?;
    the_parent_is_told_of_the_end(case)
}

/// The signal that the kernel will send stands in the child's `/proc/PID/stat`, while it lives: until its parent
/// has said its line, and that goes into a pipe that is full.
fn the_parent_is_told_of_the_end(case: &Case) -> Verdict {
    let (mut reader, writer) = full_pipe()?;
    let runner = case.start_with(&["clone", "--pid", "host"], |command| {
        command.stdout(writer);
    })?;
    let mut signal = None;
    let runner = runner.until("the runner makes a child", |runner| {
        signal = children_of(runner.pid()).first().and_then(|child| stat_field(*child, EXIT_SIGNAL));
        Ok(signal.is_some())
    })?;
    std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
    let run = runner.wait()?;
    let expected = "the child was made with SIGCHLD (17) as the signal that tells its parent of the end";
    run.claim(signal.as_deref() == Some("17"), format!("{expected}; it has {}", signal.unwrap_or_default()))?;
    Ok(())
}

/// The 38th field, counted from behind the name; see proc_pid_stat(5).
const EXIT_SIGNAL: usize = 35;

/// A pipe into which not one more byte goes.
fn full_pipe() -> Result<(PipeReader, PipeWriter), Trouble> {
    let (reader, mut writer) = pipe()?;
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    while writer.write(&[b'.'; 4096]).is_ok() {}
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty()))?;
    Ok((reader, writer))
}

pub fn the_clone_is_pid_one_of_its_namespace(case: &Case) -> Verdict {
    let run = case.run(&["clone"])?;
    run.out_has("child: I am PID 1, my parent is PID 0")?;
    let outside = number_after(&run.out, "my child is PID ");
    run.claim(outside.is_some_and(|pid| pid > 1), "outside, the same child has an ordinary PID")?;
    Ok(())
}

pub fn an_exit_status_passes_unchanged(case: &Case) -> Verdict {
    for status in [0, 1, 2, 42, 125, 126, 127, 128, 137, 255] {
        case.run(&["clone", "--exit", &status.to_string()])?.code_is(status)?;
    }
    Ok(())
}

/// Signals whose default action is to end the process, apart from those that Rust's runtime handles.
const DEADLY: [i32; 17] = [1, 2, 3, 4, 5, 6, 8, 9, 10, 12, 14, 15, 16, 24, 31, 34, 64];

pub fn a_signal_is_reported_as_128_plus_its_number(case: &Case) -> Verdict {
    for signal in DEADLY {
        case.run(&["clone", "--pid", "host", "--signal", &signal.to_string()])?.code_is(128 + signal)?;
    }
    // SIGWINCH does nothing by default: the child goes on and exits.
    case.run(&["clone", "--pid", "host", "--signal", "28", "--exit", "3"])?.code_is(3)?;
    Ok(())
}

/// A runner whose parent side is held up: it writes its PID file into a pipe that nobody reads yet.
pub(super) fn held_at_the_gate(case: &Case) -> Result<(Running, i32), Trouble> {
    mkfifo("/tmp/pid", Mode::from_bits_truncate(0o600))?;
    let runner = case.start(&["run", "--pid-file", "/tmp/pid", "-w", "/missing", "--", "true"])?;
    let runner =
        runner.until("the runner makes a child", |runner| Ok(!children_of(runner.pid()).is_empty()))?;
    with_child(runner)
}

pub fn the_child_waits_for_the_go(case: &Case) -> Verdict {
    let (runner, child) = held_at_the_gate(case)?;
    // Nothing can announce that something does not happen: give a child that does not wait the time to show it.
    std::thread::sleep(Duration::from_millis(150));
    let state = state_of(child);
    holds(
        state == Some('S'),
        "while the parent is busy the child sleeps at the gate",
        format!(
            "its state is {}",
            state.map_or("gone".to_owned(), |state| format!("{state} (Z: dead, not reaped)"))
        ),
    )?;
    same("the PID file", format!("{child}\n"), fs::read_to_string("/tmp/pid")?)?;
    runner.wait()?.code_is(125)?.err_has("/missing")?;
    Ok(())
}

pub fn a_child_whose_parent_dies_at_the_gate_gives_up(case: &Case) -> Verdict {
    let (runner, child) = held_at_the_gate(case)?;
    runner.signal(Signal::SIGKILL)?;
    runner.wait()?.code_is(137)?;
    eventually("the child is gone when its parent is", || Ok(state_of(child).is_none()))?;
    // And when the parent was dead before the child took its first step: then no death will be told to it,
    // and the gate is all that it has.
    let runner = case.start_with(&["run", "--", "true"], |command| {
        // SAFETY: ptrace is async-signal-safe.
        unsafe { command.pre_exec(|| ptrace::traceme().map_err(Into::into)) };
    })?;
    let child = stopped_at_birth(Pid::from_raw(runner.pid()))?;
    runner.signal(Signal::SIGKILL)?;
    // Before it is gone, the child could still ask to be told of its death.
    eventually("the runner is dead", || Ok(state_of(runner.pid()) == Some('Z')))?;
    let end = end_of(child)?;
    let run = runner.wait()?;
    run.claim(
        end == Some(WaitStatus::Exited(child, 125)),
        format!(
            "a child whose parent died before it came to the gate does not go through: it exits with 125; here it {}",
            match end {
                Some(WaitStatus::Exited(_, status)) => format!("went on, and exited with {status}"),
                Some(other) => format!("ended by {other:?}"),
                None => "still runs after some seconds".to_owned(),
            }
        ),
    )?;
    Ok(())
}

/// Follows a traced process to the birth of its first child: the child, before its first step.
fn stopped_at_birth(parent: Pid) -> Result<Pid, Trouble> {
    waitpid(parent, None)?;
    ptrace::setoptions(parent, Options::PTRACE_O_TRACEFORK)?;
    loop {
        ptrace::cont(parent, None)?;
        match waitpid(parent, None)? {
            WaitStatus::PtraceEvent(..) => break,
            WaitStatus::Stopped(..) => {}
            other => return Err(fail("the runner makes a child", format!("{other:?}"))),
        }
    }
    let child = Pid::from_raw(ptrace::getevent(parent)? as i32);
    waitpid(child, Some(WaitPidFlag::__WALL))?;
    Ok(child)
}

/// Lets a traced process run to its end, without the signal of its first stop; none if it does not end.
fn end_of(child: Pid) -> Result<Option<WaitStatus>, Trouble> {
    let mut end = None;
    ptrace::cont(child, None)?;
    let waited = eventually("", || {
        match waitpid(child, Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG))? {
            WaitStatus::StillAlive => {}
            WaitStatus::Stopped(..) | WaitStatus::PtraceEvent(..) => ptrace::cont(child, None)?,
            ended => end = Some(ended),
        }
        Ok(end.is_some())
    });
    if waited.is_err() {
        kill(child, Signal::SIGKILL)?;
        waitpid(child, Some(WaitPidFlag::__WALL))?;
    }
    Ok(end)
}

pub fn a_failure_in_the_child_reaches_the_user(case: &Case) -> Verdict {
    let run = case.run(&["run", "-w", "/missing", "--", "true"])?;
    run.code_is(125)?.err_has("chdir")?.err_has("/missing")?.err_has("ENOENT")?.err_is_one_line()?;
    Ok(())
}

fn script(path: &str, text: &str, mode: u32) -> Verdict {
    write(Path::new(path), text)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
}

pub fn the_program_is_found_in_its_own_path(case: &Case) -> Verdict {
    script("/tmp/first/greet", "#!/bin/sh\necho first\n", 0o644)?;
    script("/tmp/second/greet", "#!/bin/sh\necho second \"$0\"\n", 0o755)?;
    let path = "PATH=/tmp/none:/tmp/first:/tmp/second";
    case.run(&["run", "-e", path, "--", "greet"])?.code_is(0)?.out_is("second /tmp/second/greet")?;
    case.run(&["run", "-e", "PATH=/tmp/first", "--", "/tmp/second/greet"])?.code_is(0)?;
    // The runner's own PATH is not the container's.
    let outer = case.start_with(&["run", "--", "greet"], |command| {
        command.env("PATH", "/tmp/second");
    })?;
    outer.wait()?.code_is(127)?;
    // An empty folder is the working directory; without a PATH the default one counts.
    let here = ["run", "-e", "PATH=/tmp/none:", "-w", "/tmp/second", "--", "greet"];
    case.run(&here)?.code_is(0)?.out_is("second ./greet")?;
    let without = case.start_with(&["run", "-e", "PATH", "--", "true"], |command| {
        command.env_remove("PATH");
    })?;
    without.wait()?.code_is(0)?;
    Ok(())
}

pub fn not_found_is_127_and_not_executable_is_126(case: &Case) -> Verdict {
    script("/tmp/plain", "text\n", 0o644)?;
    script("/tmp/no-interpreter", "#!/no/such/shell\n", 0o755)?;
    script("/tmp/no-program", "neither ELF nor script\n", 0o755)?;
    let long = "x/".repeat(2500);
    let table = [
        ("no-such-program", 127, "ENOENT"),
        ("/no/such/program", 127, "ENOENT"),
        ("/tmp/plain/program", 127, "ENOTDIR"),
        ("/tmp/no-interpreter", 127, "ENOENT"),
        ("/tmp/plain", 126, "EACCES"),
        ("/tmp", 126, "EACCES"),
        ("/tmp/no-program", 126, "ENOEXEC"),
        (&long, 126, "ENAMETOOLONG"),
    ];
    for (program, code, errno) in table {
        let run = case.run(&["run", "--", program])?;
        run.code_is(code)?.err_has(errno)?.err_is_one_line()?;
    }
    fs::create_dir("/tmp/empty")?;
    // "Forbidden" tells more than "not here", in whatever order they come.
    for path in ["PATH=/tmp", "PATH=/tmp:/tmp/empty", "PATH=/tmp/empty:/tmp"] {
        case.run(&["run", "-e", path, "--", "plain"])?.code_is(126)?.err_has("EACCES")?;
    }
    case.run(&["run"])?.code_is(125)?;
    Ok(())
}

pub fn arguments_environment_folder_and_streams_arrive(case: &Case) -> Verdict {
    let words = case.sh(&[], "printf '<%s>' \"$@\"")?;
    words.code_is(0)?.out_is("<>")?;
    let run = case.run(&["run", "--", "printf", "<%s>", "two words", "", "-e", "\"quoted\" $HOME"])?;
    run.out_is("<two words><><-e><\"quoted\" $HOME>")?;
    let started =
        case.start_with(&["run", "-e", "PORT=80", "-e", "TOKEN", "-e", "UNSET", "--", "env"], |command| {
            command.env_clear().env("TOKEN", "a=b").env("SECRET", "of the host");
        })?;
    let seen = started.wait()?;
    let mut lines: Vec<&str> = seen.out.lines().filter(|line| !line.starts_with("PATH=")).collect();
    lines.sort_unstable();
    same("the environment", vec!["HOME=/root", "PORT=80", "TOKEN=a=b"], lines)?;
    case.run(&["run", "-w", "/usr", "--", "pwd"])?.out_is("/usr")?;
    write(Path::new("/tmp/in"), "what comes in\n")?;
    let piped = case.start_with(&["run", "--", "sh", "-c", "cat; echo aside >&2"], |command| {
        command.stdin(fs::File::open("/tmp/in").map_or(std::process::Stdio::null(), Into::into));
    })?;
    piped.wait()?.out_is("what comes in")?.err_has("aside")?;
    Ok(())
}

pub fn the_runner_ends_as_its_program_ends(case: &Case) -> Verdict {
    for status in [0, 1, 2, 125, 126, 127, 130, 255] {
        case.sh(&[], &format!("exit {status}"))?.code_is(status)?;
    }
    for signal in DEADLY.into_iter().chain([7, 11, 13]) {
        case.sh(&["--pid", "host"], &format!("kill -{signal} $$; sleep 5"))?.code_is(128 + signal)?;
    }
    Ok(())
}

pub fn the_program_is_pid_one_and_sees_the_host_in_proc(case: &Case) -> Verdict {
    let run = case.sh(&[], "echo $$; grep NSpid /proc/self/status; ls /proc")?;
    run.claim(run.out.starts_with("1\n"), "the shell's own PID is 1")?;
    run.claim(
        number_after(&run.out, "NSpid:\t").is_some_and(|pid| pid > 1),
        "NSpid begins with the PID outside",
    )?;
    // The gap to chapter 2: this test's own process stands in the container's /proc.
    let me = std::process::id().to_string();
    run.claim(
        run.out.lines().any(|line| line == me),
        format!("/proc still shows the host, and in it this test, PID {me}"),
    )?;
    case.run(&["run", "--pid", "host", "--", "sh", "-c", "test $$ -ne 1"])?.code_is(0)?;
    Ok(())
}

/// Starts a runner with a script that says `ready`, and waits for it; the runner and its child's PID.
pub(super) fn ready(case: &Case, flags: &[&str], script: &str) -> Result<(Running, i32), Trouble> {
    with_child(case.start(&[&["run"], flags, &["--", "sh", "-c", script]].concat())?.until_ready()?)
}

/// A runner and its child's PID.
fn with_child(runner: Running) -> Result<(Running, i32), Trouble> {
    let child = children_of(runner.pid()).first().copied();
    child.map(|child| (runner, child)).ok_or_else(|| fail("the runner has a child", "none"))
}

pub fn when_pid_one_dies_its_namespace_dies(case: &Case) -> Verdict {
    let (runner, child) = ready(case, &[], "sleep 1000 & (sleep 1000 & sleep 1000) & echo ready; wait")?;
    eventually("three sleeps run", || Ok(sleepers() == 3))?;
    kill(Pid::from_raw(child), Signal::SIGKILL)?;
    runner.wait()?.code_is(137)?;
    same("processes that outlive PID 1", 0, sleepers())
}

pub fn when_the_runner_dies_the_container_dies(case: &Case) -> Verdict {
    let (runner, _) = ready(case, &[], "sleep 1000 & echo ready; wait")?;
    runner.signal(Signal::SIGKILL)?;
    runner.wait()?.code_is(137)?;
    eventually("nothing of the container is left", || Ok(sleepers() == 0))
}

/// How many processes called `sleep` there are in this lab.
fn sleepers() -> usize {
    let is_sleep =
        |pid: &i32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "sleep");
    processes().iter().filter(|pid| is_sleep(pid) && state_of(**pid) != Some('Z')).count()
}
