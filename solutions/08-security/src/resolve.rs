//! From a profile to a policy: what its rules mean for this container, on this machine.
//!
//! A pure function of the profile and the [`Facts`]. Rules whose conditions do not hold are left out, names become
//! the numbers of each architecture, and names that an architecture does not have are skipped, as every runtime does:
//! a profile is written for many machines. What a profile cannot have meant is decided as runc decides it:
//!
//! * calls younger than every call that it names answer ENOSYS and not its default error: programs try new calls and
//!   fall back to old ones, but only when they are told that there is no such call;
//! * tests of one argument twice in a rule are alternatives.

use std::collections::{BTreeMap, BTreeSet};

use nix::errno::Errno;
use nix::sys::utsname::uname;
use process::{Context, Error, Result};

use crate::calls::{self, Arch};
use crate::capability::{self, Set};
use crate::policy::{Action, Comparison, Door, Policy, Rule, Test};
use crate::profile::{ActionName, Argument, Conditions, Entry, Operator, Profile};
use crate::sharpen::{close_socketcall, keep_from_typing};

/// What rules may depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The bounding set of the container.
    pub capabilities: Set,
    /// What its programs are made for.
    pub arch: Arch,
    /// The kernel's version, two numbers.
    pub kernel: (u32, u32),
    /// Whether its terminal is its caller's.
    pub shared_terminal: bool,
}

impl Facts {
    /// Those of this machine.
    ///
    /// # Errors
    /// None that a user could cause.
    pub fn here(capabilities: Set) -> Result<Facts> {
        let release = uname().during("uname", "")?.release().to_string_lossy().into_owned();
        Ok(Facts {
            capabilities,
            arch: Arch::native(),
            kernel: version(&release).unwrap_or((0, 0)),
            shared_terminal: true,
        })
    }
}

/// `6.18` in `6.18.44-generic`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

// ANCHOR: resolve
/// What a profile means.
///
/// # Errors
/// It names what there is not: an action, an error number, an argument, a capability.
pub fn resolve(profile: &Profile, facts: &Facts) -> Result<Policy> {
    let default = action(profile.default_action, profile.default_errno_ret)?;
    let mut counting = Vec::new();
    for entry in &profile.syscalls {
        if applies(entry, facts)? {
            counting.push((entry, rules_of(entry)?));
        }
    }
    let doors = arches(profile, facts.arch)
        .into_iter()
        .map(|arch| door(arch, default, &counting, facts.shared_terminal))
        .collect();
    let unborn = if refuses(default) { Action::NO_SUCH_CALL } else { default };
    Ok(Policy { doors, default, unborn, closed: Action::NO_SUCH_CALL })
}

/// Whether the conditions of a rule hold: all that it includes, and nothing that it excludes.
fn applies(entry: &Entry, facts: &Facts) -> Result<bool> {
    let arch = |names: &[String]| names.iter().any(|name| name == facts.arch.names().1);
    let kernel = |oldest: &(u32, u32)| facts.kernel >= *oldest;
    let Conditions { caps, arches, min_kernel } = &entry.includes;
    let wanted = caps_of(caps)?;
    let included = facts.capabilities & wanted == wanted
        && (arches.is_empty() || arch(arches))
        && min_kernel.as_ref().is_none_or(kernel);
    let Conditions { caps, arches, min_kernel } = &entry.excludes;
    let excluded = facts.capabilities & caps_of(caps)? != Set::EMPTY
        || arch(arches)
        || min_kernel.as_ref().is_some_and(kernel);
    Ok(included && !excluded)
}
// ANCHOR_END: resolve

/// Whether an action keeps a call from being done by an error number.
fn refuses(action: Action) -> bool {
    matches!(action, Action::Errno(_))
}

fn caps_of(names: &[String]) -> Result<Set> {
    names.iter().try_fold(Set::EMPTY, |set, name| Ok(set | capability::parse(name)?))
}

/// Whose calls are let in: those of the machine's own programs, and of those that the profile says besides.
///
/// x32 never: hardly a kernel has it, and its calls are a second way to each of x86-64's. Without a table of its own
/// a 32-bit ARM program is not let in either.
fn arches(profile: &Profile, native: Arch) -> Vec<Arch> {
    let of_map = profile.arch_map.iter().find(|map| map.architecture == native.names().0);
    let subs = of_map.and_then(|map| map.sub_architectures.as_ref());
    let named: Vec<&String> = subs.into_iter().flatten().chain(&profile.architectures).collect();
    let others = Arch::ALL
        .into_iter()
        .filter(|arch| *arch != native && named.iter().any(|name| *name == arch.names().0));
    std::iter::once(native).chain(others).collect()
}

