//! What a container may use, as data.
//!
//! Nothing here touches a cgroup: [`crate::writes`] turns limits into lines for its files. The words are those of
//! `docker run`, and so are the ranges.

use process::{Error, Result};
use uts_ipc::size;

use crate::cpuset::numbers;
use crate::throttle::Throttle;
use crate::writes::Now;

// ANCHOR: types
/// A number, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// No limit; `-1` on the command line.
    Unlimited,
    /// This many.
    Of(u64),
}

/// What a container may use; what is not said stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Microseconds of processor time in each period.
    pub cpu_quota: Option<Amount>,
    /// The period, in microseconds.
    pub cpu_period: Option<u64>,
    /// Its share where processors are scarce: 2 to 262144, and 1024 is what others have.
    pub cpu_shares: Option<u64>,
    /// The processors on which it may run: `0-2,7`.
    pub cpuset_cpus: Option<String>,
    /// The memory nodes from which it may have memory: `0`.
    pub cpuset_mems: Option<String>,
    /// Bytes of memory.
    pub memory: Option<Amount>,
    /// Bytes of memory and swap together.
    pub memory_swap: Option<Amount>,
    /// Bytes of memory that are taken from it last when memory is scarce.
    pub memory_reservation: Option<u64>,
    /// Its share where a block device is busy: 10 to 1000.
    pub io_weight: Option<u64>,
    /// Bounds for single block devices.
    pub throttles: Vec<Throttle>,
    /// Processes and threads.
    pub pids: Option<Amount>,
}
// ANCHOR_END: types

/// The period if none is given, in microseconds.
pub const PERIOD: u64 = 100_000;

/// The kernel gives out no less, in microseconds.
const LEAST_QUOTA: u64 = 1_000;

/// No system has more processes and threads; `PID_MAX_LIMIT` of the kernel.
const MOST_PROCESSES: u64 = 1 << 22;

/// Less memory than this does not carry a container through its birth; Docker refuses less as well.
const LEAST_MEMORY: u64 = 6 << 20;

impl Limits {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Limits::default()
    }

    // ANCHOR: check
    /// Refuses what the kernel would refuse, or take for something else, with better words.
    ///
    /// # Errors
    /// A number out of its range; memory with swap that is less than memory alone.
    pub fn check(&self) -> Result<()> {
        within("--cpu-period", self.cpu_period, 1_000, 1_000_000)?;
        within("--cpu-quota", of(self.cpu_quota), LEAST_QUOTA, u64::MAX)?;
        within("--cpu-shares", self.cpu_shares, 2, 262_144)?;
        within("--blkio-weight", self.io_weight, 10, 1_000)?;
        within("--memory", of(self.memory), LEAST_MEMORY, i64::MAX as u64)?;
        within("--pids-limit", of(self.pids), 1, MOST_PROCESSES)?;
        is_list("--cpuset-cpus", self.cpuset_cpus.as_deref())?;
        is_list("--cpuset-mems", self.cpuset_mems.as_deref())?;
        match (self.memory, self.memory_swap) {
            (Some(Amount::Of(memory)), Some(Amount::Of(both))) if both < memory => {
                let cause = "it is memory and swap together, so it cannot be less than --memory";
                Err(Error::refused("--memory-swap", both, cause))
            }
            (Some(Amount::Unlimited), Some(Amount::Of(both))) => {
                Err(Error::refused("--memory-swap", both, "it needs a --memory"))
            }
            _ => Ok(()),
        }
    }

    /// Refuses what does not fit to what the cgroup has now.
    ///
    /// # Errors
    /// A sum of memory and swap alone, where there is more memory than that, or no limit of memory.
    pub fn check_over(&self, now: &Now) -> Result<()> {
        match (self.memory, self.memory_swap, now.memory) {
            (None, Some(Amount::Of(both)), Amount::Unlimited) => {
                Err(Error::refused("--memory-swap", both, "it needs a --memory"))
            }
            (None, Some(Amount::Of(both)), Amount::Of(memory)) if both < memory => {
                let cause =
                    format!("there are {memory} bytes of memory now, and it is memory and swap together");
                Err(Error::refused("--memory-swap", both, cause))
            }
            _ => Ok(()),
        }
    }
    // ANCHOR_END: check
}

fn of(amount: Option<Amount>) -> Option<u64> {
    match amount {
        Some(Amount::Of(number)) => Some(number),
        _ => None,
    }
}

