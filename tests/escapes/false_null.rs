//! 4. A mask, or a console, that is a file of the attacker's choice.

use std::fs;
use std::os::unix::fs::symlink;

use super::{off, on, probe};
use crate::stage::case::Case;
use crate::stage::verdict::Verdict;

/// A switch of the container's own network: to set it harms nobody. In the CVE it was `core_pattern`.
const SWITCH: &str = "/proc/sys/net/ipv4/ip_default_ttl";

pub fn false_null(case: &Case) -> Verdict {
    fs::create_dir_all("/tmp/dev/pts")?;
    symlink(SWITCH, "/tmp/dev/null")?;
    symlink(SWITCH, "/tmp/dev/pts/0")?;
    fs::write("/tmp/dev/console", "")?;
    let careless = probe(case);
    for (mistake, window) in [("null", "/proc/keys"), ("console", "/dev/console")] {
        let attack = attack(window);
        let run = careless.run(&["careless", mistake, "demo", "/tmp/dev", "sh", "-c", &attack])?;
        let got = run.err.contains("Read-only") && run.out.contains("is now 77");
        off(&run, got, &format!("a switch below the read-only /proc/sys, through {window}"))?;
    }
    // The engine looks what it is about to mount over the kernel's files.
    let flags = ["run", "--rootfs", "demo", "--network", "none", "-v", "/tmp/dev:/dev", "--"];
    let run = case.run(&[&flags[..], &["sh", "-c", &attack("/proc/keys")]].concat())?;
    on(&run, run.code == 0, "open /dev/null: ELOOP")?;
    // And the image's own /dev lies below the engine's.
    fs::remove_dir_all(case.demo().join("dev"))?;
    symlink("/tmp/dev", case.demo().join("dev"))?;
    let run = case.run(&["run", "--rootfs", "demo", "--network", "none", "--", "true"])?;
    on(&run, run.code == 0, "symbolic link")
}

/// Tries the switch itself, then the window to it.
fn attack(window: &str) -> String {
    let write = "probe attack redirected-write";
    format!("{write} {SWITCH} 76; {write} {window} 77; {write} {SWITCH} 78 2>/dev/null; cat {SWITCH}")
}
