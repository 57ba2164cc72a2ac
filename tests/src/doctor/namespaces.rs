//! User namespaces, on which the course stands for everybody but root, and the kinds made inside them.
//!
//! Many systems forbid them in one of four places, and each forbids in its own way: the probe tries, and on
//! failure reads the switches to name the one that is off.

use nix::errno::Errno;
use nix::sched::CloneFlags;

use super::attempt::{Failure, attempt, attempt_in, user_namespace};
use super::place::{Place, read};
use super::probe::{Gap, Probe};
use crate::course::Need;

/// The switches that forbid user namespaces, as their files have them; empty where there is no such file.
#[derive(Debug, Clone, Copy, Default)]
pub struct Switches<'a> {
    /// `user.max_user_namespaces`
    pub most: &'a str,
    /// `kernel.unprivileged_userns_clone`, of Debian and its relatives
    pub clone: &'a str,
    /// `kernel.apparmor_restrict_unprivileged_userns`, of Ubuntu since 23.10
    pub apparmor: &'a str,
    /// `/proc/self/status`
    pub status: &'a str,
}

/// Tries to make a user namespace.
pub fn user_probe(place: &Place) -> Probe {
    let texts = [
        "/proc/sys/user/max_user_namespaces",
        "/proc/sys/kernel/unprivileged_userns_clone",
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "/proc/self/status",
    ]
    .map(read);
    let [most, clone, apparmor, status] = &texts;
    judge(attempt(user_namespace), Switches { most, clone, apparmor, status }, place)
}

fn judge(tried: Result<(), Failure>, switches: Switches<'_>, place: &Place) -> Probe {
    let name = "user namespaces";
    let probe = match tried {
        Ok(()) => Probe::ok(name, "an ordinary user can make one"),
        Err(failure) => Probe::missing(name, failure.to_string(), explain(&failure, switches, place)),
    };
    probe.for_chapters(1..=16).for_need(Need::UserNamespaces)
}

/// A switch that is off explains more than the place, the place more than the errno.
fn explain(failure: &Failure, switches: Switches<'_>, place: &Place) -> Gap {
    let by_place = || place.container.map(|kind| in_container(kind, filtered(switches.status)));
    by_switch(failure, switches).or_else(by_place).unwrap_or_else(|| by_errno(failure.errno, switches))
}

