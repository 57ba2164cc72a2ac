//! Which devices a container may use and make: a list of rules, for a file of version 1 or a program of version 2.
//!
//! The list says what is allowed; all else is not. It is Docker's: the harmless devices, terminals, and the making of
//! any device node, since a node that cannot be opened harms nobody. In a user namespace device nodes cannot be made at
//! all, and the host's are not there unless somebody mounted them.
//!
//! See the kernel's cgroup-v1 "device controller", and devices(4) for the numbers.

use std::fmt;

use nix::errno::Errno;
use process::{Error, Result};

use crate::{Cgroup, Controller, Folder, Version, bpf};

// ANCHOR: rule
/// One line of the list; what is not given is any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Block or character devices.
    pub kind: Kind,
    /// The driver.
    pub major: Option<u32>,
    /// Which one of that driver's.
    pub minor: Option<u32>,
    /// A sum of [`MAKE`], [`READ`] and [`WRITE`].
    pub access: u32,
}

/// A kind of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Both.
    Any,
    /// Disks.
    Block,
    /// All others.
    Character,
}

/// To make a node, `m`; the values are those of `<linux/bpf.h>`.
pub const MAKE: u32 = 1;
/// To read, `r`.
pub const READ: u32 = 2;
/// To write, `w`.
pub const WRITE: u32 = 4;
// ANCHOR_END: rule

// ANCHOR: default
/// What every container may do.
pub fn default() -> Vec<Rule> {
    let rule = |kind, major, minor, access| Rule { kind, major, minor, access };
    let usable = |major, minor| rule(Kind::Character, Some(major), minor, READ | WRITE | MAKE);
    vec![
        rule(Kind::Character, None, None, MAKE),
        rule(Kind::Block, None, None, MAKE),
        usable(1, Some(3)), // null
        usable(1, Some(5)), // zero
        usable(1, Some(7)), // full
        usable(1, Some(8)), // random
        usable(1, Some(9)), // urandom
        usable(5, Some(0)), // tty
        usable(5, Some(1)), // console
        usable(5, Some(2)), // ptmx
        usable(136, None),  // pts/*
    ]
}
// ANCHOR_END: default

impl Rule {
    /// Whether it leaves nothing out that one can do with a device.
    pub fn allows_all(&self) -> bool {
        self.access == MAKE | READ | WRITE
    }

    /// `c 10:200 rwm`, as `--device-cgroup-rule` writes it.
    ///
    /// # Errors
    /// It is written wrong.
    pub fn parse(text: &str) -> Result<Rule> {
        let refuse = || {
            let cause = "write kind, numbers and access: `c 10:200 rwm`, `b 8:* r`, `a *:* m`";
            Error::refused("--device-cgroup-rule", text, cause)
        };
        let words: Vec<&str> = text.split(' ').collect();
        let [kind, numbers, access] = words[..] else { return Err(refuse()) };
        let kind = match kind {
            "a" => Kind::Any,
            "b" => Kind::Block,
            "c" => Kind::Character,
            _ => return Err(refuse()),
        };
        let number =
            |word: &str| if word == "*" { Ok(None) } else { word.parse().map(Some).map_err(|_| refuse()) };
        let (major, minor) = numbers.split_once(':').ok_or_else(refuse)?;
        let bit = |letter| match letter {
            'm' => Ok(MAKE),
            'r' => Ok(READ),
            'w' => Ok(WRITE),
            _ => Err(refuse()),
        };
        let access = access.chars().try_fold(0, |sum, letter| bit(letter).map(|bit| sum | bit))?;
        if access == 0 {
            return Err(refuse());
        }
        Ok(Rule { kind, major: number(major)?, minor: number(minor)?, access })
    }
}

impl Rule {
    /// As version 1 reads it. There, a rule for any kind of device would be one for all devices, whatever else it says.
    fn lines(&self) -> Vec<String> {
        let kinds = match self.kind {
            Kind::Any => vec![Kind::Block, Kind::Character],
            kind => vec![kind],
        };
        kinds.into_iter().map(|kind| Rule { kind, ..*self }.to_string()).collect()
    }
}

/// As `--device-cgroup-rule` has it.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Any => "a",
            Kind::Block => "b",
            Kind::Character => "c",
        };
        let number = |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
        write!(f, "{kind} {}:{} ", number(self.major), number(self.minor))?;
        let letters = [(READ, "r"), (WRITE, "w"), (MAKE, "m")];
        letters
            .iter()
            .filter(|(bit, _)| self.access & bit != 0)
            .try_for_each(|(_, letter)| f.write_str(letter))
    }
}

// ANCHOR: allow
impl Cgroup {
    /// Allows what every container may do and what was `asked` for, and nothing else.
    ///
    /// Without rights over the machine (in a user namespace) neither version lets us, and neither is needed,
    /// unless the caller says so: `needed`.
    ///
    /// # Errors
    /// The rules that were asked for, or that are needed, cannot be had.
    pub fn allow_devices(&self, asked: &[Rule], shown: &[Rule], needed: bool) -> Result<()> {
        let more = [asked, shown].concat();
        let done = self.folder(Controller::Devices).and_then(|folder| match folder.version {
            Version::V1 => allow_by_list(folder, &more),
            Version::V2 => bpf::attach(folder, &bpf::program(&[default(), more].concat())),
        });
        match done {
            Err(error) if asked.is_empty() && !needed && is_refusal(&error) => Ok(()),
            done => done,
        }
    }
}

fn allow_by_list(folder: &Folder, more: &[Rule]) -> Result<()> {
    folder.write("devices.deny", "a")?;
    let allow = |line: String| folder.write("devices.allow", &line);
    for line in default().iter().flat_map(Rule::lines) {
        match allow(line) {
            // The cgroup around us does not have it either.
            Err(error) if is_refusal(&error) => {}
            done => done?,
        }
    }
    more.iter().flat_map(Rule::lines).try_for_each(allow)
}

fn is_refusal(error: &Error) -> bool {
    [Errno::EPERM, Errno::EACCES, Errno::ENOENT].contains(&error.errno)
}
// ANCHOR_END: allow

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_read_and_written() {
        for text in ["c 10:200 rwm", "b 8:* r", "a *:* m", "c 1:3 w"] {
            assert_eq!(Rule::parse(text).unwrap().to_string(), text);
        }
        for wrong in ["", "c", "c 1:3", "d 1:3 r", "c 1 r", "c x:3 r", "c 1:3 x", "c 1:3 ", "c 1:3 r w"] {
            assert!(Rule::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn any_kind_is_two_lines() {
        assert_eq!(Rule::parse("a 7:1 r").unwrap().lines(), ["b 7:1 r", "c 7:1 r"]);
        assert_eq!(Rule::parse("c 7:1 r").unwrap().lines(), ["c 7:1 r"]);
    }

    #[test]
    fn no_disk_is_open_to_all() {
        let opens = |rule: &Rule| rule.kind != Kind::Character && rule.access != MAKE;
        assert!(!default().iter().any(opens));
    }
}
