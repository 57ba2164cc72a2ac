//! The flags of this floor, and what they become.

use std::path::PathBuf;

use clap::{ArgMatches, Command, arg, value_parser};
use network::random;
use process::cli::{Floor, Isolations};
use process::{Error, Program, Result};

use crate::Hierarchies;
use crate::birth::{Membership, Wish};
use crate::devices::Rule;
use crate::limits::{Amount, Limits, PERIOD, bytes, quota_for};
use crate::place::Place;
use crate::throttle::{Rate, Throttle};
use crate::yard;

/// This chapter's floor. It acts after the root was exchanged: `/sys/fs/cgroup` is mounted in the container's `/sys`.
pub const FLOOR: Floor = Floor { flags, isolations };

fn flags(command: Command) -> Command {
    let rules = "c MAJOR:MINOR rwm";
    limit_flags(command).args([
        arg!(--"device-cgroup-rule" <RULE> ... "Allow one more kind of device").value_name(rules),
        arg!(--cgroups <MODE> "auto: a cgroup where one can be made; enabled: or else no container; disabled: none")
            .value_parser(["auto", "enabled", "disabled"])
            .default_value("auto"),
        arg!(--cgroupns <MODE> "A cgroup namespace of its own, or ours")
            .value_parser(["private", "host"])
            .default_value("private"),
        arg!(--"cgroup-writable" "Let the container make cgroups of its own below its limits"),
        parent_flag(),
    ])
}

/// Where containers' cgroups are; the verbs have it too.
pub(crate) fn parent_flag() -> clap::Arg {
    arg!(--"cgroup-parent" <PATH> "Below this cgroup, from the root of the tree: PATH/gantry/NAME; PATH is made where it is not there, and stays")
        .value_parser(value_parser!(PathBuf))
}

/// The flags for limits, as of `docker run` and `docker update`.
pub(crate) fn limit_flags(command: Command) -> Command {
    command.args([
        arg!(--cpus <NUMBER> "So many processors: 1.5"),
        arg!(--"cpu-period" <MICROSECONDS> "The period of --cpu-quota; 100000 if not given")
            .value_parser(value_parser!(u64)),
        arg!(--"cpu-quota" <MICROSECONDS> "Processor time in each period; -1 for no limit").allow_negative_numbers(true),
        arg!(--"cpu-shares" <NUMBER> "Its share where processors are scarce; others have 1024")
            .value_parser(value_parser!(u64)),
        arg!(--"cpuset-cpus" <LIST> "Run on these processors only: 0-2,7"),
        arg!(--"cpuset-mems" <LIST> "Memory from these nodes only: 0"),
        arg!(-m --memory <SIZE> "So much memory: 64m; -1 for no limit").allow_negative_numbers(true),
        arg!(--"memory-swap" <SIZE> "So much memory and swap together; twice the memory if not given, -1 for no limit")
            .allow_negative_numbers(true),
        arg!(--"memory-reservation" <SIZE> "Take memory from others before it has less than this"),
        arg!(--"blkio-weight" <NUMBER> "Its share where a disk is busy: 10 to 1000").value_parser(value_parser!(u64)),
        arg!(--"device-read-bps" <"PATH:RATE"> ... "Read so many bytes a second from a disk: /dev/vda:1m"),
        arg!(--"device-write-bps" <"PATH:RATE"> ... "Write so many bytes a second"),
        arg!(--"device-read-iops" <"PATH:RATE"> ... "Read so many times a second"),
        arg!(--"device-write-iops" <"PATH:RATE"> ... "Write so many times a second"),
        arg!(--"pids-limit" <NUMBER> "So many processes and threads; -1 for no limit").allow_negative_numbers(true),
    ])
}

