//! The forty-one parts into which Linux cut the power of root, and sets of them.
//!
//! A capability is a number, a set of them 64 bits: bit 12 is `CAP_NET_ADMIN`. The table says of each which door it
//! opens. Names are written with or without `CAP_`, in any case. See capabilities(7), `<linux/capability.h>`.
//!
//! Pure data; the kernel is asked in [`crate::credentials`].

use std::fmt;
use std::ops::{BitAnd, BitOr, Sub};

use process::{Error, Result};

// ANCHOR: table
/// Every capability, in the order of its number, and the door that it opens.
pub const TABLE: [(&str, &str); 41] = [
    ("CHOWN", "give files to anybody"),
    ("DAC_OVERRIDE", "read, write and execute whatever the modes of files say"),
    ("DAC_READ_SEARCH", "read any file and folder, and open files by their inode number"),
    ("FOWNER", "do to other people's files what only their owner may"),
    ("FSETID", "keep the setuid and setgid bits of a file that is changed"),
    ("KILL", "send signals to anybody's processes"),
    ("SETGID", "take any group id"),
    ("SETUID", "take any user id"),
    ("SETPCAP", "drop capabilities from the bounding set, and change one's securebits"),
    ("LINUX_IMMUTABLE", "set and clear the immutable and append-only flags of files"),
    ("NET_BIND_SERVICE", "bind ports below 1024"),
    ("NET_BROADCAST", "nothing that a kernel checks today"),
    ("NET_ADMIN", "change links, addresses, routes and firewalls"),
    ("NET_RAW", "send and receive raw packets: ping, and forged ones"),
    ("IPC_LOCK", "lock memory, so that it is never swapped out"),
    ("IPC_OWNER", "use anybody's System V shared memory, semaphores and queues"),
    ("SYS_MODULE", "load code into the kernel"),
    ("SYS_RAWIO", "speak to hardware: I/O ports, /dev/mem, raw disk commands"),
    ("SYS_CHROOT", "call chroot, and enter mount namespaces"),
    ("SYS_PTRACE", "look into and change anybody's processes"),
    ("SYS_PACCT", "switch process accounting"),
    ("SYS_ADMIN", "mount, make namespaces, and a hundred things that fit nowhere else"),
    ("SYS_BOOT", "restart the machine, and load another kernel"),
    ("SYS_NICE", "raise priorities, anybody's, and choose real-time scheduling"),
    ("SYS_RESOURCE", "exceed limits and quotas, and raise them"),
    ("SYS_TIME", "set the clock"),
    ("SYS_TTY_CONFIG", "hang up terminals"),
    ("MKNOD", "make device nodes"),
    ("LEASE", "be told when somebody opens anybody's file"),
    ("AUDIT_WRITE", "write into the kernel's audit log"),
    ("AUDIT_CONTROL", "switch auditing, and change its rules"),
    ("SETFCAP", "give files capabilities"),
    ("MAC_OVERRIDE", "override Smack's rules"),
    ("MAC_ADMIN", "change the rules of Smack and AppArmor"),
    ("SYSLOG", "read the kernel's log, and its addresses"),
    ("WAKE_ALARM", "wake the machine at a time"),
    ("BLOCK_SUSPEND", "keep the machine from sleeping"),
    ("AUDIT_READ", "read the audit log"),
    ("PERFMON", "watch the performance of the whole machine"),
    ("BPF", "load programs into the kernel's virtual machine"),
    ("CHECKPOINT_RESTORE", "freeze processes to disk and bring them back under the same PIDs"),
];
// ANCHOR_END: table

/// `CAP_SETPCAP`.
pub const SETPCAP: u8 = 8;
/// `CAP_SYS_ADMIN`.
pub const SYS_ADMIN: u8 = 21;
/// `CAP_MKNOD`.
pub const MKNOD: u8 = 27;

// ANCHOR: set
/// A set of capabilities, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Set(pub u64);

impl Set {
    /// None.
    pub const EMPTY: Set = Set(0);
    /// All that this code knows.
    pub const ALL: Set = Set((1 << TABLE.len()) - 1);