fn within(flag: &str, number: Option<u64>, least: u64, most: u64) -> Result<()> {
    let range = if most == u64::MAX { format!("at least {least}") } else { format!("{least} to {most}") };
    match number {
        Some(number) if !(least..=most).contains(&number) => {
            Err(Error::refused(flag, number, format!("it must be {range}")))
        }
        _ => Ok(()),
    }
}

fn is_list(flag: &str, list: Option<&str>) -> Result<()> {
    match list {
        Some(list) if numbers(list).is_none() => Err(Error::refused(flag, list, "write a list: 0-2,7")),
        _ => Ok(()),
    }
}

impl Amount {
    /// `-1`, or a number of things.
    ///
    /// # Errors
    /// It is neither.
    pub fn number(flag: &str, text: &str) -> Result<Amount> {
        match text.parse::<i64>() {
            Ok(-1) => Ok(Amount::Unlimited),
            Ok(number) if number >= 0 => Ok(Amount::Of(number as u64)),
            _ => Err(Error::refused(flag, text, "write a number, or -1 for no limit")),
        }
    }

    /// `-1`, or an amount of memory such as `64m`.
    ///
    /// # Errors
    /// It is neither.
    pub fn bytes(flag: &str, text: &str) -> Result<Amount> {
        if text == "-1" {
            return Ok(Amount::Unlimited);
        }
        bytes(flag, text).map(Amount::Of)
    }
}

/// An amount of memory such as `64m`.
///
/// # Errors
/// It is none, or nothing.
pub fn bytes(flag: &str, text: &str) -> Result<u64> {
    size::bytes(text).map_err(|error| Error::refused(flag, text, error.cause))
}

// ANCHOR: cpus
/// The quota for a number of processors such as `1.5`: that many periods in each period.
///
/// # Errors
/// It is no number above zero; or less than the kernel gives out.
pub fn quota_for(cpus: &str, period: u64) -> Result<Amount> {
    match cpus.parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => {
            let quota = (number * period as f64).round() as u64;
            if quota < LEAST_QUOTA {
                let cause = format!("of {period} us that is {quota}, and {LEAST_QUOTA} is the least");
                return Err(Error::refused("--cpus", cpus, cause));
            }
            Ok(Amount::Of(quota))
        }
        _ => Err(Error::refused("--cpus", cpus, "write how many processors: 1.5")),
    }
}
// ANCHOR_END: cpus

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_processors_is_a_quota() {
        assert_eq!(quota_for("1.5", PERIOD), Ok(Amount::Of(150_000)));
        assert_eq!(quota_for("0.2", 50_000), Ok(Amount::Of(10_000)));
        for wrong in ["", "0", "-1", "x", "inf", "nan", "0.001"] {
            assert!(quota_for(wrong, PERIOD).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_out_of_range_is_refused_by_name() {
        let flag = |limits: Limits| limits.check().unwrap_err().operation;
        assert_eq!(flag(Limits { cpu_shares: Some(1), ..Limits::default() }), "--cpu-shares");
        assert_eq!(flag(Limits { cpu_period: Some(999), ..Limits::default() }), "--cpu-period");
        assert_eq!(flag(Limits { cpu_quota: Some(Amount::Of(100)), ..Limits::default() }), "--cpu-quota");
        assert_eq!(flag(Limits { io_weight: Some(1001), ..Limits::default() }), "--blkio-weight");
        for wrong in [0, MOST_PROCESSES + 1] {
            assert_eq!(flag(Limits { pids: Some(Amount::Of(wrong)), ..Limits::default() }), "--pids-limit");
        }
        let memory = Some(Amount::Of(64 << 20));
        assert_eq!(flag(Limits { memory: Some(Amount::Of(1)), ..Limits::default() }), "--memory");
        let both = Some(Amount::Of(32 << 20));
        assert_eq!(flag(Limits { memory, memory_swap: both, ..Limits::default() }), "--memory-swap");
        assert_eq!(Limits { memory, memory_swap: memory, ..Limits::default() }.check(), Ok(()));
    }

    #[test]
    fn minus_one_is_no_limit() {
        assert_eq!(Amount::number("--pids-limit", "-1"), Ok(Amount::Unlimited));
        assert_eq!(Amount::bytes("--memory", "64m"), Ok(Amount::Of(64 << 20)));
        assert_eq!(Amount::number("--pids-limit", "-2").unwrap_err().operation, "--pids-limit");
        assert_eq!(Amount::bytes("--memory", "64x").unwrap_err().operation, "--memory");
    }
}
