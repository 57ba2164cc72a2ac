//! Two ways around a filter that no profile can close by itself.
//!
//! * i386 makes sockets also by `socketcall`, whose arguments lie in memory, where no filter can look. Where a profile
//!   tests the arguments of `socket`, this way is closed, as by a kernel that does not have it. Docker leaves it to AppArmor
//!   or SELinux to look there.
//! * A container at the caller's terminal can type there, by `ioctl(TIOCSTI)`: what it types, the caller's shell runs when
//!   the container has ended (CVE-2017-5226). Docker gives containers terminals of their own, and so does this engine
//!   from chapter 12 on. Until then, the two requests that type are refused.

use std::collections::BTreeMap;

use crate::calls::{self, Arch};
use crate::policy::{Action, Comparison, Rule, Test};

/// The rules of an architecture by number.
type Rules = BTreeMap<u32, Vec<Rule>>;

// ANCHOR: sharpen
/// Closes i386's other way to a socket, where a profile looks at those that are made.
pub fn close_socketcall(arch: Arch, rules: &mut Rules) {
    let numbers = calls::numbers(arch);
    let (Some(socket), Some(around)) = (numbers.get("socket"), numbers.get("socketcall")) else { return };
    if rules.get(socket).is_some_and(|rules| rules.iter().any(|rule| !rule.tests.is_empty())) {
        rules.insert(*around, vec![Rule { tests: Vec::new(), action: Action::NO_SUCH_CALL }]);
    }
}

/// `TIOCSTI` puts a character into a terminal's input, `TIOCLINUX` can paste one.
const TYPING: [u64; 2] = [libc::TIOCSTI, 0x541c];

/// Refuses to type into a terminal, also where no rule says anything of `ioctl` and the profile's `default` would let it
/// pass. The kernel looks at 32 bits of a request: so does this.
pub fn keep_from_typing(arch: Arch, default: Action, rules: &mut Rules) {
    let Some(ioctl) = calls::numbers(arch).get("ioctl").copied() else { return };
    let test = |value| Test { argument: 1, comparison: Comparison::MaskedEqual(u32::MAX.into()), value };
    let refuse = |value| Rule { tests: vec![test(value)], action: Action::Errno(libc::EPERM as u16) };
    let passes = matches!(default, Action::Allow | Action::Log | Action::Trace(_));
    if passes || rules.contains_key(&ioctl) {
        rules.entry(ioctl).or_default().splice(0..0, TYPING.map(refuse));
    }
}
// ANCHOR_END: sharpen

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::Set;
    use crate::policy::Policy;
    use crate::profile::parse;
    use crate::resolve::{Facts, resolve};

    const EPERM: Action = Action::Errno(libc::EPERM as u16);

    fn read(text: &str) -> Policy {
        let capabilities = Set::of_docker();
        let facts = Facts { capabilities, arch: Arch::X86_64, kernel: (6, 1), shared_terminal: true };
        resolve(&parse(text, "mine").unwrap(), &facts).unwrap()
    }

    #[test]
    fn what_no_rule_names_is_sharpened_too() {
        let policy = |default: &str| {
            let rule = r#"{"names":["socket"],"action":"SCMP_ACT_KILL","args":[{"index":0,"value":40,"op":"SCMP_CMP_EQ"}]}"#;
            let map = r#"{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]}"#;
            let text = format!(r#"{{"defaultAction":"{default}","archMap":[{map}],"syscalls":[{rule}]}}"#);
            read(&text)
        };
        let ioctl = |policy: &Policy, arch: Arch, request| {
            policy.answer(arch.audit(), calls::numbers(arch)["ioctl"], &[0, request, 0, 0, 0, 0])
        };
        for arch in [Arch::X86_64, Arch::I386] {
            for (default, rest) in [("SCMP_ACT_ALLOW", Action::Allow), ("SCMP_ACT_LOG", Action::Log)] {
                let policy = policy(default);
                assert_eq!(
                    [0x5412, 1 << 32 | 0x541c].map(|request| ioctl(&policy, arch, request)),
                    [EPERM; 2]
                );
                assert_eq!(ioctl(&policy, arch, 0x5401), rest, "{arch:?} {default}");
            }
            assert_eq!(ioctl(&policy("SCMP_ACT_KILL"), arch, 0x5412), Action::KillThread);
        }
        assert_eq!(policy("SCMP_ACT_ALLOW").answer(Arch::I386.audit(), 102, &[1; 6]), Action::NO_SUCH_CALL);
        let nothing = read(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#);
        assert_eq!(ioctl(&nothing, Arch::X86_64, 0x5412), EPERM, "no rule at all");
    }
}