// ANCHOR: limits
/// The limits that the flags spell out.
///
/// # Errors
/// A value is written wrong or out of range, or two flags say the same.
pub fn limits(given: &ArgMatches) -> Result<Limits> {
    let word = |name: &str| given.get_one::<String>(name);
    let number = |name| given.get_one::<u64>(name).copied();
    let amount = |name: &str, read: fn(&str, &str) -> Result<Amount>| {
        word(name).map(|text| read(&format!("--{name}"), text)).transpose()
    };
    let period = number("cpu-period");
    let quota = match (word("cpus"), amount("cpu-quota", Amount::number)?) {
        (Some(cpus), Some(_)) => return Err(Error::refused("--cpus", cpus, "--cpu-quota says the same")),
        (Some(cpus), None) => Some(quota_for(cpus, period.unwrap_or(PERIOD))?),
        (None, quota) => quota,
    };
    let limits = Limits {
        cpu_quota: quota,
        // The quota was computed for this period, whatever the cgroup has now.
        cpu_period: period.or(word("cpus").map(|_| PERIOD)),
        cpu_shares: number("cpu-shares"),
        cpuset_cpus: word("cpuset-cpus").cloned(),
        cpuset_mems: word("cpuset-mems").cloned(),
        memory: amount("memory", Amount::bytes)?,
        memory_swap: amount("memory-swap", Amount::bytes)?,
        memory_reservation: word("memory-reservation")
            .map(|text| bytes("--memory-reservation", text))
            .transpose()?,
        io_weight: number("blkio-weight"),
        throttles: throttles(given)?,
        pids: amount("pids-limit", Amount::number)?,
    };
    limits.check()?;
    Ok(limits)
}
// ANCHOR_END: limits

fn throttles(given: &ArgMatches) -> Result<Vec<Throttle>> {
    let flags = [
        ("device-read-bps", Rate::ReadBytes),
        ("device-write-bps", Rate::WriteBytes),
        ("device-read-iops", Rate::Reads),
        ("device-write-iops", Rate::Writes),
    ];
    let mut all = Vec::new();
    for (flag, rate) in flags {
        for text in given.get_many::<String>(flag).into_iter().flatten() {
            all.push(Throttle::parse(&format!("--{flag}"), rate, text)?);
        }
    }
    Ok(all)
}

/// The place that the flags name.
///
/// # Errors
/// The parent is written wrong.
pub(crate) fn place(given: &ArgMatches, trees: &Hierarchies) -> Result<Place> {
    Place::choose(trees, given.get_one::<PathBuf>("cgroup-parent").map(PathBuf::as_path))
}

// ANCHOR: isolations
fn isolations(given: &ArgMatches, program: &mut Program) -> Result<Isolations> {
    isolations_with(given, program, &[], false)
}

/// The same with more devices than the flags of this floor name: a later chapter shows some. With less than all rights
/// to one, the list is needed; so it is where `listed` says that there is to be no container without it.
///
/// # Errors
/// A flag is written wrong, or wants what there is not.
pub fn isolations_with(
    given: &ArgMatches,
    program: &mut Program,
    shown: &[Rule],
    listed: bool,
) -> Result<Isolations> {
    let limits = limits(given)?;
    if let (Some(swap), None) = (given.get_one::<String>("memory-swap"), limits.memory) {
        return Err(Error::refused("--memory-swap", swap, "it needs a --memory"));
    }
    let rules = given.get_many::<String>("device-cgroup-rule").into_iter().flatten();
    let mut rules = rules.map(|text| Rule::parse(text)).collect::<Result<Vec<_>>>()?;
    let (shown, limited): (Vec<Rule>, Vec<Rule>) = shown.iter().partition(|rule| rule.allows_all());
    rules.extend(limited);
    let trees = Hierarchies::detect()?;
    let needed = listed || !limits.is_empty() || !rules.is_empty() || given.get_flag("cgroup-writable");
    let needed = needed || given.get_one::<String>("cgroups").is_some_and(|mode| mode == "enabled");
    let mut place = wanted_place(given, &trees, needed)?;
    if place.as_ref().is_some_and(|place| place.tops.is_empty()) && !needed {
        program.notices.push(format!("the container has no limits: {}", yard::nowhere()));
        place = None;
    }
    let name = given.get_one::<String>("name").cloned();
    Ok(vec![Box::new(Membership::new(Wish {
        name: name.map_or_else(random::name, Ok)?,
        place,
        limits,
        devices: rules,
        shown_devices: shown,
        listed,
        private: given.get_one::<String>("cgroupns").is_some_and(|mode| mode == "private"),
        shown: (mount::cli::has_dev(given, program) && !trees.0.is_empty()).then_some(trees),
        writable: given.get_flag("cgroup-writable"),
        needed,
    }))])
}

/// The place for a cgroup, in which perhaps none can be made; none where there is to be none.
fn wanted_place(given: &ArgMatches, trees: &Hierarchies, needed: bool) -> Result<Option<Place>> {
    match given.get_one::<String>("cgroups").map_or("auto", String::as_str) {
        "disabled" if needed => {
            Err(Error::refused("--cgroups", "disabled", "limits and devices are the cgroup's"))
        }
        "disabled" => Ok(None),
        _ => place(given, trees).map(Some),
    }
}
// ANCHOR_END: isolations
