//! The flags of this floor, which acts at four places.

use cgroup::devices::Rule;
use clap::{ArgAction, ArgMatches, Command, arg, value_parser};
use process::cli::{Floor, Isolations};
use process::{Error, Program, Result};

use crate::capability::{self, Set, Wish};
use crate::credentials::Sets;
use crate::device::{self, Device, Take};
use crate::limit::Limit;
use crate::options::Options;
use crate::order::Paths;
use crate::privileges::Privileges;
use crate::seccomp::Choice;
use crate::settings::Settings;
use crate::sysctl::{Own, Sysctl};

/// Before the root is exchanged: the host's devices can still be seen. Its flags are all of this chapter's.
pub const DEVICES: Floor = Floor { flags, isolations: devices };

/// In the place of chapter 6's floor: the cgroup's list of devices knows those that are shown.
pub const CGROUP: Floor = Floor { flags: cgroup::cli::FLOOR.flags, isolations: limited };

/// After everything is furnished, and before root becomes somebody else.
pub const SETTINGS: Floor = Floor { flags: |command| command, isolations: settings };

/// Last of all.
pub const PRIVILEGES: Floor = Floor { flags: |command| command, isolations: privileges };

fn flags(command: Command) -> Command {
    command.args([
        arg!(--"cap-add" <NAME> ... "Leave this capability to root, or ALL that we have"),
        arg!(--"cap-drop" <NAME> ... "Take this capability from root, or ALL"),
        arg!(--privileged "All capabilities and devices, no filter, nothing covered"),
        arg!(--"security-opt" <"NAME[=VALUE]"> ... "seccomp=FILE, no-new-privileges, systempaths=unconfined, landlock=ro:PATH"),
        arg!(--sysctl <"NAME=VALUE"> ... "Set a switch of the container's namespaces"),
        arg!(--device <"HOST[:CONTAINER][:rwm]"> ... "Show a device of the host inside"),
        arg!(--ulimit <"NAME=SOFT[:HARD]"> ... "Limit what one process may use"),
        arg!(--"oom-score-adj" <SCORE> "How gladly the kernel kills it when memory is short")
            .value_parser(value_parser!(i32).range(-1000..=1000))
            .allow_negative_numbers(true)
            .action(ArgAction::Set),
    ])
}

fn words<'a>(given: &'a ArgMatches, name: &str) -> impl Iterator<Item = &'a String> {
    given.get_many::<String>(name).into_iter().flatten()
}

// ANCHOR: devices
fn devices(given: &ArgMatches, program: &mut Program) -> Result<Isolations> {
    // Chapter 2 has not looked yet; chapter 7 has.
    let has_root = program.root.is_some() || given.contains_id("rootfs");
    let asked = words(given, "device").map(|text| Device::parse(text)).collect::<Result<Vec<_>>>()?;
    if let (false, Some(first)) = (has_root, asked.first()) {
        let cause = "it needs a root of the container's own: elsewhere all are there";
        return Err(Error::refused("--device", first.source.display(), cause));
    }
    let all = given.get_flag("privileged") && has_root && !given.get_flag("bare");
    let mut list = if all { device::all() } else { vec![] };
    for device in asked {
        list.retain(|other| other.target != device.target);
        list.push(device);
    }
    Ok(if list.is_empty() { Vec::new() } else { vec![Box::new(Take(list))] })
}

/// The devices that a container may use: those that it is shown; all, if it is privileged. What root of the machine
/// could make a node for, a list must forbid: without one, there is no container.
fn limited(given: &ArgMatches, program: &mut Program) -> Result<Isolations> {
    let rule = |text: &String| Device::parse(text)?.rule();
    let mut rules = words(given, "device").map(rule).collect::<Result<Vec<_>>>()?;
    if given.get_flag("privileged") {
        rules.push(Rule::parse("a *:* rwm")?);
    }
    let listed = reaches_devices(given)? && !is_without_list(given) && !given.get_flag("privileged");
    cgroup::cli::isolations_with(given, program, &rules, listed)
}

/// Whether the container's root is the machine's, for whom a device node is the device. In a user namespace of its own,
/// it can neither make one nor open what it made.
fn reaches_devices(given: &ArgMatches) -> Result<bool> {
    Ok(overlay::node::is_real_root() && !user::cli::is_private(given)?)
}

