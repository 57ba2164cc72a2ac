//! What a container used, read from the files of its cgroup and from nowhere else.
//!
//! Counters only grow; a share such as "12 % of a processor" is the difference of two readings over the time between
//! them. Memory counts as Docker counts it: without the file cache that the kernel would give up first.
//!
//! Invariant: what no controller counts is none, and not zero. A file stays open from one reading to the next, and a
//! reading is one pread(2) for each. See the kernel's cgroup-v2, cgroup-v1 and accounting/psi.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::uio::pread;

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
    /// Periods in which its quota was used up, and the microseconds that it was held back for it.
    pub throttled: Option<(u64, u64)>,
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
}

/// The open files of one cgroup.
#[derive(Debug)]
pub struct Gauges {
    cpu: Option<Gauge>,
    /// A file of its own in version 1 only.
    quota: Option<Gauge>,
    memory: Option<Gauge>,
    cache: Option<Gauge>,
    limit: Option<Gauge>,
    io: Option<Gauge>,
    pids: Option<Gauge>,
    pressure: Option<Gauge>,
}
// ANCHOR_END: types

impl Gauges {
    // ANCHOR: gauges
    /// Opens what there is: of each, the file of version 1 and that of version 2.
    pub fn open(cgroup: &Cgroup) -> Gauges {
        let open = |controller, files| Gauge::open(cgroup, controller, files);
        Gauges {
            cpu: open(Controller::Cpuacct, ["cpuacct.usage", "cpu.stat"]),
            quota: open(Controller::Cpu, ["cpu.stat", "cpu.stat"])
                .filter(|gauge| gauge.version == Version::V1),
            memory: open(Controller::Memory, ["memory.usage_in_bytes", "memory.current"]),
            cache: open(Controller::Memory, ["memory.stat", "memory.stat"]),
            limit: open(Controller::Memory, ["memory.limit_in_bytes", "memory.max"]),
            io: open(Controller::Io, ["blkio.throttle.io_service_bytes_recursive", "io.stat"]),
            pids: open(Controller::Pids, ["pids.current", "pids.current"]),
            pressure: Gauge::of_unified(cgroup, "cpu.pressure"),
        }
    }
    // ANCHOR_END: gauges

    // ANCHOR: stats
    /// Reads all of them.
    ///
    /// # Errors
    /// ENODEV: the cgroup was removed.
    pub fn read(&self) -> nix::Result<Stats> {
        let (cpu, quota, io) = (text(&self.cpu)?, text(&self.quota)?, text(&self.io)?);
        let (memory, limit, pids) = (text(&self.memory)?, text(&self.limit)?, text(&self.pids)?);
        let pressure = text(&self.pressure)?;
        Ok(Stats {
            cpu: cpu.as_ref().and_then(|(text, version)| microseconds(text, *version)),
            throttled: quota.or(cpu).and_then(|(text, version)| throttled(&text, version)),
            memory: memory.and_then(|(text, _)| number(&text)).map(|used| self.without_cache(used)),
            memory_limit: limit.and_then(|(text, _)| match amount(text.trim()) {
                Amount::Of(bytes) => Some(bytes),
                Amount::Unlimited => None,
            }),
            io: io.map(|(text, version)| transferred(&text, version)),
            pids: pids.and_then(|(text, _)| number(&text)),
            cpu_pressure: pressure.and_then(|(text, _)| some_avg10(&text)),
        })
    }

    fn without_cache(&self, used: u64) -> u64 {
        let cache = text(&self.cache).ok().flatten().and_then(|(text, version)| match version {
            Version::V1 => value_of(&text, "total_inactive_file"),
            Version::V2 => value_of(&text, "inactive_file"),
        });
        used.checked_sub(cache.unwrap_or(0)).unwrap_or(used)
    }
}

/// Version 1 counts nanoseconds.
fn microseconds(text: &str, version: Version) -> Option<u64> {
    match version {
        Version::V1 => number(text).map(|nanoseconds| nanoseconds / 1000),
        Version::V2 => value_of(text, "usage_usec"),
    }
}

/// How often, and for how many microseconds.
fn throttled(text: &str, version: Version) -> Option<(u64, u64)> {
    let time = match version {
        Version::V1 => value_of(text, "throttled_time").map(|nanoseconds| nanoseconds / 1000),
        Version::V2 => value_of(text, "throttled_usec"),
    };
    value_of(text, "nr_throttled").zip(time)
}

