//! Limits on a cgroup that exists: what it has now is read, the lines are computed, and written.

use std::fs;

use nix::errno::Errno;
use process::{Error, Result};

use crate::limits::{Amount, Limits};
use crate::writes::{Now, Write, writes};
use crate::{Cgroup, Controller, Folder, Version, cpuset};

/// Version 1 says "no limit" by a number near the largest that 64 bits hold, rounded down to a page.
const UNLIMITED_V1: u64 = 1 << 62;

// ANCHOR: apply
impl Cgroup {
    /// Writes limits, also while processes run in it; warnings about what was not asked for and cannot be done.
    ///
    /// # Errors
    /// A controller is not there, and its name is told; or the kernel refuses a value.
    pub fn apply(&self, limits: &Limits) -> Result<Vec<String>> {
        if limits.is_empty() {
            return Ok(Vec::new());
        }
        let now = self.now();
        limits.check_over(&now)?;
        let version = |controller| self.folder(controller).map_or(Version::V2, |folder| folder.version);
        let mut warnings = Vec::new();
        for write in writes(limits, &now, version) {
            let folder = self.folder(write.controller)?;
            match write.lines.iter().find(|(file, _)| folder.has(file)) {
                Some((file, line)) => put(folder, file, line)?,
                None if write.asked => return Err(lacking(folder, &write)),
                None if machine_has_swap() => warnings.push(lacking(folder, &write).to_string()),
                // Without swap there is nothing to limit.
                None => {}
            }
        }
        Ok(warnings)
    }
    // ANCHOR_END: apply

    // ANCHOR: now
    /// What it has now, of what the next limits depend on.
    pub fn now(&self) -> Now {
        let mut now = Now::default();
        if let Ok(folder) = self.folder(Controller::Cpu) {
            let text = match folder.version {
                Version::V1 => ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
                    .map(|file| folder.read(file).unwrap_or_default())
                    .join(" "),
                Version::V2 => folder.read("cpu.max").unwrap_or_default(),
            };
            let mut words = text.split_whitespace();
            now.cpu_quota = words.next().map_or(Amount::Unlimited, amount);
            now.cpu_period = words.next().and_then(|word| word.parse().ok()).unwrap_or(now.cpu_period);
        }
        if let Ok(folder) = self.folder(Controller::Memory) {
            let read = |file| folder.read(file).map_or(Amount::Unlimited, |text| amount(text.trim()));
            now.memory = read(match folder.version {
                Version::V1 => "memory.limit_in_bytes",
                Version::V2 => "memory.max",
            });
            now.memory_swap = match folder.version {
                Version::V1 => read("memory.memsw.limit_in_bytes"),
                Version::V2 => sum(now.memory, read("memory.swap.max")),
            };
        }
        now
    }
    // ANCHOR_END: now
}

/// A number of a limit file; `max`, `-1` and absurdly much are no limit.
pub(crate) fn amount(word: &str) -> Amount {
    match word.parse::<u64>() {
        Ok(number) if number < UNLIMITED_V1 => Amount::Of(number),
        _ => Amount::Unlimited,
    }
}

fn sum(one: Amount, other: Amount) -> Amount {
    match (one, other) {
        (Amount::Of(one), Amount::Of(other)) => Amount::Of(one.saturating_add(other)),
        _ => Amount::Unlimited,
    }
}

fn put(folder: &Folder, file: &str, line: &str) -> Result<()> {
    folder.write(file, line).map_err(|error| {
        let cause = likely_cause(file, error.errno);
        error.because(cause)
    })?;
    if file.starts_with("cpuset.") { cpuset::must_have(folder, file, line) } else { Ok(()) }
}

fn likely_cause(file: &str, errno: Errno) -> &'static str {
    match (errno, file) {
        (Errno::EBUSY, "memory.limit_in_bytes" | "memory.memsw.limit_in_bytes") => {
            "the container uses more than that, and the kernel could not take it away"
        }
        (Errno::EINVAL, "cpu.cfs_quota_us" | "cpu.cfs_period_us") => {
            "a cgroup around it allows less, or one in it has more"
        }
        (Errno::EINVAL | Errno::ERANGE | Errno::ENODEV, "cpuset.cpus" | "cpuset.mems") => {
            "it is a list such as 0-2,7 of what this machine has; see `lscpu` and /sys/devices/system/node"
        }
        (Errno::EACCES, "cpuset.cpus" | "cpuset.mems") => "the cgroup around it does not have all of these",
        (Errno::ENODEV, _) => "the limit is for a whole disk, not for a partition of it",
        (Errno::EACCES | Errno::EPERM, _) => "that file is not ours to write",
        _ => "",
    }
}

/// The error for a file that this kernel does not have.
fn lacking(folder: &Folder, write: &Write) -> Error {
    let (name, file) = (write.controller.name(folder.version), write.lines[0].0);
    let cause = match file {
        "io.bfq.weight" | "blkio.weight" => {
            "this kernel has neither the BFQ scheduler nor iocost: no weights"
        }
        "memory.swap.max" | "memory.memsw.limit_in_bytes" => {
            "this kernel does not count swap: see swapaccount= of its command line"
        }
        _ => "this kernel does not have the file",
    };
    folder.lacks(file).because(format_args!("controller {name}: {cause}"))
}

fn machine_has_swap() -> bool {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    text.lines().any(|line| line.starts_with("SwapTotal:") && !line.ends_with(" 0 kB"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_limit_is_known_in_both_versions() {
        assert_eq!(amount("max"), Amount::Unlimited);
        assert_eq!(amount("-1"), Amount::Unlimited);
        assert_eq!(amount("9223372036854771712"), Amount::Unlimited);
        assert_eq!(amount("67108864"), Amount::Of(67_108_864));
    }
}