    /// The fourteen that Docker leaves to root in a container.
    pub fn of_docker() -> Set {
        Set(0xa804_25fb)
    }

    /// The set with one only.
    pub const fn one(number: u8) -> Set {
        Set(1 << number)
    }

    /// Whether `number` is in it.
    pub fn has(self, number: u8) -> bool {
        self.0 >> number & 1 == 1
    }

    /// The numbers in it, in order.
    pub fn numbers(self) -> impl Iterator<Item = u8> {
        (0..64).filter(move |number| self.has(*number))
    }
}

impl BitOr for Set {
    type Output = Set;
    fn bitor(self, other: Set) -> Set {
        Set(self.0 | other.0)
    }
}

impl BitAnd for Set {
    type Output = Set;
    fn bitand(self, other: Set) -> Set {
        Set(self.0 & other.0)
    }
}

impl Sub for Set {
    type Output = Set;
    fn sub(self, other: Set) -> Set {
        Set(self.0 & !other.0)
    }
}

/// The names in it, `CAP_CHOWN CAP_KILL`; `none`; `all`, or `all but CAP_SYS_RESOURCE` where few are missing.
impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |set: Set| set.numbers().map(name).collect::<Vec<_>>().join(" ");
        let missing = Set::ALL - *self;
        match (self.numbers().count(), missing.numbers().count()) {
            (0, _) => f.write_str("none"),
            (_, 0) => f.write_str("all"),
            (_, 1..=8) => write!(f, "all but {}", names(missing)),
            _ => f.write_str(&names(*self)),
        }
    }
}
// ANCHOR_END: set

/// `CAP_NET_ADMIN`; `CAP_45` where a newer kernel has one that we do not know.
pub fn name(number: u8) -> String {
    TABLE.get(usize::from(number)).map_or_else(|| format!("CAP_{number}"), |(name, _)| format!("CAP_{name}"))
}

/// The capability of that name, `net_admin` or `CAP_NET_ADMIN`; every one for `ALL`.
///
/// # Errors
/// There is none of that name.
pub fn parse(text: &str) -> Result<Set> {
    let upper = text.to_ascii_uppercase();
    let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if upper == "ALL" || upper == "CAP_ALL" {
        return Ok(Set::ALL);
    }
    let number = TABLE.iter().position(|(name, _)| *name == short);
    let unknown = || Error::refused("find the capability", text, "the verb `capabilities` lists all names");
    Ok(Set::one(number.ok_or_else(unknown)? as u8))
}

/// How a container's root is to differ from Docker's.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wish {
    /// `--cap-add`.
    pub add: Set,
    /// `--cap-drop`.
    pub drop: Set,
    /// `--privileged`: begin with all.
    pub privileged: bool,
    /// No list forbids it any device of the machine: then it makes none, unless asked for by name.
    pub all_devices: bool,
}

