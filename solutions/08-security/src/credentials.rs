//! The five capability sets of a process: read, and changed.
//!
//! *Permitted* is what it has, *effective* what counts now, *inheritable* and *ambient* what may outlive an exec, and
//! *bounding* the ceiling over all that a later exec could bring, by a setuid file or a file's own capabilities. An
//! exec computes anew, see "Transformation of capabilities during execve()" in capabilities(7):
//!
//! ```text
//! a program of root         permitted = effective = inheritable | bounding
//! a program of anybody else permitted = (inheritable & the file's) | (the file's & bounding) | ambient
//! ```
//!
//! So the bounding set is what holds root, and inheritable is a second way up: it stays empty (CVE-2022-24769).
//! See capset(2), prctl(2).

use std::fs;

use nix::errno::Errno;
use nix::unistd::setgroups;
use process::{Context, Error, Result};

use crate::capability::{SETPCAP, Set, name};

/// The five sets of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sets {
    /// What may outlive an exec of a file that says so, too.
    pub inheritable: Set,
    /// What it has.
    pub permitted: Set,
    /// What of it counts now.
    pub effective: Set,
    /// The ceiling over whatever an exec brings.
    pub bounding: Set,
    /// What outlives an exec of any file.
    pub ambient: Set,
}

impl Sets {
    /// The sets of a process, or ours for `self`.
    ///
    /// # Errors
    /// ENOENT: there is no such process.
    pub fn of(pid: &str) -> Result<Sets> {
        let path = format!("/proc/{pid}/status");
        let text = fs::read_to_string(&path).during("read", &path)?;
        Sets::parse(&text).ok_or_else(|| Error::refused("read", &path, "it does not tell capabilities"))
    }

    fn parse(status: &str) -> Option<Sets> {
        let set = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
            u64::from_str_radix(line.trim(), 16).ok().map(Set)
        };
        Some(Sets {
            inheritable: set("CapInh")?,
            permitted: set("CapPrm")?,
            effective: set("CapEff")?,
            bounding: set("CapBnd")?,
            ambient: set("CapAmb")?,
        })
    }

    /// Each set with its name.
    pub fn named(&self) -> [(&'static str, Set); 5] {
        [
            ("permitted", self.permitted),
            ("effective", self.effective),
            ("inheritable", self.inheritable),
            ("bounding", self.bounding),
            ("ambient", self.ambient),
        ]
    }
}

// ANCHOR: sets
/// Lowers the ceiling: takes every capability out of the bounding set that is not in `keep`. There is no way back.
///
/// # Errors
/// EPERM: it takes CAP_SETPCAP.
pub fn bound_to(keep: Set) -> Result<()> {
    for number in (0..64).filter(|number| !keep.has(*number)) {
        match prctl(libc::PR_CAPBSET_READ, number.into()) {
            // Beyond the last one that this kernel has.
            Err(Errno::EINVAL) => break,
            Ok(0) => continue,
            _ => {}
        }
        prctl(libc::PR_CAPBSET_DROP, number.into()).map_err(|errno| {
            let cause = format!("it takes {}", name(SETPCAP));
            Error::new("drop from the bounding set", name(number), errno).because(cause)
        })?;
    }
    Ok(())
}

/// Keeps of what is permitted the part that is in `keep`, all of it effective. Inheritable is empty then, and with it
/// ambient, which is always a part of it.
///
/// # Errors
/// None that a user could cause: less is always possible.
pub fn reduce_to(keep: Set) -> Result<()> {
    let permitted = permitted().during("capget", "")? & keep;
    capset(permitted, permitted, Set::EMPTY).during("capset", permitted)
}
// ANCHOR_END: sets

/// Leaves the caller's supplementary groups. They are the host's: to be root there may mean to be in `disk`.
///
/// # Errors
/// None that a user could cause.
pub fn leave_groups() -> Result<()> {
    match setgroups(&[]) {
        // In a user namespace that may not: a group that takes rights away must not be left (CVE-2014-8989).
        Err(Errno::EPERM) => Ok(()),
        done => done.during("setgroups", "none"),
    }
}

/// Lets the next change of the user id leave the permitted set as it is; see PR_SET_KEEPCAPS.
///
/// # Errors
/// EPERM: the securebits forbid it.
pub fn keep_over_setuid(keep: bool) -> Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, keep.into()).map(drop).during("set", "PR_SET_KEEPCAPS")
}

/// Lets nobody trace this process or open its descriptors through `/proc`, unless he has CAP_SYS_PTRACE: also who has no
/// less than we. It ends with exec; the init of `--init` never executes, and stays so (CVE-2016-9962).
///
/// # Errors
/// None that a user could cause.
pub fn be_untraceable() -> Result<()> {
    prctl(libc::PR_SET_DUMPABLE, 0).map(drop).during("set", "PR_SET_DUMPABLE")
}

/// From now on no exec brings more than there is: setuid bits and files' capabilities count nothing.
///
/// # Errors
/// None that a user could cause.
pub fn no_new_privileges() -> Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1).map(drop).during("set", "no_new_privs")
}

fn prctl(option: i32, value: u64) -> nix::Result<i32> {
    // SAFETY: these options take numbers only.
    Errno::result(unsafe { libc::prctl(option, value, 0, 0, 0) })
}

/// `struct __user_cap_header_struct`, for this thread.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// `struct __user_cap_data_struct`; the kernel takes two, the lower 32 capabilities first.
#[repr(C)]
#[derive(Clone, Copy)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// `_LINUX_CAPABILITY_VERSION_3`: sets of 64 bits.
const VERSION: u32 = 0x2008_0522;

// ANCHOR: capset
/// What this thread has; see capget(2). Unlike the file in `/proc`, the call is there without `/proc`.
fn permitted() -> nix::Result<Set> {
    let header = Header { version: VERSION, pid: 0 };
    let mut data = [Half { effective: 0, permitted: 0, inheritable: 0 }; 2];
    // SAFETY: both structures have the kernel's layout for this version and outlive the call.
    Errno::result(unsafe { libc::syscall(libc::SYS_capget, &raw const header, data.as_mut_ptr()) })?;
    Ok(Set(u64::from(data[0].permitted) | u64::from(data[1].permitted) << 32))
}

/// Gives this thread the sets; see capset(2).
fn capset(effective: Set, permitted: Set, inheritable: Set) -> nix::Result<()> {
    let header = Header { version: VERSION, pid: 0 };
    let half = |shift: u32| Half {
        effective: (effective.0 >> shift) as u32,
        permitted: (permitted.0 >> shift) as u32,
        inheritable: (inheritable.0 >> shift) as u32,
    };
    let data = [half(0), half(32)];
    // SAFETY: both structures have the kernel's layout for this version and outlive the call.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) }).map(drop)
}
// ANCHOR_END: capset

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sets_of_a_process_are_read() {
        let text = "Name:\tsh\nCapInh:\t0000000000000000\nCapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\n\
                    CapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\n";
        let sets = Sets::parse(text).unwrap();
        assert_eq!(sets.bounding, Set::of_docker());
        assert_eq!(sets.inheritable, Set::EMPTY);
        assert_eq!(Sets::parse("CapInh:\tz"), None);
        Sets::of("self").unwrap();
        assert!(Sets::of("0").unwrap_err().to_string().contains("/proc/0/status"));
    }
}
