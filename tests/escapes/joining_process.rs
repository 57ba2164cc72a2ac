//! 9. A process of the engine's that comes into a container.

use std::fs;

use super::{SECRET, WORDS, off, on, probe, secret};
use crate::stage::case::{Case, Run, Running};
use crate::stage::verdict::{Trouble, Verdict};

/// So many containers come near the attacker at least.
const LEAST: usize = 3;

pub fn joining_process(case: &Case) -> Verdict {
    secret()?;
    let attacker = attacker(case, &["--ipc", "shareable"])?;
    let pid = pid()?;
    let joiner = probe(case).start(&["careless", "join", &pid, "true"])?;
    let run = beside(attacker.wait()?, &joiner.wait()?);
    off(&run, run.out.contains(WORDS), "a file of the host through a descriptor of the process that joined")?;

    // The engine joins what can be shared: its own processes never show in the other's /proc.
    on_beside(case, &["--ipc", "shareable"], |pid| vec!["--ipc".into(), format!("container:{pid}")])?;
    // Where they do, since the PID namespace is the host's, they cannot be traced.
    on_beside(case, &["--pid", "host"], |_| vec!["--pid".into(), "host".into()])
}

/// Starts containers beside the attacker for as long as it looks.
fn on_beside(case: &Case, flags: &[&str], joiner: impl Fn(&str) -> Vec<String>) -> Verdict {
    let mut attacker = attacker(case, flags)?;
    let (pid, mut started, mut last) = (pid()?, 0, None);
    while !attacker.has_ended()? {
        let mut words = vec!["run".to_owned(), "--rootfs".into(), "demo".into()];
        words.extend(joiner(&pid));
        words.extend(["--".into(), "true".into()]);
        // The last one may come too late.
        let run = case.run(&words)?;
        started += usize::from(run.code == 0);
        last = Some(run);
    }
    let run = attacker.wait()?;
    let run = if let Some(last) = &last { beside(run, last) } else { run };
    run.claim(started >= LEAST, format!("{LEAST} containers come near while it looks, and not {started}"))?;
    on(&run, run.out.contains(WORDS), "no process opened a door")
}

/// The attacker's run, told with who comes near: only that differs between the halves.
fn beside(attacker: Run, other: &Run) -> Run {
    Run { line: format!("{}\n             beside it {}", attacker.line, other.line), ..attacker }
}

fn attacker(case: &Case, flags: &[&str]) -> Result<Running, Trouble> {
    let first = ["run", "--rootfs", "demo", "--pid-file", "/tmp/pid"];
    let attack = ["--", "probe", "attack", "joining-process", SECRET, "3"];
    case.start(&[&first, flags, &attack].concat())?.until_ready()
}

fn pid() -> Result<String, Trouble> {
    Ok(fs::read_to_string("/tmp/pid")?.trim().to_owned())
}