/// Bytes read and written, over all block devices.
fn transferred(text: &str, version: Version) -> (u64, u64) {
    match version {
        Version::V1 => (sum(text, " Read "), sum(text, " Write ")),
        Version::V2 => (sum(text, " rbytes="), sum(text, " wbytes=")),
    }
}
// ANCHOR_END: stats

/// The `some avg10` of a pressure file.
fn some_avg10(text: &str) -> Option<f64> {
    let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
    some.split(' ').find_map(|word| word.strip_prefix("avg10=")?.parse().ok())
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The sum of all numbers that follow `key`.
fn sum(text: &str, key: &str) -> u64 {
    let number = |rest: &str| rest.split([' ', '\n']).next().and_then(|word| word.parse::<u64>().ok());
    text.split(key).skip(1).filter_map(number).sum()
}

// ANCHOR: gauge
/// An open file, and the version that it speaks.
#[derive(Debug)]
struct Gauge {
    file: OwnedFd,
    version: Version,
}

impl Gauge {
    fn open(cgroup: &Cgroup, controller: Controller, [v1, v2]: [&str; 2]) -> Option<Gauge> {
        let folder = cgroup.folder(controller).ok()?;
        let file = if folder.version == Version::V1 { v1 } else { v2 };
        Some(Gauge { file: folder.open_file(file, OFlag::O_RDONLY).ok()?, version: folder.version })
    }

    fn of_unified(cgroup: &Cgroup, file: &str) -> Option<Gauge> {
        let folder = cgroup.unified()?;
        Some(Gauge { file: folder.open_file(file, OFlag::O_RDONLY).ok()?, version: folder.version })
    }
}

/// What a file says now; none if there is no such file, or the kernel keeps nothing in it.
fn text(gauge: &Option<Gauge>) -> nix::Result<Option<(String, Version)>> {
    let Some(Gauge { file, version }) = gauge else { return Ok(None) };
    let (mut bytes, mut length) = (vec![0; 4096], 0);
    loop {
        match pread(file, &mut bytes[length..], length as i64) {
            Ok(more) => length += more,
            Err(Errno::ENODEV) => return Err(Errno::ENODEV),
            Err(_) => return Ok(None),
        }
        // The kernel gives all that fits: with room left, that was all.
        if length < bytes.len() {
            bytes.truncate(length);
            return Ok(Some((String::from_utf8_lossy(&bytes).into_owned(), *version)));
        }
        bytes.resize(2 * length, 0);
    }
}
// ANCHOR_END: gauge

impl Cgroup {
    /// Reads its counters once.
    ///
    /// # Errors
    /// ENODEV: it was removed.
    pub fn stats(&self) -> nix::Result<Stats> {
        Gauges::open(self).read()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_devices_are_summed_in_both_languages() {
        let v1 = "8:0 Read 100\n8:0 Write 20\n8:0 Sync 7\n8:16 Read 1\nTotal 121\n";
        assert_eq!(transferred(v1, Version::V1), (101, 20));
        let v2 = "8:0 rbytes=100 wbytes=20 rios=3 wios=1 dbytes=0 dios=0\n8:16 rbytes=1 wbytes=0 rios=1\n";
        assert_eq!(transferred(v2, Version::V2), (101, 20));
    }

    #[test]
    fn time_is_in_microseconds_in_both_languages() {
        let v2 = "usage_usec 1500\nuser_usec 1000\nnr_periods 9\nnr_throttled 4\nthrottled_usec 77\n";
        assert_eq!(microseconds(v2, Version::V2), Some(1500));
        assert_eq!(throttled(v2, Version::V2), Some((4, 77)));
        assert_eq!(microseconds("1500000\n", Version::V1), Some(1500));
        let v1 = "nr_periods 9\nnr_throttled 4\nthrottled_time 77000\n";
        assert_eq!(throttled(v1, Version::V1), Some((4, 77)));
        assert_eq!(throttled("usage_usec 1500\n", Version::V2), None, "without the controller");
    }

    #[test]
    fn pressure_is_that_of_ten_seconds() {
        let text =
            "some avg10=12.34 avg60=1.00 avg300=0.50 total=99\nfull avg10=3.00 avg60=0 avg300=0 total=1\n";
        assert_eq!(some_avg10(text), Some(12.34));
        assert_eq!(some_avg10(""), None);
    }
}
