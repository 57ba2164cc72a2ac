//! 11. A daemon behind a name that is no file.

use std::fs;

use nix::sys::signal::Signal;

use super::{SECRET, WORDS, off, on, probe, secret};
use crate::stage::case::Case;
use crate::stage::verdict::{Verdict, holds};

const NAME: &str = "gantry-shim";

pub fn abstract_socket(case: &Case) -> Verdict {
    secret()?;
    let daemon = probe(case).start(&["attack", "abstract-host", NAME, SECRET])?.until_ready()?;
    let halves = both(case);
    daemon.signal(Signal::SIGKILL)?;
    daemon.wait()?;
    halves
}

fn both(case: &Case) -> Verdict {
    let attack = |network| {
        let flags = ["run", "--network", network, "--rootfs", "demo", "--"];
        case.run(&[&flags[..], &["probe", "attack", "abstract-socket", NAME]].concat())
    };
    let run = attack("host")?;
    off(&run, run.out.contains(WORDS), "the answer of a daemon that took it for the host's root")?;
    let run = attack("none")?;
    on(&run, run.out.contains(WORDS), "Connection refused")?;
    // Nor does the engine itself have such a name, so that there is nothing to find with the host's network either.
    let script = "echo ready; exec sleep 1000";
    let engine =
        case.start(&["run", "--init", "--rootfs", "demo", "--", "sh", "-c", script])?.until_ready()?;
    let names = fs::read_to_string("/proc/net/unix")?;
    engine.signal(Signal::SIGTERM)?;
    engine.wait()?;
    let ours: Vec<&str> = names.lines().filter(|line| line.contains(" @") && !line.contains(NAME)).collect();
    holds(ours.is_empty(), "the engine listens at no abstract socket", ours.join("\n"))
}
