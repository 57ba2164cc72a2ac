//! The kernel's version, and whether it knows the system calls of the course.
//!
//! A call with senseless arguments tells: a kernel that knows it complains about the arguments, one that
//! does not says ENOSYS. A container's seccomp filter can forbid a call as well; it answers ENOSYS or EPERM.

use std::ffi::c_long;

use nix::errno::Errno;

use super::probe::{Gap, Probe};

/// The oldest kernel with all of them: `mount_setattr` came last.
pub const OLDEST: (u32, u32) = (5, 12);

/// A call, and arguments that it must refuse. In the order in which Linux 5.1 to 5.12 brought them.
type Call = (&'static str, c_long, [usize; 5]);

const NO_FD: usize = usize::MAX;
const NO_FLAGS: usize = 0x7fff_ffff;

const CALLS: [Call; 9] = [
    ("pidfd_send_signal", libc::SYS_pidfd_send_signal, [NO_FD, 0, 0, NO_FLAGS, 0]),
    ("open_tree", libc::SYS_open_tree, [NO_FD, 0, NO_FLAGS, 0, 0]),
    ("move_mount", libc::SYS_move_mount, [NO_FD, 0, NO_FD, 0, NO_FLAGS]),
    ("fsopen", libc::SYS_fsopen, [0, NO_FLAGS, 0, 0, 0]),
    ("pidfd_open", libc::SYS_pidfd_open, [0, NO_FLAGS, 0, 0, 0]),
    ("clone3", libc::SYS_clone3, [0, 0, 0, 0, 0]),
    ("openat2", libc::SYS_openat2, [NO_FD, 0, 0, 0, 0]),
    ("close_range", libc::SYS_close_range, [1, 0, NO_FLAGS, 0, 0]),
    ("mount_setattr", libc::SYS_mount_setattr, [NO_FD, 0, NO_FLAGS, 0, 0]),
];

/// Looks at the running kernel.
pub fn probe() -> Probe {
    let release = super::place::read("/proc/sys/kernel/osrelease");
    let refused: Vec<&str> = CALLS.iter().filter_map(knock_at).collect();
    judge(release.trim(), &refused)
}

fn judge(release: &str, refused: &[&str]) -> Probe {
    let name = "kernel";
    let chapters = 1..=16;
    let seen = format!("Linux {release}");
    let Some(found) = version(release) else {
        let gap = Gap::new("The version cannot be read; Linux 5.12 or later is needed.", "");
        return Probe::partly(name, seen, gap).for_chapters(chapters);
    };
    if found < OLDEST {
        let fix = "Install a newer kernel, or use a newer release of your distribution.";
        let means = "Linux 5.12 (April 2021) or later is needed, for clone3, openat2 and mount_setattr.";
        return Probe::missing(name, seen, Gap::new(means, fix)).for_chapters(chapters);
    }
    if refused.is_empty() {
        return Probe::ok(name, seen).for_chapters(chapters);
    }
    let names = refused.join(", ");
    let means = format!(
        "This kernel has these system calls, but something forbids them: {}. A container's seccomp filter \
         does that, and so do sandboxes that imitate Linux (gVisor).",
        names
    );
    let fix = "In Docker or podman: start the container with `--security-opt seccomp=unconfined`.";
    let seen = format!("{seen}, without {}", names);
    Probe::missing(name, seen, Gap::new(means, fix)).for_chapters(chapters)
}

/// The first two numbers of a kernel release, `6.1.0-18-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn knock_at(call: &Call) -> Option<&'static str> {
    let (name, number, arguments) = *call;
    // The mount calls answer EPERM to an ordinary user before they look at anything.
    let eperm_is_usual = matches!(name, "move_mount" | "fsopen" | "open_tree" | "mount_setattr");
    let refused = match knock(number, arguments) {
        Errno::ENOSYS => true,
        Errno::EPERM => !eperm_is_usual,
        _ => false,
    };
    refused.then_some(name)
}

fn knock(number: c_long, [a, b, c, d, e]: [usize; 5]) -> Errno {
    // SAFETY: the arguments of `CALLS` are wrong on purpose (no descriptor, null pointers with size 0,
    // unknown flags), so each call refuses before it does or touches anything.
    let answer = unsafe { libc::syscall(number, a, b, c, d, e) };
    if answer < 0 { Errno::last() } else { Errno::UnknownErrno }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::probe::Outcome;

    #[test]
    fn versions_are_read_from_all_sorts_of_releases() {
        assert_eq!(version("6.1.0-18-amd64"), Some((6, 1)));
        assert_eq!(version("5.15.153.1-microsoft-standard-WSL2"), Some((5, 15)));
        assert_eq!(version("4.18.0-553.el8_10.x86_64"), Some((4, 18)));
        assert_eq!(version("6.9-rc1"), Some((6, 9)));
        assert_eq!(version("unknown"), None);
    }

    #[test]
    fn an_old_kernel_and_a_filtered_one_are_told_apart() {
        let old = judge("4.18.0-553.el8_10.x86_64", &[]);
        assert_eq!(old.outcome, Outcome::Missing);
        assert!(old.means.contains("5.12") && old.fix.contains("newer kernel"));
        let filtered = judge("6.8.0", &["clone3"]);
        assert_eq!(filtered.outcome, Outcome::Missing);
        assert!(filtered.seen.contains("clone3") && filtered.fix.contains("seccomp=unconfined"));
        assert_eq!(judge("6.8.0", &[]).outcome, Outcome::Ok);
    }

    #[test]
    fn no_call_does_anything() {
        for call in CALLS {
            assert_ne!(knock(call.1, call.2), Errno::UnknownErrno, "{} accepted its arguments", call.0);
        }
    }

    #[test]
    fn an_unknown_call_is_noticed() {
        assert!(knock_at(&("nothing", 9999, [0; 5])).is_some());
    }
}
