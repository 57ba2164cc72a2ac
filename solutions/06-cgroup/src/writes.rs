//! From limits to lines in files: a pure function, with both versions of each resource side by side.
//!
//! | resource | version 1 | version 2 |
//! |---|---|---|
//! | processors | quota and period in two files | one file with two numbers |
//! | shares | 2 to 262144 | a weight, 1 to 10000 |
//! | memory | memory; memory and swap together | memory; swap alone |
//! | block devices | a file for each kind of bound | one file for all |
//!
//! Nothing is written here: the order of the list is the order of the writes. See the kernel's cgroup-v2 and cgroup-v1,
//! and "Control groups" in the OCI runtime specification (config-linux.md).

use crate::limits::{Amount, Limits, PERIOD};
use crate::throttle::{Rate, Throttle};
use crate::{Controller, Version};

// ANCHOR: types
/// A line for one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Whose file it is.
    pub controller: Controller,
    /// The file and the line. Where there are several, the first that exists counts.
    pub lines: Vec<(&'static str, String)>,
    /// Whether the user asked for it: what was not asked for may be impossible.
    pub asked: bool,
}

/// What a cgroup has now, as far as the next limits depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Microseconds in each period.
    pub cpu_quota: Amount,
    /// The period.
    pub cpu_period: u64,
    /// Bytes of memory.
    pub memory: Amount,
    /// Bytes of memory and swap together.
    pub memory_swap: Amount,
}

/// A new cgroup.
impl Default for Now {
    fn default() -> Now {
        let none = Amount::Unlimited;
        Now { cpu_quota: none, cpu_period: PERIOD, memory: none, memory_swap: none }
    }
}
// ANCHOR_END: types

// ANCHOR: writes
/// The writes that bring a cgroup from `now` to `limits`. `version` tells in which tree a controller is.
pub fn writes(limits: &Limits, now: &Now, version: impl Fn(Controller) -> Version) -> Vec<Write> {
    let mut all = cpu(limits, now, version(Controller::Cpu));
    all.extend(cpuset(limits));
    if limits.memory.or(limits.memory_swap).is_some() || limits.memory_reservation.is_some() {
        all.extend(memory(limits, now, version(Controller::Memory)));
    }
    all.extend(io(limits, version(Controller::Io)));
    all.extend(limits.pids.map(|pids| set(Controller::Pids, "pids.max", or(pids, "max"))));
    all
}
// ANCHOR_END: writes

fn set(controller: Controller, file: &'static str, line: String) -> Write {
    Write { controller, lines: vec![(file, line)], asked: true }
}

/// The number, or the file's own word for "no limit".
fn or(amount: Amount, unlimited: &str) -> String {
    match amount {
        Amount::Of(number) => number.to_string(),
        Amount::Unlimited => unlimited.to_owned(),
    }
}

// ANCHOR: cpu
/// Processor time: a quota in each period, and a share.
fn cpu(limits: &Limits, now: &Now, version: Version) -> Vec<Write> {
    let write = |file, line| set(Controller::Cpu, file, line);
    let (quota, period) =
        (limits.cpu_quota.unwrap_or(now.cpu_quota), limits.cpu_period.unwrap_or(now.cpu_period));
    let bound = limits.cpu_quota.is_some() || limits.cpu_period.is_some();
    let mut all = match version {
        _ if !bound => Vec::new(),
        Version::V1 => {
            vec![write("cpu.cfs_period_us", period.to_string()), write("cpu.cfs_quota_us", or(quota, "-1"))]
        }
        Version::V2 => vec![write("cpu.max", format!("{} {period}", or(quota, "max")))],
    };
    all.extend(limits.cpu_shares.map(|shares| match version {
        Version::V1 => write("cpu.shares", shares.to_string()),
        Version::V2 => write("cpu.weight", weight_of(shares).to_string()),
    }));
    all
}