// ANCHOR: door
/// The rules by the numbers of one architecture.
fn door(arch: Arch, default: Action, entries: &[(&Entry, Vec<Rule>)], shared_terminal: bool) -> Door {
    let numbers = calls::numbers(arch);
    let mut rules: BTreeMap<u32, Vec<Rule>> = BTreeMap::new();
    for (entry, more) in entries {
        for number in entry.names.iter().chain(&entry.name).filter_map(|name| numbers.get(name.as_str())) {
            let all = rules.entry(*number).or_default();
            let stands_alone = |rules: &[Rule]| rules.iter().any(|rule| rule.tests.is_empty());
            // One without tests speaks for every call: it takes the place of those with tests, as in libseccomp.
            match (stands_alone(all), stands_alone(more)) {
                (true, _) => {}
                (false, true) => *all = more.clone(),
                (false, false) => all.extend(more.iter().cloned()),
            }
        }
    }
    close_socketcall(arch, &mut rules);
    if shared_terminal {
        keep_from_typing(arch, default, &mut rules);
    }
    let unborn = rules.keys().max().map_or(u32::MAX, |number| number + 1);
    Door { arch, rules, unborn }
}
// ANCHOR_END: door

/// A rule of the file as rules with at most one test an argument.
fn rules_of(entry: &Entry) -> Result<Vec<Rule>> {
    if entry.name.is_some() && !entry.names.is_empty() {
        return Err(refuse(entry, "`name` and `names`: use one of them"));
    }
    let action = action(entry.action, entry.errno_ret)?;
    let arguments = entry.args.as_deref().unwrap_or_default();
    let tests = arguments.iter().map(|argument| test(entry, argument)).collect::<Result<Vec<Test>>>()?;
    let different: BTreeSet<u8> = tests.iter().map(|test| test.argument).collect();
    Ok(if different.len() == tests.len() {
        vec![Rule { tests, action }]
    } else {
        tests.into_iter().map(|test| Rule { tests: vec![test], action }).collect()
    })
}

fn refuse(entry: &Entry, cause: impl std::fmt::Display) -> Error {
    let first = entry.names.first().or(entry.name.as_ref()).map_or("a rule without names", String::as_str);
    Error::refused("read the seccomp profile", first, cause)
}

fn test(entry: &Entry, argument: &Argument) -> Result<Test> {
    if argument.index > 5 {
        return Err(refuse(entry, "a call has six arguments, 0 to 5"));
    }
    let (comparison, value) = match argument.op {
        Operator::Equal => (Comparison::Equal, argument.value),
        Operator::NotEqual => (Comparison::NotEqual, argument.value),
        Operator::Greater => (Comparison::Greater, argument.value),
        Operator::GreaterOrEqual => (Comparison::GreaterOrEqual, argument.value),
        Operator::Less => (Comparison::Less, argument.value),
        Operator::LessOrEqual => (Comparison::LessOrEqual, argument.value),
        // The one comparison with two values: of the mask, and of what is left under it.
        Operator::MaskedEqual => (Comparison::MaskedEqual(argument.value), argument.value_two),
    };
    Ok(Test { argument: argument.index, comparison, value })
}

/// The errors that the kernel can give back; above them, it would give the highest.
const LAST_ERRNO: u16 = 4095;

fn action(name: ActionName, number: Option<u16>) -> Result<Action> {
    let errno = number.unwrap_or(Errno::EPERM as u16);
    if name == ActionName::Errno && errno > LAST_ERRNO {
        return Err(Error::refused("read the seccomp profile", errno, "errors are numbers up to 4095"));
    }
    Ok(match name {
        ActionName::KillThread => Action::KillThread,
        ActionName::KillProcess => Action::KillProcess,
        ActionName::Trap => Action::Trap,
        ActionName::Errno => Action::Errno(errno),
        ActionName::Trace => Action::Trace(errno),
        ActionName::Log => Action::Log,
        ActionName::Allow => Action::Allow,
    })
}

