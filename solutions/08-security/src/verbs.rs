//! `capabilities` and `seccomp`: what a process may do, and what a filter says.

use std::path::PathBuf;

use clap::{ArgMatches, Command, arg, value_parser};
use process::{Error, Result};

use crate::bpf::disassemble;
use crate::calls::{self, Arch};
use crate::capability::{self, Set, TABLE};
use crate::credentials::Sets;
use crate::filter::compile;
use crate::machine::{Call, run as run_program};
use crate::policy::{Action, Door, Policy};
use crate::profile;
use crate::resolve::{Facts, resolve, unknown_names};
use crate::seccomp::Choice;

/// The commands of this chapter.
pub fn commands() -> [Command; 2] {
    let number = value_parser!(String);
    [
        Command::new("capabilities")
            .about("Show the capability sets of a process, or all capabilities there are")
            .arg(arg!([PID] "The process, or `self`").value_parser(number)),
        Command::new("seccomp").about("Show what a seccomp profile means here").args([
            arg!(--profile <FILE> "The profile; Docker's default if not given")
                .value_parser(value_parser!(PathBuf)),
            arg!(--"cap-add" <NAME> ... "As for `run`"),
            arg!(--"cap-drop" <NAME> ... "As for `run`"),
            arg!(--explain "List the calls by what is answered to them"),
            arg!(--dump "Show the program, one instruction a line"),
            arg!(--call <CALL> "What is answered to this call, such as `socket 40`"),
            arg!(--i386 "Mean the calls of 32-bit programs"),
        ]),
    ]
}

// ANCHOR: capabilities
/// The five sets of a process, decoded; or the table.
///
/// # Errors
/// There is no such process.
pub fn capabilities(given: &ArgMatches) -> Result<u8> {
    match given.get_one::<String>("PID") {
        Some(pid) => {
            let is_process = pid == "self" || pid.parse::<u32>().is_ok();
            if !is_process {
                return Err(Error::refused(
                    "show the capabilities of",
                    pid,
                    "a process is a number, or `self`",
                ));
            }
            for (name, set) in Sets::of(pid)?.named() {
                println!("{name:12} {:016x} {:2}  {set}", set.0, set.numbers().count());
            }
        }
        None => {
            for (number, (name, door)) in TABLE.iter().enumerate() {
                let docker = if Set::of_docker().has(number as u8) { "*" } else { " " };
                println!("{number:2} {docker} {name:20} {door}");
            }
            println!("* left to root in a container");
        }
    }
    Ok(0)
}
// ANCHOR_END: capabilities

// ANCHOR: seccomp
/// What a profile means here.
///
/// # Errors
/// It is no profile; or there is no such call.
pub fn seccomp(given: &ArgMatches) -> Result<u8> {
    let choice =
        given.get_one::<PathBuf>("profile").map_or(Choice::Builtin, |path| Choice::File(path.clone()));
    let (text, origin) = choice.text()?.unwrap_or_default();
    let profile = profile::parse(&text, &origin)?;
    let all = |name| {
        let words = given.get_many::<String>(name).into_iter().flatten();
        words.into_iter().try_fold(Set::EMPTY, |set, text| Ok::<_, Error>(set | capability::parse(text)?))
    };
    let wish = capability::Wish { add: all("cap-add")?, drop: all("cap-drop")?, ..Default::default() };
    let facts = Facts::here(wish.set(Set::ALL)?)?;
    let policy = resolve(&profile, &facts)?;
    let arch = if given.get_flag("i386") { Arch::I386 } else { facts.arch };
    match given.get_one::<String>("call") {
        Some(call) => println!("{}", answer(&policy, arch, call)?),
        None if given.get_flag("dump") => print!("{}", disassemble(&compile(&policy))),
        None if given.get_flag("explain") => print!("{}", explain(&policy, arch)),
        None => print!("{}", summary(&policy, &origin, &unknown_names(&profile))),
    }
    Ok(0)
}
// ANCHOR_END: seccomp

/// `EPERM, after 14 instructions`.
fn answer(policy: &Policy, arch: Arch, call: &str) -> Result<String> {
    let refuse = |cause: &str| Error::refused("find the call", call, cause);
    let mut words = call.split_whitespace();
    let name = words.next().ok_or_else(|| refuse("write it as `NAME ARGUMENT...`"))?;
    let value =
        |word: &str| word.strip_prefix("0x").map_or_else(|| word.parse(), |hex| u64::from_str_radix(hex, 16));
    let given = || u32::try_from(value(name).ok()?).ok();
    let number = calls::numbers(arch).get(name).copied().or_else(given);
    let number = number.ok_or_else(|| refuse("this architecture has none of that name"))?;
    let mut arguments = [0; 6];
    for (to, word) in arguments.iter_mut().zip(words) {
        *to = value(word).map_err(|_| refuse("arguments are numbers, 40 or 0x28"))?;
    }
    let (action, steps) = run_program(&compile(policy), &Call { arch: arch.audit(), number, arguments })
        .ok_or_else(|| refuse("the program has no answer"))?;
    Ok(format!("{}, after {steps} instructions", action.text()))
}

fn summary(policy: &Policy, origin: &str, unknown: &[&str]) -> String {
    let mut text = format!("{origin}: {} instructions\n", compile(policy).len());
    for door in &policy.doors {
        let tested =
            door.rules.values().filter(|rules| rules.iter().any(|rule| !rule.tests.is_empty())).count();
        let count = door.rules.len();
        text += &format!("{:?}: rules for {count} calls, {tested} of them by their arguments; ", door.arch);
        text += &format!("{} from number {} on\n", policy.unborn.text(), door.unborn);
    }
    text += &format!(
        "all other calls: {}; other architectures: {}\n",
        policy.default.text(),
        policy.closed.text()
    );
    if !unknown.is_empty() {
        text += &format!("names that mean nothing here: {}\n", unknown.join(" "));
    }
    text
}

fn explain(policy: &Policy, arch: Arch) -> String {
    let Some(door) = policy.doors.iter().find(|door| door.arch == arch) else {
        return format!("{arch:?}: {} for every call\n", policy.closed.text());
    };
    let names = calls::names(arch);
    let name = |number: &u32| names.get(number).copied().unwrap_or("?");
    let mut text = String::new();
    let mut actions: Vec<Action> = Vec::new();
    let alone = |door: &Door, number: &u32| match door.rules[number].as_slice() {
        [only] if only.tests.is_empty() => Some(only.action),
        _ => None,
    };
    for number in door.rules.keys() {
        actions.extend(alone(door, number).filter(|action| !actions.contains(action)));
    }
    for action in actions {
        let same: Vec<&str> =
            door.rules.keys().filter(|number| alone(door, number) == Some(action)).map(name).collect();
        text += &format!("{}: {}\n", action.text(), same.join(" "));
    }
    for (number, rules) in door.rules.iter().filter(|(number, _)| alone(door, number).is_none()) {
        for rule in rules {
            let tests: Vec<String> = rule.tests.iter().map(ToString::to_string).collect();
            text += &format!("{}: {} where {}\n", rule.action.text(), name(number), tests.join(" and "));
        }
    }
    let missing: Vec<&str> =
        names.iter().filter(|(number, _)| !door.rules.contains_key(number)).map(|(_, name)| *name).collect();
    text + &format!("{} to all others: {}\n", policy.default.text(), missing.join(" "))
}
