//! What a container used, read from the files of its cgroup and from nowhere else.
//!
//! Counters only grow; a share such as "12 % of a processor" is the difference of two readings over the time between
//! them. Memory counts as Docker counts it: without the file cache that the kernel would give up first.
//!
//! What no controller counts is none, and not zero. See the kernel's cgroup-v2, cgroup-v1 and accounting/psi.

use crate::apply::amount;
use crate::folder::value_of;
use crate::limits::Amount;
use crate::{Cgroup, Controller, Version};

// ANCHOR: types
/// One reading.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    /// Processor time of all its processes ever, in microseconds.
    pub cpu: Option<u64>,
    /// Bytes of memory in use, without cache that is easy to give up.
    pub memory: Option<u64>,
    /// The most that it may use; none without a limit.
    pub memory_limit: Option<u64>,
    /// Bytes read from block devices, and written to them.
    pub io: Option<(u64, u64)>,
    /// Processes and threads.
    pub pids: Option<u64>,
    /// The share of the last ten seconds in which some process waited for a processor, in percent.
    pub cpu_pressure: Option<f64>,
    /// Periods in which its quota was used up, and microseconds that it was held back for it.
    pub throttled: Option<(u64, u64)>,
}
// ANCHOR_END: types

impl Cgroup {
    // ANCHOR: stats
    /// Reads its counters.
    pub fn stats(&self) -> Stats {
        let (cpu, throttled) = self.cpu_used();
        let (memory, memory_limit) = self.memory_used();
        Stats {
            cpu,
            memory,
            memory_limit,
            io: self.io_done(),
            pids: self.number(Controller::Pids, "pids.current"),
            cpu_pressure: self.pressure("cpu.pressure"),
            throttled,
        }
    }

    /// Microseconds; and periods and microseconds of being held back.
    fn cpu_used(&self) -> (Option<u64>, Option<(u64, u64)>) {
        // Version 2 has the file without the controller, too, and then no word of quotas in it.
        let stat =
            self.text(Controller::Cpu, "cpu.stat").or_else(|| self.text(Controller::Cpuacct, "cpu.stat"));
        let count = |key| value_of(stat.as_deref()?, key);
        match self.version(Controller::Cpuacct) {
            Some(Version::V1) => (
                self.number(Controller::Cpuacct, "cpuacct.usage").map(|nanoseconds| nanoseconds / 1000),
                count("nr_throttled").zip(count("throttled_time").map(|nanoseconds| nanoseconds / 1000)),
            ),
            Some(Version::V2) => (count("usage_usec"), count("nr_throttled").zip(count("throttled_usec"))),
            None => (None, None),
        }
    }

    /// Bytes in use, and the limit.
    fn memory_used(&self) -> (Option<u64>, Option<u64>) {
        let (used, cache, limit) = match self.version(Controller::Memory) {
            Some(Version::V1) => ("memory.usage_in_bytes", "total_inactive_file", "memory.limit_in_bytes"),
            Some(Version::V2) => ("memory.current", "inactive_file", "memory.max"),
            None => return (None, None),
        };
        let cache = self.text(Controller::Memory, "memory.stat").and_then(|text| value_of(&text, cache));
        let limit = match self.text(Controller::Memory, limit).map(|text| amount(text.trim())) {
            Some(Amount::Of(bytes)) => Some(bytes),
            _ => None,
        };
        let used = self.number(Controller::Memory, used);
        (used.map(|used| used.checked_sub(cache.unwrap_or(0)).unwrap_or(used)), limit)
    }

    /// Bytes read and written, over all block devices.
    fn io_done(&self) -> Option<(u64, u64)> {
        match self.version(Controller::Io)? {
            Version::V1 => {
                let text = self.text(Controller::Io, "blkio.throttle.io_service_bytes_recursive")?;
                Some((sum(&text, " Read "), sum(&text, " Write ")))
            }
            Version::V2 => {
                let text = self.text(Controller::Io, "io.stat")?;
                Some((sum(&text, " rbytes="), sum(&text, " wbytes=")))
            }
        }
    }
    // ANCHOR_END: stats

    // ANCHOR: pressure
    /// The `some avg10` of a pressure file; none where the kernel does not keep it.
    pub fn pressure(&self, file: &str) -> Option<f64> {
        let text = self.unified()?.read(file).ok()?;
        let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
        some.split(' ').find_map(|word| word.strip_prefix("avg10=")?.parse().ok())
    }
    // ANCHOR_END: pressure

    fn version(&self, controller: Controller) -> Option<Version> {
        self.folder(controller).ok().map(|folder| folder.version)
    }

    fn text(&self, controller: Controller, file: &str) -> Option<String> {
        self.folder(controller).ok()?.read(file).ok()
    }

    fn number(&self, controller: Controller, file: &str) -> Option<u64> {
        self.text(controller, file)?.trim().parse().ok()
    }
}

/// The sum of all numbers that follow `key`.
fn sum(text: &str, key: &str) -> u64 {
    let number = |rest: &str| rest.split([' ', '\n']).next().and_then(|word| word.parse::<u64>().ok());
    text.split(key).skip(1).filter_map(number).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_devices_are_summed_in_both_languages() {
        let v1 = "8:0 Read 100\n8:0 Write 20\n8:0 Sync 7\n8:16 Read 1\nTotal 121\n";
        assert_eq!((sum(v1, " Read "), sum(v1, " Write ")), (101, 20));
        let v2 = "8:0 rbytes=100 wbytes=20 rios=3 wios=1 dbytes=0 dios=0\n8:16 rbytes=1 wbytes=0 rios=1\n";
        assert_eq!((sum(v2, " rbytes="), sum(v2, " wbytes=")), (101, 20));
    }
}
