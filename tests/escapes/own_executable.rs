//! 1. The engine's own file.

use std::fs;
use std::os::unix::fs::chown;

use nix::sys::signal::Signal;

use super::{SOMEBODY, as_somebody, copied, off, on, probe};
use crate::lab::Ground;
use crate::stage::case::{Case, eventually};
use crate::stage::verdict::{Trouble, Verdict};

const OURS: &str = "the engine's file is ours";

/// The attacker needs a process that outlives the runner: here the PID namespace is the host's.
pub fn own_executable(case: &Case) -> Verdict {
    let attack = ["probe", "attack", "own-executable"];
    let careless = copied(&probe(case), "/tmp/careless")?;
    let run = careless.run(&[&["careless", "executable", "demo"][..], &attack].concat())?;
    let outcome = outcome(case)?;
    let begins = fs::read(careless.program())?.starts_with(b"#!/bin/sh");
    off(&run, outcome == OURS && begins, "the runner's file: it is a script of the attacker's now")?;

    let engine = copied(case, "/tmp/engine")?;
    let before = fs::read(engine.program())?;
    let flags = ["run", "--rootfs", "demo", "--pid", "host", "--init"];
    let run = engine.run(&[&flags[..], &["--"], &attack].concat())?;
    on(&run, run.code == 0, "Permission denied")?;
    // Also where its init may be traced, as by a debugger, there is nothing to write to.
    let run = engine.run(&[&flags[..], &["--cap-add", "SYS_PTRACE", "--"], &attack].concat())?;
    on(&run, run.code == 0 || fs::read(engine.program())? != before, "for writing: EROFS")?;
    if case.ground == Ground::Root { as_its_owner(&engine) } else { Ok(()) }
}

/// Who may not mount, and owns the engine's file, runs a copy.
fn as_its_owner(engine: &Case) -> Verdict {
    chown(engine.program(), Some(SOMEBODY), Some(SOMEBODY))?;
    let words = [
        "run",
        "--init",
        "--network",
        "none",
        "--rootfs",
        "demo",
        "--",
        "sh",
        "-c",
        "echo ready; exec sleep 1000",
    ];
    let running = as_somebody(engine, &[], &words)?.until_ready()?;
    let file = fs::read_link(format!("/proc/{}/exe", running.pid()))?;
    running.signal(Signal::SIGTERM)?;
    let mut run = running.wait()?;
    run.out = format!("the runner runs {}", file.display());
    on(&run, file == engine.program(), "/memfd:gantry (deleted)")
}

/// What the attacker's last process found, which nobody waits for.
fn outcome(case: &Case) -> Result<String, Trouble> {
    let file = case.demo().join("outcome");
    eventually("the attacker has tried", || Ok(file.exists()))?;
    let outcome = fs::read_to_string(&file)?;
    fs::remove_file(&file)?;
    Ok(outcome)
}