fn by_switch(failure: &Failure, switches: Switches<'_>) -> Option<Gap> {
    let off = |text: &str| text.trim() == "0";
    let (means, fix) = if off(switches.most) {
        (
            "The administrator allows no user namespaces at all (user.max_user_namespaces = 0).",
            "sudo sysctl user.max_user_namespaces=15000",
        )
    } else if off(switches.clone) {
        (
            "Only root may make user namespaces here (kernel.unprivileged_userns_clone = 0).",
            "sudo sysctl kernel.unprivileged_userns_clone=1",
        )
    } else if switches.apparmor.trim() == "1" && matches!(failure.errno, Errno::EPERM | Errno::EACCES) {
        (
            "AppArmor gives an ordinary user's namespaces no rights \
             (kernel.apparmor_restrict_unprivileged_userns = 1, as in Ubuntu since 23.10).",
            "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        )
    } else {
        return None;
    };
    Some(Gap::new(means, fix))
}

fn by_errno(errno: Errno, switches: Switches<'_>) -> Gap {
    let (means, fix) = match errno {
        Errno::ENOSPC | Errno::EUSERS => (
            "The limit of user namespaces is reached, or they are nested too deep (32 levels).",
            "sudo sysctl user.max_user_namespaces=15000",
        ),
        Errno::EINVAL | Errno::ENOSYS => {
            ("This kernel was built without user namespaces (CONFIG_USER_NS).", "Use another kernel.")
        }
        _ if filtered(switches.status) => (
            "A seccomp filter watches this process, so a sandbox forbids it.",
            "Leave the sandbox: an ordinary terminal, not one inside a Flatpak or Snap editor.",
        ),
        Errno::EPERM => (
            "A security module forbids it, or this shell runs in a chroot.",
            "Look into the kernel's log (`sudo dmesg | tail`): SELinux and AppArmor write there what they refuse.",
        ),
        _ => ("No known switch explains it.", ""),
    };
    Gap::new(means, fix)
}

fn in_container(kind: &str, filtered: bool) -> Gap {
    let engine = if kind == "podman" { "podman" } else { "docker" };
    let what = if filtered { "whose seccomp filter forbids" } else { "where something forbids" };
    Gap::new(
        format!("We run in a container ({kind}), {what} new namespaces."),
        format!(
            "Start the container with `{engine} run --security-opt seccomp=unconfined \
             --security-opt apparmor=unconfined --security-opt systempaths=unconfined …`."
        ),
    )
}

/// Whether a seccomp filter is on, from `/proc/self/status`.
pub fn filtered(status: &str) -> bool {
    status.lines().any(|line| line.split_whitespace().eq(["Seccomp:", "2"]))
}

/// The namespaces that chapters make inside the user namespace; one probe each, so that each can fail alone.
pub fn other_probes() -> Vec<Probe> {
    let kinds = [
        ("PID namespace", CloneFlags::CLONE_NEWPID, 1),
        ("mount namespace", CloneFlags::CLONE_NEWNS, 2),
        ("UTS namespace", CloneFlags::CLONE_NEWUTS, 3),
        ("IPC namespace", CloneFlags::CLONE_NEWIPC, 3),
        ("network namespace", CloneFlags::CLONE_NEWNET, 5),
        ("cgroup namespace", CloneFlags::CLONE_NEWCGROUP, 6),
    ];
    let probe = |(name, kind, chapter)| {
        let probe = match attempt_in(kind, || Ok(())) {
            Ok(()) => Probe::ok(name, "can be made"),
            Err(failure) => Probe::missing(name, failure.to_string(), other_gap(&failure)),
        };
        probe.for_chapters(chapter..=16)
    };
    kinds.map(probe).into()
}

fn other_gap(failure: &Failure) -> Gap {
    match failure.errno {
        Errno::ENOSPC => Gap::new(
            "The administrator's limit for this kind of namespace is reached or 0.",
            "See `sysctl user`: the line max_…_namespaces of this kind must not be 0.",
        ),
        Errno::EINVAL => {
            Gap::new("This kernel was built without this kind of namespace.", "Use another kernel.")
        }
        _ => Gap::new(
            "Something forbids this kind of namespace: a container's filter or a security module.",
            "",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::probe::Outcome;

    fn failed(step: &str, errno: Errno) -> Result<(), Failure> {
        Err(Failure { step: step.into(), errno })
    }

    fn fix(errno: Errno, switches: Switches<'_>, place: &Place) -> String {
        let probe = judge(failed("make a user namespace", errno), switches, place);
        assert_eq!(probe.outcome, Outcome::Missing);
        assert!(!probe.means.is_empty());
        probe.fix
    }

    #[test]
    fn each_switch_has_its_own_fix() {
        let place = Place::default();
        let none = Switches { most: "127000\n", ..Switches::default() };
        let most = Switches { most: "0\n", ..none };
        assert!(fix(Errno::ENOSPC, most, &place).contains("max_user_namespaces"));
        let clone = Switches { clone: "0\n", ..none };
        assert!(fix(Errno::EPERM, clone, &place).contains("unprivileged_userns_clone=1"));
        let apparmor = Switches { apparmor: "1\n", ..none };
        assert!(fix(Errno::EPERM, apparmor, &place).contains("apparmor_restrict_unprivileged_userns=0"));
        assert!(fix(Errno::EACCES, apparmor, &place).contains("apparmor_restrict_unprivileged_userns=0"));
        let sandbox = Switches { status: "Name:\tx\nSeccomp:\t2\n", ..none };
        assert!(fix(Errno::EPERM, sandbox, &place).contains("sandbox"));
        assert!(fix(Errno::EINVAL, none, &place).contains("another kernel"));
        assert!(fix(Errno::EPERM, none, &place).contains("dmesg"));
    }

    #[test]
    fn in_a_container_the_engine_is_told() {
        let docker = Place { container: Some("Docker"), ..Place::default() };
        assert!(fix(Errno::EPERM, Switches::default(), &docker).contains("docker run --security-opt"));
        let podman = Place { container: Some("podman"), ..Place::default() };
        assert!(fix(Errno::EPERM, Switches::default(), &podman).contains("podman run"));
        // A switch explains more than the container does.
        let off = Switches { most: "0", ..Switches::default() };
        assert!(fix(Errno::ENOSPC, off, &podman).contains("sysctl"));
    }

    #[test]
    fn success_needs_no_fix() {
        let probe = judge(Ok(()), Switches { clone: "0", ..Switches::default() }, &Place::default());
        assert_eq!((probe.outcome, probe.fix.as_str()), (Outcome::Ok, ""));
    }
}
