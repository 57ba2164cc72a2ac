//! Control groups: which version has the controllers, and whether a subtree is ours.
//!
//! Everything is read, nothing is tried: a cgroup made by a probe would be a change to the machine. The
//! facts are three texts (`/proc/self/mountinfo`, `/proc/self/cgroup`, our group's `cgroup.controllers`) and
//! one permission.

use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use super::place::{Place, read};
use super::probe::{Gap, Probe};
use crate::course::Need;
use crate::lab;

/// The controllers of chapter 6.
const WANTED: [&str; 5] = ["cpu", "memory", "io", "pids", "cpuset"];

/// What is known about control groups here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Facts {
    /// Where version 2 is mounted.
    unified: Option<PathBuf>,
    /// Controllers that version 1 holds.
    version1: Vec<String>,
    /// Our group's path in version 2.
    own: String,
    /// Controllers that our group of version 2 may hand on.
    version2: Vec<String>,
    /// Whether we may make groups below ours.
    writable: bool,
}

/// Looks at this machine's control groups.
pub fn probe(place: &Place) -> Probe {
    let (mountinfo, own) = (read("/proc/self/mountinfo"), read("/proc/self/cgroup"));
    let mut facts = Facts::of(&mountinfo, &own);
    // Where a lab would make its group: root takes the top.
    if let Some(folder) = lab::cgroups::base_in_v2(&mountinfo, &own, place.root) {
        let controllers = read(&folder.join("cgroup.controllers").to_string_lossy());
        facts.version2 = controllers.split_whitespace().map(str::to_owned).collect();
        let may = |path: &Path| access(path, AccessFlags::W_OK).is_ok();
        facts.writable = may(&folder) && may(&folder.join("cgroup.procs"));
    }
    judge(&facts, place).for_chapters([6]).for_need(Need::CgroupDelegation)
}

impl Facts {
    fn of(mountinfo: &str, own: &str) -> Facts {
        let mut facts = Facts::default();
        for line in mountinfo.lines() {
            let (Some((before, after)), Some(path)) = (line.split_once(" - "), line.split(' ').nth(4)) else {
                continue;
            };
            let mut words = after.split(' ');
            match words.next() {
                Some("cgroup2") if !before.is_empty() => facts.unified = Some(path.into()),
                Some("cgroup") => {
                    let options = words.nth(1).unwrap_or_default().split(',');
                    let real = options.filter(|word| !matches!(*word, "rw" | "ro" | "xattr" | "none"));
                    facts.version1.extend(real.filter(|word| !word.contains('=')).map(str::to_owned));
                }
                _ => {}
            }
        }
        facts.own = own.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/").to_owned();
        facts
    }
}

fn judge(facts: &Facts, place: &Place) -> Probe {
    let name = "cgroups";
    let has = |list: &[String], name: &str| list.iter().any(|word| word == name);
    if facts.unified.is_none() && facts.version1.is_empty() {
        let gap = Gap::new("No cgroup file system is mounted.", "");
        return Probe::missing(name, "none", gap);
    }
    if !facts.version1.is_empty() && !has(&facts.version2, "memory") {
        let seen =
            if facts.unified.is_some() { "hybrid: version 1 has the controllers" } else { "version 1" };
        let gap = old_hierarchy(place);
        // Root's labs have groups in the hierarchies of version 1.
        return if place.root { Probe::partly(name, seen, gap) } else { Probe::missing(name, seen, gap) };
    }
    let lacking: Vec<&str> = WANTED.into_iter().filter(|name| !has(&facts.version2, name)).collect();
    if !facts.writable {
        let gap = Gap::new(
            format!("No subtree is delegated to us: {} may not be written.", facts.own),
            "Start your shell by `systemd-run --user --scope -p Delegate=yes bash`.",
        );
        return Probe::missing(name, "version 2", gap);
    }
    if !lacking.is_empty() {
        let gap = Gap::new(
            format!("Our group cannot hand on these controllers: {}.", lacking.join(", ")),
            "Put `[Service]` and `Delegate=cpu cpuset io memory pids` into \
             /etc/systemd/system/user@.service.d/delegate.conf, then log in again.",
        );
        return Probe::partly(name, format!("version 2, with {}", facts.version2.join(" ")), gap);
    }
    Probe::ok(name, format!("version 2, delegated: {}", facts.version2.join(" ")))
}

fn old_hierarchy(place: &Place) -> Gap {
    let means = if place.root {
        "Chapter 6 shows version 2 with version 1 beside it; here, as root, all of it runs on version 1."
    } else {
        "Chapter 6 needs version 2, which an ordinary user can be given a part of."
    };
    let fix = if place.wsl.is_some() {
        "In %UserProfile%\\.wslconfig, below [wsl2]: `kernelCommandLine = cgroup_no_v1=all`; then `wsl --shutdown`."
    } else if place.container.is_some() {
        "The host decides it: boot the host with `systemd.unified_cgroup_hierarchy=1`."
    } else {
        "Boot with `systemd.unified_cgroup_hierarchy=1` on the kernel's command line."
    };
    Gap::new(means, fix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::probe::Outcome;

    const HYBRID: &str = "\
        36 25 0:31 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n\
        37 25 0:32 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
        38 25 0:33 / /sys/fs/cgroup/systemd rw shared:9 - cgroup cgroup rw,xattr,name=systemd\n\
        39 25 0:34 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
    const UNIFIED: &str = "32 23 0:28 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn the_hierarchies_are_read() {
        let hybrid = Facts::of(HYBRID, "9:name=systemd:/\n0::/init.scope\n");
        assert_eq!(hybrid.version1, words("memory cpu cpuacct"));
        assert_eq!(hybrid.own, "/init.scope");
        let unified = Facts::of(UNIFIED, "0::/user.slice/user-1000.slice\n");
        assert!(unified.version1.is_empty());
        assert_eq!(unified.unified.as_deref(), Some(Path::new("/sys/fs/cgroup")));
    }

    #[test]
    fn version_1_is_a_gap_whose_fix_depends_on_the_place() {
        let facts = Facts::of(HYBRID, "0::/\n");
        let probe = judge(&facts, &Place::default());
        assert_eq!(probe.outcome, Outcome::Missing);
        assert!(probe.seen.starts_with("hybrid") && probe.fix.contains("unified_cgroup_hierarchy"));
        assert_eq!(judge(&facts, &Place { root: true, ..Place::default() }).outcome, Outcome::Partly);
        let wsl = Place { wsl: Some(2), ..Place::default() };
        assert!(judge(&facts, &wsl).fix.contains(".wslconfig"));
    }

    #[test]
    fn delegation_is_judged_by_permission_and_controllers() {
        let mut facts = Facts::of(UNIFIED, "0::/user.slice/user-1000.slice/session-2.scope\n");
        facts.version2 = words("cpu memory pids");
        let closed = judge(&facts, &Place::default());
        assert_eq!(closed.outcome, Outcome::Missing);
        assert!(closed.fix.contains("systemd-run --user") && closed.means.contains("session-2.scope"));
        facts.writable = true;
        let part = judge(&facts, &Place::default());
        assert_eq!(part.outcome, Outcome::Partly);
        assert!(part.means.contains("io, cpuset") && part.fix.contains("Delegate="));
        facts.version2 = words("cpuset cpu io memory pids");
        assert_eq!(judge(&facts, &Place::default()).outcome, Outcome::Ok);
        assert_eq!(judge(&Facts::default(), &Place::default()).outcome, Outcome::Missing);
    }
}
