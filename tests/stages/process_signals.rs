//! Stage 1, signals: those that are passed on, and the duties of PID 1, which are told by one.
//!
//! What counts is how often a signal arrives, so nothing here may depend on how fast somebody is: a process that
//! must not be first is stopped meanwhile.

use std::fs;
use std::os::unix::process::CommandExt;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::process::{held_at_the_gate, ready};
use super::process_descriptors::{lab_path, leak_as_seven};
use crate::stage::case::{Case, children_of, eventually, stat_field, state_of};
use crate::stage::verdict::{Trouble, Verdict, fail, holds};

/// A loop that ends by itself after a second, so that nothing hangs when no signal arrives.
const LOOP: &str = "echo ready; for i in $(seq 50); do sleep 0.02; done";

pub fn a_signal_to_the_runner_reaches_the_program(case: &Case) -> Verdict {
    let signals =
        [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2];
    for signal in signals {
        let name = signal.as_str().trim_start_matches("SIG");
        let (runner, _) = ready(case, &[], &format!("trap 'echo got {name}; exit 7' {name}; {LOOP}"))?;
        runner.signal(signal)?;
        runner.wait()?.code_is(7)?.out_has(&format!("got {name}"))?;
    }
    // One that comes before the program runs waits for it, and does not end the runner.
    let (runner, _) = held_at_the_gate(case)?;
    let status = fs::read_to_string(format!("/proc/{}/status", runner.pid()))?;
    let blocked =
        status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigBlk:\t")?, 16).ok());
    let held = blocked.is_some_and(|set| set & (1 << (Signal::SIGTERM as u32 - 1)) != 0);
    fs::read_to_string("/tmp/pid")?;
    runner.wait()?.claim(held, "while the child waits at the gate, the runner holds SIGTERM back")?;
    Ok(())
}

pub fn ctrl_c_arrives_once(case: &Case) -> Verdict {
    let pty = nix::pty::openpty(None, None)?;
    let slave = fs::File::from(pty.slave);
    let runner = case.start_with(&["run", "-e", &lab_path(), "--", "probe", "interrupts"], |command| {
        command.stdin(slave);
        // SAFETY: setsid and ioctl are async-signal-safe.
        unsafe {
            command.pre_exec(|| {
                libc::setsid();
                nix::errno::Errno::result(libc::ioctl(0, libc::TIOCSCTTY, 0)).map(drop).map_err(Into::into)
            })
        };
    })?;
    let runner = runner.until_ready()?;
    // The runner sleeps until the program has its own signal: two at once would count as one.
    runner.signal(Signal::SIGSTOP)?;
    nix::unistd::write(&pty.master, b"\x03")?;
    let runner =
        runner.until("Ctrl-C reaches the program", |run| Ok(run.out_so_far()?.contains("interrupt 1.")))?;
    runner.signal(Signal::SIGCONT)?;
    runner.wait()?.code_is(0)?.out_has("interrupts in all: 1")?;
    Ok(())
}

/// Why a program below PID 1 must end.
const TOLD_TO_END: &str =
    "the runner gets a SIGTERM and passes it on, PID 1 passes it on to the program, and everything ends";

/// Enough that one SIGCHLD for each would be a surprise.
const ORPHANS: usize = 5;

pub fn init_reaps_orphans(case: &Case) -> Verdict {
    // A subshell ends at once; its loop becomes PID 1's child, ends when told, and waits to be reaped.
    let orphan = "(while ! test -e /tmp/go; do sleep 0.01; done &);";
    let script = format!("{} echo ready; exec sleep 1000", orphan.repeat(ORPHANS));
    let (runner, init) = ready(case, &["--init"], &script)?;
    eventually("the orphans are given to PID 1", || Ok(children_of(init).len() == ORPHANS + 1))?;
    // They die while PID 1 sleeps: however many there are, it finds one SIGCHLD.
    kill(Pid::from_raw(init), Signal::SIGSTOP)?;
    fs::write("/tmp/go", "")?;
    let dead = || children_of(init).into_iter().filter(|child| state_of(*child) == Some('Z')).count();
    eventually("the orphans die", || Ok(dead() == ORPHANS))?;
    kill(Pid::from_raw(init), Signal::SIGCONT)?;
    let runner = runner.until("PID 1 goes on, and reaps them all", |_| Ok(children_of(init).len() == 1))?;
    runner.signal(Signal::SIGTERM)?;
    runner.ends(TOLD_TO_END)?.code_is(143)?;
    let many = case.sh(&["--init"], "for i in $(seq 50); do (true &); done; exit 5")?;
    many.code_is(5)?;
    Ok(())
}

pub fn init_ends_with_the_code_of_its_child(case: &Case) -> Verdict {
    for status in [0, 1, 42, 255] {
        case.sh(&["--init"], &format!("exit {status}"))?.code_is(status)?;
    }
    for signal in [1, 2, 9, 11, 15, 34] {
        // Without --init the shell would be PID 1, and the kernel would drop its own signal.
        case.sh(&["--init"], &format!("kill -{signal} $$; sleep 5"))?.code_is(128 + signal)?;
    }
    case.run(&["run", "--init", "--", "no-such-program"])?.code_is(127)?.err_is_one_line()?;
    // Whoever is left when the program ends does not keep PID 1 alive.
    case.sh(&["--init"], "sleep 1000 & exit 3")?.code_is(3)?;
    Ok(())
}

/// What a process has open that only the host can have given to it.
fn host_descriptors(pid: i32) -> Result<Vec<String>, Trouble> {
    let targets =
        fs::read_dir(format!("/proc/{pid}/fd"))?.flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
    let names = targets.map(|target| target.display().to_string());
    Ok(names.filter(|target| target.contains("passwd") || target.contains("socket")).collect())
}

/// Hundredths of a second that a process has been on a CPU: fields 14 and 15 of proc_pid_stat(5).
fn cpu_ticks(pid: i32) -> u64 {
    [11, 12].into_iter().filter_map(|index| stat_field(pid, index)?.parse::<u64>().ok()).sum()
}

pub fn init_forwards_signals_and_keeps_nothing_open(case: &Case) -> Verdict {
    let host = fs::File::open("/etc/passwd")?;
    let runner = case
        .start_with(&["run", "--init", "--", "sh", "-c", "echo ready; exec sleep 1000"], |command| {
            leak_as_seven(command, host)
        })?;
    let runner = runner.until_ready()?;
    let init = children_of(runner.pid()).first().copied().ok_or_else(|| fail("PID 1", "none"))?;
    // The program may be ready before PID 1 has closed them.
    eventually("PID 1 keeps no descriptor of the host open", || Ok(host_descriptors(init)?.is_empty()))?;
    let before = cpu_ticks(init);
    std::thread::sleep(Duration::from_millis(300));
    let used = cpu_ticks(init) - before;
    holds(
        used <= 3,
        "PID 1 sleeps while nothing happens",
        format!("it used the CPU for {used} of 30 ticks"),
    )?;
    runner.signal(Signal::SIGTERM)?;
    runner.ends(TOLD_TO_END)?.code_is(143)?;
    let orphan = case.run(&["run", "--init", "-e", &lab_path(), "--", "probe", "orphan"])?;
    orphan.claim(
        orphan.out.trim() == "silence",
        "an orphan's death is PID 1's alone: SIGCHLD is not passed on",
    )?;
    Ok(())
}
