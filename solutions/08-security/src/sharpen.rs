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
    let tested = rules.get(socket).is_some_and(|rules| rules.iter().any(|rule| !rule.tests.is_empty()));
    if tested && rules.contains_key(around) {
        rules.insert(*around, vec![Rule { tests: Vec::new(), action: Action::NO_SUCH_CALL }]);
    }
}

/// `TIOCSTI` puts a character into a terminal's input, `TIOCLINUX` can paste one.
const TYPING: [u64; 2] = [libc::TIOCSTI, 0x541c];

/// Refuses to type into a terminal. The kernel looks at 32 bits of a request: so does this.
pub fn keep_from_typing(arch: Arch, rules: &mut Rules) {
    let Some(ioctl) = calls::numbers(arch).get("ioctl").copied() else { return };
    let test = |value| Test { argument: 1, comparison: Comparison::MaskedEqual(u32::MAX.into()), value };
    let refuse = |value| Rule { tests: vec![test(value)], action: Action::Errno(libc::EPERM as u16) };
    if let Some(others) = rules.get_mut(&ioctl) {
        others.splice(0..0, TYPING.map(refuse));
    }
}
// ANCHOR_END: sharpen
