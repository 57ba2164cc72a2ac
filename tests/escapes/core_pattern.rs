//! 6. The program that the kernel runs when a process crashes.

use std::fs;

use super::{off, off_only_in_own_kernel, on, own_kernel};
use crate::lab::Ground;
use crate::stage::case::Case;
use crate::stage::verdict::Verdict;

const PATTERN: &str = "/proc/sys/kernel/core_pattern";

pub fn core_pattern(case: &Case) -> Verdict {
    if own_kernel() && case.ground == Ground::Root {
        let before = fs::read_to_string(PATTERN)?;
        let run =
            case.run(&["run", "--privileged", "--rootfs", "demo", "--", "probe", "attack", "core-pattern"])?;
        fs::write(PATTERN, before)?;
        let got = run.out.contains("as uid 0 in the host's PID namespace");
        off(&run, got, "a program run as root, outside of every namespace")?;
    } else {
        off_only_in_own_kernel();
    }
    let run = case.run(&["run", "--rootfs", "demo", "--", "probe", "attack", "may-write", PATTERN])?;
    on(&run, run.code == 0, if case.ground == Ground::User { "denied" } else { "Read-only file system" })?;
    // Nor may the engine be asked to do it (CVE-2022-0811): it is no switch of the container's own.
    let run = case.run(&["run", "--rootfs", "demo", "--sysctl", "kernel.core_pattern=core", "--", "true"])?;
    on(&run, run.code == 0, "core_pattern")
}
