//! The two programs that may write a map with ranges for an ordinary user: newuidmap(1) and newgidmap(1).
//!
//! They are set-user-id root, look into `/etc/subuid` and `/etc/subgid` themselves, and write the map for us.
//! The engine needs another program here because the right to do it is in that program's file.

use std::path::PathBuf;
use std::process::Command;

use nix::unistd::Pid;
use process::{Context, Error, Result};

use crate::caller;
use crate::map::Range;

/// Where a helper lies, if it is installed.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

// ANCHOR: helper
/// Has `newuidmap` or `newgidmap` write the map of a process.
///
/// # Errors
/// It is not installed, or refuses: in its own words.
pub fn write_map(name: &str, pid: Pid, map: &[Range]) -> Result<()> {
    let program = find(name).ok_or_else(|| {
        let cause =
            "a map of more than your own id needs it; install the package `uidmap` (or `shadow-utils`)";
        Error::refused("find", name, cause)
    })?;
    let mut command = Command::new(program);
    command.arg(pid.to_string());
    for range in map {
        command.args([range.inside, range.outside, range.count].map(|number| number.to_string()));
    }
    let output = command.output().during("run", name)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::refused("run", name, format!("{}; {}", said.trim(), likely_cause(name))))
}
// ANCHOR_END: helper

fn likely_cause(name: &str) -> String {
    let file = if name == "newuidmap" { "/etc/subuid" } else { "/etc/subgid" };
    let fix = "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535";
    format!("is the range yours in {file}? `{fix} {}` gives one", caller::name())
}