/// Whether there is to be no cgroup, and so nothing that knows which devices it may use.
fn is_without_list(given: &ArgMatches) -> bool {
    given.get_one::<String>("cgroups").is_some_and(|mode| mode == "disabled")
}

/// Whether device nodes of the image open. Not where no list is asked, unless root is to make nodes of its own; and in a
/// user namespace never, where the image's are the only ones that there can be.
fn nodes_open(given: &ArgMatches) -> Result<bool> {
    let makes_nodes = capabilities(given)?.has(capability::MKNOD);
    Ok(reaches_devices(given)? && (makes_nodes || !is_without_list(given)))
}
// ANCHOR_END: devices

fn settings(given: &ArgMatches, program: &mut Program) -> Result<Isolations> {
    let options = Options::parse(words(given, "security-opt"))?;
    let has_dev = mount::cli::has_dev(given, program);
    let paths = match () {
        () if !has_dev => Paths::Left,
        () if given.get_flag("privileged") => Paths::Open,
        () if options.open_paths => Paths::Left,
        () => Paths::Covered,
    };
    Ok(vec![Box::new(Settings {
        nodes_open: program.root.is_none() || nodes_open(given)?,
        sysctls: sysctls(given, has_dev)?,
        paths,
        ceiling: capabilities(given)?,
        oom_score: given.get_one("oom-score-adj").copied(),
        limits: limits(given)?,
    })])
}

fn privileges(given: &ArgMatches, program: &mut Program) -> Result<Isolations> {
    let options = Options::parse(words(given, "security-opt"))?;
    let unsaid = if given.get_flag("privileged") { Choice::Unconfined } else { Choice::Builtin };
    let mut all = Privileges::new(capabilities(given)?, network::cli::state());
    all.no_new_privileges = options.no_new_privileges;
    all.seccomp = options.seccomp.unwrap_or(unsaid);
    all.landlock = options.landlock;
    all.limits = limits(given)?;
    all.init = program.init;
    Ok(vec![Box::new(all)])
}

// ANCHOR: capabilities
/// What the container's root may keep.
///
/// # Errors
/// A name that there is not, or one that we do not have ourselves.
pub fn capabilities(given: &ArgMatches) -> Result<Set> {
    let all = |name| words(given, name).try_fold(Set::EMPTY, |set, text| Ok(set | capability::parse(text)?));
    let wish = Wish {
        add: all("cap-add")?,
        drop: all("cap-drop")?,
        privileged: given.get_flag("privileged"),
        all_devices: reaches_devices(given)? && is_without_list(given),
    };
    wish.set(ours(given)?)
}

/// What we can give away: root of a user namespace of its own has all of them, there.
fn ours(given: &ArgMatches) -> Result<Set> {
    if user::cli::is_private(given)? {
        return Ok(Set::ALL);
    }
    let sets = Sets::of("self")?;
    Ok(sets.permitted & sets.bounding)
}
// ANCHOR_END: capabilities

fn limits(given: &ArgMatches) -> Result<Vec<Limit>> {
    words(given, "ulimit").map(|text| Limit::parse(text)).collect()
}

// ANCHOR: sysctls
/// The switches that were asked for, and before them those that Docker sets in every network of a container's own:
/// low ports and ping take no capability in there.
fn sysctls(given: &ArgMatches, has_proc: bool) -> Result<Vec<Sysctl>> {
    let word = |name| given.get_one::<String>(name).map_or("", String::as_str);
    let shared = |word: &str| word == "host" || word.starts_with("container:");
    let own = Own { network: !shared(word("network")), ipc: !shared(word("ipc")) };
    let mut all = Vec::new();
    if own.network && has_proc {
        all.push(Sysctl::parse("net.ipv4.ip_unprivileged_port_start=0", own)?);
        if !user::cli::is_private(given)? && has_all_groups() {
            all.push(Sysctl::parse("net.ipv4.ping_group_range=0 2147483647", own)?);
        }
    }
    for text in words(given, "sysctl") {
        all.push(Sysctl::parse(text, own)?);
    }
    Ok(all)
}

/// Whether all group ids are there, also those that a range for ping names: in a user namespace they are not.
fn has_all_groups() -> bool {
    let map = std::fs::read_to_string("/proc/self/gid_map").unwrap_or_default();
    map.split_whitespace().eq(["0", "0", "4294967295"])
}
// ANCHOR_END: sysctls