/// The weight for shares: 2, 1024 and 262144 (least, usual, most) become 1, 100 and 10000, and what lies between lies
/// on the parabola through these three, both scales being logarithmic.
///
/// crun since 1.23 and runc since 1.3.2 do so. Before, the line from 2 to 262144 made 39 of the usual 1024: a container
/// that asked for what all have got less than half of it.
pub fn weight_of(shares: u64) -> u64 {
    let log = (shares.clamp(2, 262_144) as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    10_f64.powf(exponent).ceil() as u64
}
// ANCHOR_END: cpu

// ANCHOR: cpuset
/// Which processors and which memory: the one controller whose files are the same in both versions.
fn cpuset(limits: &Limits) -> Vec<Write> {
    let write = |file, list: &String| set(Controller::Cpuset, file, list.clone());
    let cpus = limits.cpuset_cpus.iter().map(|list| write("cpuset.cpus", list));
    cpus.chain(limits.cpuset_mems.iter().map(|list| write("cpuset.mems", list))).collect()
}
// ANCHOR_END: cpuset

// ANCHOR: memory
/// Memory, memory with swap, and what is taken last. Without a word about swap there is as much of it as of memory.
fn memory(limits: &Limits, now: &Now, version: Version) -> Vec<Write> {
    let write = |file, line| set(Controller::Memory, file, line);
    let mut all = Vec::new();
    let both = limits.memory_swap.or(limits.memory.map(twice));
    if let Some(memory) = limits.memory {
        all.push(match version {
            Version::V1 => write("memory.limit_in_bytes", or(memory, "-1")),
            Version::V2 => write("memory.max", or(memory, "max")),
        });
    }
    if let Some(both) = both {
        let memory = limits.memory.unwrap_or(now.memory);
        let line = match version {
            Version::V1 => write("memory.memsw.limit_in_bytes", or(both, "-1")),
            Version::V2 => write("memory.swap.max", or(less(both, memory), "max")),
        };
        all.push(Write { asked: limits.memory_swap.is_some(), ..line });
    }
    // Version 1 wants memory <= memory and swap at every moment: what grows beyond the old sum waits for the new one.
    if version == Version::V1 && limits.memory.is_some_and(|memory| exceeds(memory, now.memory_swap)) {
        all.reverse();
    }
    all.extend(limits.memory_reservation.map(|bytes| match version {
        Version::V1 => write("memory.soft_limit_in_bytes", bytes.to_string()),
        Version::V2 => write("memory.low", bytes.to_string()),
    }));
    all
}
// ANCHOR_END: memory

fn twice(memory: Amount) -> Amount {
    match memory {
        Amount::Of(bytes) => Amount::Of(bytes.saturating_mul(2)),
        Amount::Unlimited => Amount::Unlimited,
    }
}

fn less(both: Amount, memory: Amount) -> Amount {
    match (both, memory) {
        (Amount::Of(both), Amount::Of(memory)) => Amount::Of(both.saturating_sub(memory)),
        (both, Amount::Unlimited) => both,
        (Amount::Unlimited, _) => Amount::Unlimited,
    }
}

fn exceeds(one: Amount, other: Amount) -> bool {
    match (one, other) {
        (_, Amount::Unlimited) => false,
        (Amount::Unlimited, Amount::Of(_)) => true,
        (Amount::Of(one), Amount::Of(other)) => one > other,
    }
}

// ANCHOR: io
/// Block devices: a weight, and bounds for single ones.
fn io(limits: &Limits, version: Version) -> Vec<Write> {
    let weight = limits.io_weight.map(|weight| Write {
        controller: Controller::Io,
        // Each scheduler has a file of its own, and only those that are in this kernel.
        lines: match version {
            Version::V1 => {
                vec![("blkio.weight", weight.to_string()), ("blkio.bfq.weight", weight.to_string())]
            }
            Version::V2 => {
                vec![
                    ("io.bfq.weight", weight.to_string()),
                    ("io.weight", format!("default {}", io_weight_of(weight))),
                ]
            }
        },
        asked: true,
    });
    let throttles = limits.throttles.iter().map(|throttle| throttled(throttle, version));
    weight.into_iter().chain(throttles).collect()
}

/// 10 to 1000 becomes 1 to 10000, in a straight line, as in runc and crun.
pub fn io_weight_of(weight: u64) -> u64 {
    1 + (weight.clamp(10, 1000) - 10) * 9999 / 990
}

fn throttled(Throttle { device, rate, most }: &Throttle, version: Version) -> Write {
    let (file, key) = match rate {
        Rate::ReadBytes => ("blkio.throttle.read_bps_device", "rbps"),
        Rate::WriteBytes => ("blkio.throttle.write_bps_device", "wbps"),
        Rate::Reads => ("blkio.throttle.read_iops_device", "riops"),
        Rate::Writes => ("blkio.throttle.write_iops_device", "wiops"),
    };
    match version {
        Version::V1 => set(Controller::Io, file, format!("{device} {most}")),
        Version::V2 if *most == 0 => set(Controller::Io, "io.max", format!("{device} {key}=max")),
        Version::V2 => set(Controller::Io, "io.max", format!("{device} {key}={most}")),
    }
}
// ANCHOR_END: io

#[cfg(test)]
mod tests {
    use super::*;
    use crate::throttle::Device;

    fn lines(limits: &Limits, now: &Now, version: Version) -> Vec<String> {
        let line = |write: Write| {
            write.lines.iter().map(|(file, line)| format!("{file} = {line}")).collect::<Vec<_>>().join(" or ")
        };
        writes(limits, now, |_| version).into_iter().map(line).collect()
    }

    #[test]
    fn nothing_asked_nothing_written() {
        for version in [Version::V1, Version::V2] {
            assert!(lines(&Limits::default(), &Now::default(), version).is_empty());
        }
    }

    #[test]
    fn one_wish_in_two_languages() {
        let limits = Limits {
            cpu_quota: Some(Amount::Of(150_000)),
            cpu_shares: Some(1024),
            cpuset_cpus: Some("0-1".to_owned()),
            memory: Some(Amount::Of(64 << 20)),
            memory_reservation: Some(32 << 20),
            io_weight: Some(500),
            pids: Some(Amount::Unlimited),
            ..Limits::default()
        };
        assert_eq!(
            lines(&limits, &Now::default(), Version::V1),
            [
                "cpu.cfs_period_us = 100000",
                "cpu.cfs_quota_us = 150000",
                "cpu.shares = 1024",
                "cpuset.cpus = 0-1",
                "memory.limit_in_bytes = 67108864",
                "memory.memsw.limit_in_bytes = 134217728",
                "memory.soft_limit_in_bytes = 33554432",
                "blkio.weight = 500 or blkio.bfq.weight = 500",
                "pids.max = max",
            ]
        );
        assert_eq!(
            lines(&limits, &Now::default(), Version::V2),
            [
                "cpu.max = 150000 100000",
                "cpu.weight = 100",
                "cpuset.cpus = 0-1",
                "memory.max = 67108864",
                "memory.swap.max = 67108864",
                "memory.low = 33554432",
                "io.bfq.weight = 500 or io.weight = default 4950",
                "pids.max = max",
            ]
        );
    }

    #[test]
    fn a_period_alone_keeps_the_quota() {
        let limits = Limits { cpu_period: Some(50_000), ..Limits::default() };
        let now = Now { cpu_quota: Amount::Of(20_000), ..Now::default() };
        assert_eq!(lines(&limits, &now, Version::V2), ["cpu.max = 20000 50000"]);
        assert_eq!(lines(&limits, &Now::default(), Version::V2), ["cpu.max = max 50000"]);
    }

    #[test]
    fn memory_and_swap_never_cross() {
        let to = |bytes| Limits { memory: Some(Amount::Of(bytes)), ..Limits::default() };
        let now = Now { memory: Amount::Of(100), memory_swap: Amount::Of(200), ..Now::default() };
        let (memory, both) = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes");
        assert_eq!(lines(&to(50), &now, Version::V1), [format!("{memory} = 50"), format!("{both} = 100")]);
        assert_eq!(lines(&to(150), &now, Version::V1), [format!("{memory} = 150"), format!("{both} = 300")]);
        assert_eq!(lines(&to(250), &now, Version::V1), [format!("{both} = 500"), format!("{memory} = 250")]);
        let free = Limits { memory: Some(Amount::Unlimited), ..Limits::default() };
        assert_eq!(lines(&free, &now, Version::V1), [format!("{both} = -1"), format!("{memory} = -1")]);
        assert_eq!(lines(&free, &now, Version::V2), ["memory.max = max", "memory.swap.max = max"]);
    }

    #[test]
    fn swap_alone_is_what_is_left_of_both() {
        let limits = |memory, both| Limits { memory, memory_swap: Some(both), ..Limits::default() };
        let of = |bytes| Some(Amount::Of(bytes));
        let swap = |limits: &Limits, now: &Now| lines(limits, now, Version::V2).pop().unwrap();
        assert_eq!(swap(&limits(of(100), Amount::Of(100)), &Now::default()), "memory.swap.max = 0");
        assert_eq!(swap(&limits(of(100), Amount::Unlimited), &Now::default()), "memory.swap.max = max");
        let now = Now { memory: Amount::Of(30), ..Now::default() };
        assert_eq!(swap(&limits(None, Amount::Of(100)), &now), "memory.swap.max = 70");
    }

    #[test]
    fn only_what_was_asked_for_must_be() {
        let limits = Limits { memory: Some(Amount::Of(1)), ..Limits::default() };
        let asked: Vec<bool> =
            writes(&limits, &Now::default(), |_| Version::V2).iter().map(|write| write.asked).collect();
        assert_eq!(asked, [true, false]);
    }

    #[test]
    fn shares_become_weights_as_in_runc_and_crun() {
        for (shares, weight) in
            [(2, 1), (10, 4), (100, 17), (512, 59), (1024, 100), (2048, 174), (262_144, 10_000)]
        {
            assert_eq!(weight_of(shares), weight, "{shares}");
        }
        assert_eq!([10, 500, 1000].map(io_weight_of), [1, 4950, 10_000]);
    }

    #[test]
    fn bounds_of_devices() {
        let device = Device { major: 8, minor: 16 };
        let limits = Limits {
            throttles: vec![
                Throttle { device, rate: Rate::ReadBytes, most: 1 << 20 },
                Throttle { device, rate: Rate::Writes, most: 0 },
            ],
            ..Limits::default()
        };
        assert_eq!(
            lines(&limits, &Now::default(), Version::V1),
            ["blkio.throttle.read_bps_device = 8:16 1048576", "blkio.throttle.write_iops_device = 8:16 0"]
        );
        assert_eq!(
            lines(&limits, &Now::default(), Version::V2),
            ["io.max = 8:16 rbps=1048576", "io.max = 8:16 wiops=max"]
        );
    }
}