// ANCHOR: wish
impl Wish {
    /// The set for a container: Docker's fourteen, or all, then without those dropped and with those added, as far
    /// as we have them ourselves. `ALL` is weaker than a name: `--cap-drop ALL --cap-add KILL` leaves one, and
    /// `--cap-add ALL --cap-drop KILL` all but one.
    ///
    /// # Errors
    /// One that was asked for by its name is none of ours. All of them are wished and dropped.
    pub fn set(&self, ours: Set) -> Result<Set> {
        if self.drop == Set::ALL && (self.privileged || self.add == Set::ALL) {
            let cause = "--privileged and --cap-add ALL say the opposite: which of the two is meant?";
            return Err(Error::refused("--cap-drop", "ALL", cause));
        }
        let begin = match self {
            Wish { privileged: true, .. } | Wish { add: Set::ALL, .. } => Set::ALL,
            Wish { drop: Set::ALL, .. } => Set::EMPTY,
            Wish { all_devices: true, .. } => Set::of_docker() - Set::one(MKNOD),
            _ => Set::of_docker(),
        };
        let named = |set: Set| if set == Set::ALL { Set::EMPTY } else { set };
        let missing = named(self.add) - named(self.drop) - ours;
        if missing != Set::EMPTY {
            let cause = "this process itself does not have it: nobody can give away what he has not";
            return Err(Error::refused("--cap-add", missing, cause));
        }
        Ok(((begin | named(self.add)) - named(self.drop)) & ours)
    }
}
// ANCHOR_END: wish

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_people_write_them() {
        for text in ["NET_ADMIN", "CAP_NET_ADMIN", "net_admin", "cap_Net_Admin"] {
            assert_eq!(parse(text).unwrap(), Set::one(12), "{text}");
        }
        assert_eq!(parse("all").unwrap(), Set::ALL);
        for text in ["", "CAP_", "NET ADMIN", "CAP_CAP_KILL", "41"] {
            assert!(parse(text).unwrap_err().to_string().contains("capabilities"), "{text}");
        }
        assert_eq!(name(40), "CAP_CHECKPOINT_RESTORE");
        assert_eq!(name(41), "CAP_41");
    }

    #[test]
    fn docker_leaves_fourteen() {
        assert_eq!(Set::of_docker().numbers().count(), 14);
        let names = "CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_FSETID CAP_KILL CAP_SETGID CAP_SETUID CAP_SETPCAP \
                     CAP_NET_BIND_SERVICE CAP_NET_RAW CAP_SYS_CHROOT CAP_MKNOD CAP_AUDIT_WRITE CAP_SETFCAP";
        assert_eq!(Set::of_docker().to_string(), names);
        assert_eq!((Set::EMPTY.to_string(), Set::ALL.to_string()), ("none".into(), "all".into()));
        assert_eq!((Set::ALL - Set::one(24)).to_string(), "all but CAP_SYS_RESOURCE");
    }

    #[test]
    fn a_wish_becomes_a_set() {
        let of = |add: &[&str], drop: &[&str], privileged| {
            let all = |names: &[&str]| names.iter().fold(Set::EMPTY, |set, name| set | parse(name).unwrap());
            Wish { add: all(add), drop: all(drop), privileged, all_devices: false }
        };
        let ours = Set::ALL - Set::one(24);
        let set = |wish: Wish| wish.set(ours).unwrap();
        assert_eq!(set(of(&[], &[], false)), Set::of_docker());
        assert_eq!(set(of(&["SYS_TIME"], &["CHOWN"], false)).0, 0xa804_25fb & !1 | 1 << 25);
        assert_eq!(set(of(&["KILL"], &["ALL"], false)), Set::one(5));
        assert_eq!(set(of(&["ALL"], &["KILL"], false)), ours - Set::one(5));
        assert_eq!(set(of(&["ALL"], &[], false)), ours, "all that we have");
        assert_eq!(set(of(&[], &["SYS_ADMIN"], true)), ours - Set::one(SYS_ADMIN));
        let bare = |add: &[&str], privileged| set(Wish { all_devices: true, ..of(add, &[], privileged) });
        assert_eq!(bare(&[], false), Set::of_docker() - Set::one(MKNOD));
        assert_eq!((bare(&["MKNOD"], false), bare(&[], true)), (Set::of_docker(), ours));
        for both in [of(&[], &["ALL"], true), of(&["ALL"], &["ALL"], false)] {
            assert!(both.set(ours).unwrap_err().to_string().contains("opposite"));
        }
        assert_eq!(
            set(of(&["KILL"], &["KILL"], false)),
            Set::of_docker() - Set::one(5),
            "the careful one wins"
        );
        assert_eq!(
            of(&[], &[], false).set(Set::one(5)).unwrap(),
            Set::one(5),
            "without a word: as far as ours"
        );
        let said = of(&["SYS_RESOURCE", "SYS_TIME"], &[], false).set(ours).unwrap_err().to_string();
        assert!(said.contains("CAP_SYS_RESOURCE") && !said.contains("SYS_TIME"), "{said}");
    }
}
