//! What chapter 8 builds on: seccomp filters, and the rights that root may lack.
//!
//! Root in a container is often root without some of its forty-one capabilities; a chapter's reference run
//! then fails where nobody expects it. An ordinary user needs none: the user namespace gives them all.

use nix::errno::Errno;

use super::namespaces::filtered;
use super::place::{Place, read};
use super::probe::{Gap, Probe};

/// The capabilities in the order of their numbers, `linux/capability.h`.
const CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

const GET_ACTION_AVAIL: libc::c_uint = 2;

/// Seccomp, then capabilities.
pub fn probes(place: &Place) -> Vec<Probe> {
    let status = read("/proc/self/status");
    let last = read("/proc/sys/kernel/cap_last_cap");
    vec![seccomp(action_available(), filtered(&status)), capabilities(&status, &last, place)]
}

fn seccomp(available: Result<(), Errno>, filtered: bool) -> Probe {
    let name = "seccomp";
    let probe = match available {
        Err(errno) => {
            let gap = Gap::new("This kernel was built without seccomp filters (CONFIG_SECCOMP_FILTER).", "");
            Probe::missing(name, super::attempt::named(errno), gap)
        }
        Ok(()) if filtered => Probe::partly(
            name,
            "a filter is on already",
            Gap::new(
                "A filter of this container or sandbox is under ours: what it forbids stays forbidden.",
                "In a container: start it with `--security-opt seccomp=unconfined`.",
            ),
        ),
        Ok(()) => Probe::ok(name, "filters can be set"),
    };
    probe.for_chapters([8])
}

/// Whether the kernel knows the action "fail with an errno" of a filter.
fn action_available() -> Result<(), Errno> {
    let action: u32 = libc::SECCOMP_RET_ERRNO;
    // SAFETY: this operation only reads the word behind the pointer, which outlives the call.
    let answer = unsafe { libc::syscall(libc::SYS_seccomp, GET_ACTION_AVAIL, 0, &raw const action) };
    Errno::result(answer).map(|_| ())
}

fn capabilities(status: &str, last: &str, place: &Place) -> Probe {
    let name = "capabilities";
    if !place.root {
        return Probe::ok(name, "not root, so none are expected");
    }
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|text| u64::from_str_radix(text.trim(), 16).ok()).unwrap_or(0);
    let last: usize = last.trim().parse().unwrap_or(CAPABILITIES.len() - 1);
    let known = CAPABILITIES.iter().take(last + 1).enumerate();
    let lacking: Vec<&str> =
        known.filter(|(number, _)| effective >> number & 1 == 0).map(|(_, name)| *name).collect();
    if lacking.is_empty() {
        return Probe::ok(name, "root has all of them");
    }
    let means = format!(
        "Root lacks {} here. Your programs run as an ordinary user in the lab, so only the reference runs as \
         real root can notice.",
        lacking.join(", ")
    );
    let fix = match place.container {
        Some(_) => "In a container: start it with `--privileged`, if you want those runs.",
        None => "Run the workshop as an ordinary user.",
    };
    Probe::partly(name, format!("root lacks {} of {}", lacking.len(), last + 1), Gap::new(means, fix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::probe::Outcome;

    #[test]
    fn a_capability_that_root_lacks_is_named() {
        let root = Place { root: true, container: Some("Docker"), ..Place::default() };
        let probe = capabilities("CapEff:\t000001fffeffffff\n", "40\n", &root);
        assert_eq!(probe.outcome, Outcome::Partly);
        assert!(probe.means.contains("CAP_SYS_RESOURCE here"), "{}", probe.means);
        assert_eq!(capabilities("CapEff:\t000001ffffffffff\n", "40\n", &root).outcome, Outcome::Ok);
        assert_eq!(capabilities("CapEff:\t0\n", "40\n", &Place::default()).outcome, Outcome::Ok);
        // A kernel from before CAP_CHECKPOINT_RESTORE has fewer, and lacks none.
        assert_eq!(capabilities("CapEff:\t0000003fffffffff\n", "37\n", &root).outcome, Outcome::Ok);
    }

    #[test]
    fn a_filter_over_us_is_a_part_and_no_filter_at_all_a_gap() {
        assert_eq!(seccomp(Ok(()), false).outcome, Outcome::Ok);
        assert_eq!(seccomp(Ok(()), true).outcome, Outcome::Partly);
        assert_eq!(seccomp(Err(Errno::EINVAL), false).outcome, Outcome::Missing);
    }
}