/// How a profile wants its filter to be put over a process: `SECCOMP_FILTER_FLAG_*`.
///
/// Where it says nothing, branch prediction stays as it is for everybody (SPEC_ALLOW), as in runc. TSYNC means other
/// threads, and there are none here.
///
/// # Errors
/// A flag that there is not, or one that goes with notifications.
pub fn flags(profile: &Profile) -> Result<u64> {
    if profile.flags.is_empty() {
        return Ok(libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW);
    }
    profile.flags.iter().try_fold(0, |all, flag| match flag.as_str() {
        "SECCOMP_FILTER_FLAG_TSYNC" => Ok(all),
        "SECCOMP_FILTER_FLAG_LOG" => Ok(all | libc::SECCOMP_FILTER_FLAG_LOG),
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => Ok(all | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW),
        other => Err(Error::refused("read the seccomp profile", other, "there is no such flag here")),
    })
}

/// The names in a profile that no architecture has which we know: of others, of newer kernels, or misspelled.
pub fn unknown_names(profile: &Profile) -> Vec<&str> {
    let all = profile.syscalls.iter().flat_map(|entry| entry.names.iter().chain(&entry.name));
    let unknown: BTreeSet<&str> = all.map(String::as_str).filter(|name| !calls::is_known(name)).collect();
    unknown.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{DEFAULT, parse};

    const WITHOUT: Facts =
        Facts { capabilities: Set(0xa804_25fb), arch: Arch::X86_64, kernel: (6, 1), shared_terminal: true };

    fn docker(facts: Facts) -> Policy {
        resolve(&parse(DEFAULT, "Docker's").unwrap(), &facts).unwrap()
    }

    /// The answer to a call of an architecture by its name.
    fn said(policy: &Policy, arch: Arch, name: &str, first: u64) -> Action {
        policy.answer(arch.audit(), calls::numbers(arch)[name], &[first, 0, 0, 0, 0, 0])
    }

    const EPERM: Action = Action::Errno(libc::EPERM as u16);

    #[test]
    fn dockers_profile_means_what_it_says() {
        let policy = docker(WITHOUT);
        for arch in [Arch::X86_64, Arch::I386] {
            let said = |name, first| said(&policy, arch, name, first);
            for name in
                ["read", "execve", "futex", "capset", "seccomp", "setuid", "ptrace", "landlock_add_rule"]
            {
                assert_eq!(said(name, 0), Action::Allow, "{arch:?} {name}");
            }
            for name in [
                "mount",
                "keyctl",
                "add_key",
                "unshare",
                "setns",
                "bpf",
                "reboot",
                "init_module",
                "kexec_load",
            ] {
                assert_eq!(said(name, 0), EPERM, "{arch:?} {name}");
            }
            assert_eq!(said("clone3", 0), Action::NO_SUCH_CALL);
            assert_eq!((said("clone", 0x11), said("clone", 0x1000_0000)), (Action::Allow, EPERM));
            assert_eq!((said("personality", 8), said("personality", 1)), (Action::Allow, EPERM));
            for family in [1, 2, 10, 16, 17] {
                assert_eq!(said("socket", family), Action::Allow, "{family}");
            }
            for family in [12, 38, 40, 46, 1 << 32 | 38, 1 << 32 | 2] {
                assert_eq!(said("socket", family), EPERM, "{family}");
            }
        }
        let ioctl = |request| policy.answer(Arch::X86_64.audit(), 16, &[0, request, 0, 0, 0, 0]);
        assert_eq!([0x5412, 1 << 32 | 0x5412, 0x541c].map(ioctl), [EPERM; 3], "typing for the caller");
        assert_eq!([0x5401, 0x5413].map(ioctl), [Action::Allow; 2]);
        assert_eq!(said(&policy, Arch::I386, "socketcall", 1), Action::NO_SUCH_CALL);
        assert_eq!(policy.answer(Arch::Aarch64.audit(), 64, &[0; 6]), Action::NO_SUCH_CALL, "no door");
        assert_eq!(policy.answer(Arch::X86_64.audit(), X32_READ, &[0; 6]), Action::NO_SUCH_CALL);
        assert_eq!(policy.answer(Arch::X86_64.audit(), 999, &[0; 6]), Action::NO_SUCH_CALL, "younger");
    }

    const X32_READ: u32 = crate::policy::X32;

    #[test]
    fn a_capability_opens_its_calls() {
        let with = Facts { capabilities: Set(0xa804_25fb) | Set::one(capability::SYS_ADMIN), ..WITHOUT };
        for name in ["mount", "unshare", "clone3", "setns", "bpf"] {
            assert_eq!(said(&docker(with), Arch::X86_64, name, 0), Action::Allow, "{name}");
        }
        assert_eq!(said(&docker(with), Arch::X86_64, "clone", 0x1000_0000), Action::Allow);
        let without = Facts { capabilities: Set::EMPTY, ..WITHOUT };
        assert_eq!(said(&docker(without), Arch::X86_64, "chroot", 0), EPERM);
        assert_eq!(said(&docker(WITHOUT), Arch::X86_64, "chroot", 0), Action::Allow);
        let old = Facts { kernel: (4, 4), ..WITHOUT };
        assert_eq!(said(&docker(old), Arch::X86_64, "ptrace", 0), EPERM);
        let arm = docker(Facts { arch: Arch::Aarch64, ..WITHOUT });
        assert_eq!(arm.doors.len(), 1);
        assert_eq!(said(&arm, Arch::Aarch64, "mount", 0), EPERM);
        assert_eq!(said(&arm, Arch::Aarch64, "openat", 0), Action::Allow);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let all = |text: &str| parse(text, "mine").and_then(|profile| resolve(&profile, &WITHOUT));
        let allow = r#""defaultAction":"SCMP_ACT_ALLOW""#;
        for (text, words) in [
            ("{", "mine"),
            (r#"{"defaultAction":"SCMP_ACT_FLY"}"#, "SCMP_ACT_FLY"),
            (r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#, "SCMP_ACT_NOTIFY"),
            (&format!(r#"{{{allow},"syscals":[]}}"#), "syscals"),
            (r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":5000}"#, "4095"),
            (
                &format!(
                    r#"{{{allow},"syscalls":[{{"names":["read"],"action":"SCMP_ACT_LOG","args":[{{"index":6,"value":1,"op":"SCMP_CMP_EQ"}}]}}]}}"#
                ),
                "read",
            ),
            (
                &format!(
                    r#"{{{allow},"syscalls":[{{"name":"read","names":["write"],"action":"SCMP_ACT_LOG"}}]}}"#
                ),
                "one of them",
            ),
            (
                &format!(
                    r#"{{{allow},"syscalls":[{{"name":"read","action":"SCMP_ACT_LOG","includes":{{"caps":["CAP_FLY"]}}}}]}}"#
                ),
                "CAP_FLY",
            ),
        ] {
            let error = all(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
        let nothing = all(r#"{"defaultAction":"SCMP_ACT_ERRNO"}"#).unwrap();
        assert_eq!(said(&nothing, Arch::X86_64, "read", 0), EPERM);
    }

    #[test]
    fn rules_for_one_call_are_put_together() {
        let text = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
            {"names":["kill","fly"],"action":"SCMP_ACT_ERRNO","errnoRet":13,"args":[{"index":1,"value":9,"op":"SCMP_CMP_EQ"}]},
            {"names":["kill"],"action":"SCMP_ACT_TRAP","args":[
                {"index":0,"value":7,"op":"SCMP_CMP_EQ"},{"index":0,"value":8,"op":"SCMP_CMP_EQ"}]},
            {"names":["tkill"],"action":"SCMP_ACT_TRAP","args":[{"index":1,"value":9,"op":"SCMP_CMP_EQ"}]},
            {"names":["tkill"],"action":"SCMP_ACT_LOG"}]}"#;
        let profile = parse(text, "mine").unwrap();
        let policy = resolve(&profile, &WITHOUT).unwrap();
        let kill = |pid, signal| policy.answer(Arch::X86_64.audit(), 62, &[pid, signal, 0, 0, 0, 0]);
        assert_eq!(kill(7, 9), Action::Errno(13), "the first that fits");
        assert_eq!((kill(7, 1), kill(8, 1)), (Action::Trap, Action::Trap), "one argument twice: either");
        assert_eq!(kill(9, 1), Action::Allow);
        assert_eq!(
            policy.answer(Arch::X86_64.audit(), 200, &[0, 9, 0, 0, 0, 0]),
            Action::Log,
            "it stands alone"
        );
        assert_eq!(policy.answer(Arch::X86_64.audit(), 999, &[0; 6]), Action::Allow);
        assert_eq!(unknown_names(&profile), ["fly"]);
        assert_eq!(
            (version("6.18.44-generic"), version("5.15"), version("six")),
            (Some((6, 18)), Some((5, 15)), None)
        );
    }
}
