//! 10. Typing on the terminal of the person who started the container.

use super::{off, on, probe};
use crate::stage::case::Case;
use crate::stage::verdict::{Trouble, Verdict};

pub fn terminal_input(case: &Case) -> Verdict {
    let switch = std::fs::read_to_string("/proc/sys/dev/tty/legacy_tiocsti").unwrap_or_else(|_| "1".into());
    if switch.trim() == "0" {
        return Err(Trouble::Skipped(
            "this kernel forbids TIOCSTI to everybody: dev.tty.legacy_tiocsti is 0".into(),
        ));
    }
    let attack = ["probe", "attack", "terminal-input", "echo owned"];
    let host = probe(case);
    let run = host
        .run(&[&["attack", "terminal-host", "probe", "careless", "plain", "demo"][..], &attack].concat())?;
    off(&run, run.out.contains("the shell reads: echo owned"), "a line of its own on the caller's shell")?;
    let engine = ["attack", "terminal-host", &case.binary, "run", "--rootfs", "demo", "--"];
    let run = host.run(&[&engine[..], &attack].concat())?;
    on(&run, run.out.contains("the shell reads: echo owned"), "TIOCSTI: E")
}
