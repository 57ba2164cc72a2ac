//! What is to be answered to which call: rules, as data.
//!
//! A [`Policy`] has a door for each architecture whose calls it knows, and a door has rules for some of its calls.
//! [`Policy::answer`] says what they mean, in the plainest way; [`crate::filter`] makes a program of them that must
//! say the same, and a test compares the two over random calls.

use std::collections::BTreeMap;

use crate::calls::Arch;

// ANCHOR: action
/// What the kernel does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Ends the whole process, as by SIGSYS.
    KillProcess,
    /// Ends the thread.
    KillThread,
    /// Sends SIGSYS, which a program may handle.
    Trap,
    /// Answers with an error number, and does nothing.
    Errno(u16),
    /// Asks a tracer; without one, ENOSYS.
    Trace(u16),
    /// Does it, and writes it into the audit log.
    Log,
    /// Does it.
    Allow,
}

impl Action {
    /// What a call answers that a kernel does not have.
    pub const NO_SUCH_CALL: Action = Action::Errno(libc::ENOSYS as u16);

    /// What a filter returns for it: `SECCOMP_RET_*` of `<linux/seccomp.h>`, and 16 bits of data.
    pub fn code(self) -> u32 {
        match self {
            Action::KillProcess => 0x8000_0000,
            Action::KillThread => 0,
            Action::Trap => 0x0003_0000,
            Action::Errno(errno) => 0x0005_0000 | u32::from(errno),
            Action::Trace(message) => 0x7ff0_0000 | u32::from(message),
            Action::Log => 0x7ffc_0000,
            Action::Allow => 0x7fff_0000,
        }
    }

    /// The action that a filter's answer means.
    pub fn of_code(code: u32) -> Action {
        let data = code as u16;
        match code & 0xffff_0000 {
            0 => Action::KillThread,
            0x0003_0000 => Action::Trap,
            0x0005_0000 => Action::Errno(data),
            0x7ff0_0000 => Action::Trace(data),
            0x7ffc_0000 => Action::Log,
            0x7fff_0000 => Action::Allow,
            // Whatever the kernel does not know kills as well.
            _ => Action::KillProcess,
        }
    }

    /// In words: `allow`, `EPERM`.
    pub fn text(self) -> String {
        match self {
            Action::KillProcess => "kill the process".into(),
            Action::KillThread => "kill the thread".into(),
            Action::Trap => "SIGSYS".into(),
            Action::Errno(errno) => format!("{:?}", nix::errno::Errno::from_raw(errno.into())),
            Action::Trace(message) => format!("ask the tracer ({message})"),
            Action::Log => "allow and log".into(),
            Action::Allow => "allow".into(),
        }
    }
}
// ANCHOR_END: action

// ANCHOR: rule
/// How an argument is compared with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// The same.
    Equal,
    /// Another.
    NotEqual,
    /// More.
    Greater,
    /// More or the same.
    GreaterOrEqual,
    /// Less.
    Less,
    /// Less or the same.
    LessOrEqual,
    /// The same in the bits of this mask.
    MaskedEqual(u64),
}

/// A test of one argument, 64 bits wide whatever the call makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Test {
    /// Which argument, 0 to 5.
    pub argument: u8,
    /// How it is compared.
    pub comparison: Comparison,
    /// With what.
    pub value: u64,
}

/// An action for the calls that pass all tests; at most one test an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// None: every call passes.
    pub tests: Vec<Test>,
    /// What is done then.
    pub action: Action,
}
// ANCHOR_END: rule

/// What is answered to the calls of one architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Door {
    /// Whose calls.
    pub arch: Arch,
    /// The rules for a call by its number; the first that fits counts, so one without tests is the last.
    pub rules: BTreeMap<u32, Vec<Rule>>,
    /// From this number on there are no rules, but younger calls than whoever wrote the profile could know.
    pub unborn: u32,
}

/// What is answered to every call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// One for each architecture that is let in at all, the usual one first.
    pub doors: Vec<Door>,
    /// Where no rule fits.
    pub default: Action,
    /// Where the call is younger than the profile.
    pub unborn: Action,
    /// Where there is no door.
    pub closed: Action,
}

/// The bit that makes a number of x86-64 one of x32: 64-bit calls of programs with 32-bit pointers.
pub const X32: u32 = 0x4000_0000;

// ANCHOR: answer
impl Test {
    /// Whether a call with this argument passes.
    pub fn holds(&self, argument: u64) -> bool {
        match self.comparison {
            Comparison::Equal => argument == self.value,
            Comparison::NotEqual => argument != self.value,
            Comparison::Greater => argument > self.value,
            Comparison::GreaterOrEqual => argument >= self.value,
            Comparison::Less => argument < self.value,
            Comparison::LessOrEqual => argument <= self.value,
            Comparison::MaskedEqual(mask) => argument & mask == self.value,
        }
    }
}

impl Policy {
    /// What a call is answered: the architecture as the kernel tells it, its number, its six arguments.
    pub fn answer(&self, arch: u32, number: u32, arguments: &[u64; 6]) -> Action {
        let Some(door) = self.doors.iter().find(|door| door.arch.audit() == arch) else { return self.closed };
        if door.arch == Arch::X86_64 && number >= X32 {
            return self.closed;
        }
        if number >= door.unborn {
            return self.unborn;
        }
        let rules = door.rules.get(&number).into_iter().flatten();
        let fits =
            |rule: &&Rule| rule.tests.iter().all(|test| test.holds(arguments[usize::from(test.argument)]));
        rules.into_iter().find(fits).map_or(self.default, |rule| rule.action)
    }
}
// ANCHOR_END: answer

/// `argument 0 = 40`.
impl std::fmt::Display for Test {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Test { argument, comparison, value } = self;
        match comparison {
            Comparison::Equal => write!(f, "argument {argument} = {value}"),
            Comparison::NotEqual => write!(f, "argument {argument} is not {value}"),
            Comparison::Greater => write!(f, "argument {argument} > {value}"),
            Comparison::GreaterOrEqual => write!(f, "argument {argument} >= {value}"),
            Comparison::Less => write!(f, "argument {argument} < {value}"),
            Comparison::LessOrEqual => write!(f, "argument {argument} <= {value}"),
            Comparison::MaskedEqual(mask) => write!(f, "argument {argument} & {mask:#x} = {value:#x}"),
        }
    }
}
