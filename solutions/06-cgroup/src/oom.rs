//! Processes that the kernel killed because the container's memory was at its limit.
//!
//! SIGKILL tells nobody who sent it, and a program that dies so has the code 137 like one that `kill -9` met. The
//! cgroup counts the kernel's own kills, and must be asked before it is removed.
//!
//! `memory.oom.group` stays 0, as with Docker: one process dies, usually the largest. If that is PID 1 all others die
//! with it anyway; if it is one of its children, PID 1 is told, and many programs live on well.

use process::Result;

use crate::limits::Amount;
use crate::{Cgroup, Controller, Folder, Version};

// ANCHOR: oom
impl Cgroup {
    /// How many processes the kernel has killed for want of memory in it and below.
    ///
    /// # Errors
    /// There is no memory controller here.
    pub fn oom_kills(&self) -> Result<u64> {
        let folder = self.folder(Controller::Memory)?;
        match folder.version {
            Version::V1 => in_each(folder),
            Version::V2 => Ok(folder.count("memory.events", "oom_kill").unwrap_or(0)),
        }
    }
}

/// Version 1 counts a kill only where the process was; version 2 in all cgroups above as well.
fn in_each(folder: &Folder) -> Result<u64> {
    let mut kills = 0;
    folder.walk(|each| {
        kills += each.count("memory.oom_control", "oom_kill").unwrap_or(0);
        Ok(())
    })?;
    Ok(kills)
}

/// One line on stderr if there were such kills.
pub fn report(cgroup: &Cgroup) {
    let kills = cgroup.oom_kills().unwrap_or(0);
    if kills == 0 {
        return;
    }
    let processes = if kills == 1 { "process" } else { "processes" };
    let limit = match cgroup.now().memory {
        Amount::Of(bytes) => format!("at its limit of {}", mebibytes(bytes)),
        Amount::Unlimited => "used up outside of the container".to_owned(),
    };
    eprintln!("{}: oom: the kernel killed {kills} {processes}: memory was {limit}", myself());
}
// ANCHOR_END: oom

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

fn myself() -> String {
    let path = std::env::args_os().next().map(std::path::PathBuf::from).unwrap_or_default();
    path.file_name().unwrap_or_default().display().to_string()
}
