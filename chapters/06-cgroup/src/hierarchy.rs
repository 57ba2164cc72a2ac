//! What there is: the trees of cgroups that this process sees mounted, and which of them has which controller.
//!
//! There are two versions. In the second, one tree has all controllers; in the first, each controller, or a few
//! together, has a tree of its own. On a *hybrid* machine the trees of version 1 have the controllers, and one of
//! version 2 has none but groups processes all the same. Found out once; the answer is a value that is passed around.
//!
//! Invariants: a controller is in one tree only, and where two mounts show the same tree the one below
//! `/sys/fs/cgroup` counts. Left out: trees of version 1 without a controller that we use, such as `name=systemd`.
//! See cgroups(7), proc_pid_mountinfo(5), cgroup_namespaces(7).

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use process::{Context, Result};

// ANCHOR: types
/// Which of the two interfaces a tree speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// A tree for each controller.
    V1,
    /// One tree for all.
    V2,
}

/// What is controlled or counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controller {
    /// Time on processors, given out.
    Cpu,
    /// Time on processors, counted; in version 2 a part of every cgroup.
    Cpuacct,
    /// Which processors, and which memory.
    Cpuset,
    /// Memory and swap.
    Memory,
    /// Block devices; `blkio` in version 1.
    Io,
    /// The number of processes and threads.
    Pids,
    /// Stopping all at once; in version 2 a part of every cgroup.
    Freezer,
    /// Which devices may be used; in version 2 a BPF program on the cgroup.
    Devices,
}

/// One tree of cgroups, as this process sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its interface.
    pub version: Version,
    /// What it controls, of what we use.
    pub controllers: Vec<Controller>,
    /// All controllers that it is mounted with, as the kernel calls them; version 1 only.
    pub names: Vec<String>,
    /// Where it is mounted.
    pub point: PathBuf,
    /// This process's own cgroup, relative to `point`; none where the mount does not show it.
    pub own: Option<PathBuf>,
}

/// All trees that matter: that of version 2 first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hierarchies(pub Vec<Hierarchy>);
// ANCHOR_END: types

// ANCHOR: controllers
impl Controller {
    /// All of them.
    pub const ALL: [Controller; 8] = [
        Controller::Cpu,
        Controller::Cpuacct,
        Controller::Cpuset,
        Controller::Memory,
        Controller::Io,
        Controller::Pids,
        Controller::Freezer,
        Controller::Devices,
    ];

    /// What version 2 has in every cgroup, without a controller that could be missing.
    const CORE_OF_V2: [Controller; 3] = [Controller::Cpuacct, Controller::Freezer, Controller::Devices];

    /// What the kernel calls it.
    pub fn name(self, version: Version) -> &'static str {
        match (self, version) {
            (Controller::Cpu, _) => "cpu",
            (Controller::Cpuacct, _) => "cpuacct",
            (Controller::Cpuset, _) => "cpuset",
            (Controller::Memory, _) => "memory",
            (Controller::Io, Version::V1) => "blkio",
            (Controller::Io, Version::V2) => "io",
            (Controller::Pids, _) => "pids",
            (Controller::Freezer, _) => "freezer",
            (Controller::Devices, _) => "devices",
        }
    }

    /// Whether a cgroup of version 2 with this `cgroup.controllers` has it.
    pub fn is_there(self, offered: &str) -> bool {
        let name = self.name(Version::V2);
        Controller::CORE_OF_V2.contains(&self) || offered.split_whitespace().any(|word| word == name)
    }

    /// The controller that the kernel calls so.
    pub fn named(name: &str, version: Version) -> Option<Controller> {
        Controller::ALL.into_iter().find(|controller| controller.name(version) == name)
    }
}
// ANCHOR_END: controllers

impl Hierarchies {
    /// Those of this process.
    ///
    /// # Errors
    /// `/proc` is not mounted.
    pub fn detect() -> Result<Hierarchies> {
        let read = |file| fs::read_to_string(file).during("read", file);
        let (mounts, own) = (read("/proc/self/mountinfo")?, read("/proc/self/cgroup")?);
        // Readable by all; a tree that is not has no controllers for us.
        let offered = |point: &Path| fs::read_to_string(point.join("cgroup.controllers")).unwrap_or_default();
        Ok(Hierarchies::parse(&mounts, &own, offered))
    }

    // ANCHOR: parse
    /// The trees in the texts of `/proc/self/mountinfo` and `/proc/self/cgroup`; `offered` is the text of a
    /// version 2 mount's `cgroup.controllers`.
    pub fn parse(mountinfo: &str, own: &str, offered: impl Fn(&Path) -> String) -> Hierarchies {
        let mut seen: Vec<Hierarchy> = Vec::new();
        for mount in mountinfo.lines().filter_map(Mount::parse) {
            // Whatever was mounted there or below is covered now.
            seen.retain(|earlier| !earlier.point.starts_with(&mount.point));
            seen.extend(mount.hierarchy(own));
        }
        seen.sort_by_key(|tree| (tree.version == Version::V1, !tree.point.starts_with("/sys/fs/cgroup")));
        let mut all: Vec<Hierarchy> = Vec::new();
        for tree in seen {
            if !all.iter().any(|known| known.version == tree.version && known.names == tree.names) {
                all.push(tree);
            }
        }
        let taken: Vec<Controller> = all.iter().flat_map(|tree| tree.controllers.clone()).collect();
        for tree in all.iter_mut().filter(|tree| tree.version == Version::V2) {
            let offered = offered(&tree.point);
            let named = offered.split_whitespace().filter_map(|name| Controller::named(name, Version::V2));
            let free = |controller: &Controller| !taken.contains(controller);
            tree.controllers = named.chain(Controller::CORE_OF_V2).filter(free).collect();
        }
        Hierarchies(all)
    }
    // ANCHOR_END: parse

    /// The tree that has a controller.
    pub fn of(&self, controller: Controller) -> Option<&Hierarchy> {
        self.0.iter().find(|tree| tree.controllers.contains(&controller))
    }

    /// `v2`, `v1`, `hybrid`, or `none`.
    pub fn kind(&self) -> &'static str {
        let has = |version| self.0.iter().any(|tree| tree.version == version);
        match (has(Version::V1), has(Version::V2)) {
            (true, true) => "hybrid",
            (true, false) => "v1",
            (false, true) => "v2",
            (false, false) => "none",
        }
    }
}

// ANCHOR: mount
/// One line of mountinfo.
struct Mount<'a> {
    /// The part of the file system that is shown.
    root: String,
    point: PathBuf,
    filesystem: &'a str,
    /// Of the file system, not of this mount.
    options: &'a str,
}

impl Mount<'_> {
    fn parse(line: &str) -> Option<Mount<'_>> {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, point) = (unescaped(left.next()?), unescaped(left.next()?));
        let mut right = right.split(' ');
        let (filesystem, options) = (right.next()?, right.nth(1)?);
        Some(Mount { root, point: point.into(), filesystem, options })
    }

    /// The tree of cgroups that it shows, if it shows one that we use.
    fn hierarchy(&self, own: &str) -> Option<Hierarchy> {
        let mut names: Vec<String> = Vec::new();
        let mut controllers = Vec::new();
        let version = match self.filesystem {
            "cgroup2" => Version::V2,
            "cgroup" => Version::V1,
            _ => return None,
        };
        if version == Version::V1 {
            // Among the options stand the controllers; which words are controllers says /proc/self/cgroup.
            let listed =
                |word: &&str| lines(own).any(|(names, _)| names.split(',').any(|name| name == *word));
            names = self.options.split(',').filter(listed).map(str::to_owned).collect();
            controllers = names.iter().filter_map(|name| Controller::named(name, version)).collect();
        }
        if version == Version::V1 && controllers.is_empty() {
            return None;
        }
        let mine =
            |line: &&str| names.iter().any(|name| name == *line) || (names.is_empty() && line.is_empty());
        let path = lines(own).find(|(list, _)| list.split(',').any(|word| mine(&word))).map(|(_, path)| path);
        let below = |path: &str| Path::new(path).strip_prefix(&self.root).ok().map(Path::to_owned);
        // A path that begins with `/..` is outside of our cgroup namespace.
        let own = path.filter(|path| !path.starts_with("/..")).and_then(below);
        Some(Hierarchy { version, controllers, names, point: self.point.clone(), own })
    }
}
// ANCHOR_END: mount

/// `NUMBER:CONTROLLERS:PATH`, as controllers and path; version 2 has no controllers there.
fn lines(own: &str) -> impl Iterator<Item = (&str, &str)> {
    own.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'))
}

/// Space, tab, line break and backslash are written as `\040` and its like.
fn unescaped(field: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .into_iter()
        .fold(field.to_owned(), |text, (code, character)| text.replace(code, character))
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Version::V1 { "v1" } else { "v2" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Controller::{Cpu, Cpuacct, Cpuset, Devices, Freezer, Io, Memory, Pids};

    fn parse(mountinfo: &str, own: &str) -> Hierarchies {
        Hierarchies::parse(mountinfo, own, |_| "cpuset cpu io memory pids rdma misc\n".to_owned())
    }

    #[test]
    fn a_machine_with_version_2_has_one_tree() {
        let found = parse(
            "25 30 0:23 / /sys rw - sysfs sysfs rw\n\
             31 25 0:27 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate",
            "0::/user.slice/user-1000.slice/session-3.scope\n",
        );
        assert_eq!(found.kind(), "v2");
        let tree = &found.0[0];
        assert_eq!(tree.controllers, [Cpuset, Cpu, Io, Memory, Pids, Cpuacct, Freezer, Devices]);
        assert_eq!(tree.own.as_deref(), Some(Path::new("user.slice/user-1000.slice/session-3.scope")));
    }

    #[test]
    fn co_mounted_controllers_share_a_tree_and_a_hybrid_has_an_empty_one() {
        let found = Hierarchies::parse(
            "31 25 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755\n\
             32 31 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
             33 31 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
             34 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
             35 31 0:30 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio",
            "5:blkio:/system.slice\n3:cpu,cpuacct:/\n1:name=systemd:/x\n0::/x\n",
            |_| String::new(),
        );
        assert_eq!(found.kind(), "hybrid");
        let points: Vec<_> = found.0.iter().map(|tree| tree.point.to_str().unwrap()).collect();
        let below = |name: &str| format!("/sys/fs/cgroup/{name}");
        assert_eq!(points, [below("unified"), below("cpu,cpuacct"), below("blkio")]);
        assert_eq!(found.0[0].controllers, [Freezer, Devices], "what no tree of version 1 has");
        assert_eq!(found.0[1].controllers, [Cpu, Cpuacct]);
        assert_eq!(found.of(Io).unwrap().own.as_deref(), Some(Path::new("system.slice")));
        assert!(found.of(Memory).is_none());
    }

    #[test]
    fn the_mount_of_a_subtree_is_its_own_root() {
        // Docker on version 1: the container sees its own cgroup only, mounted from the host's tree.
        let found = parse(
            "40 39 0:29 /docker/4711 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory",
            "4:memory:/docker/4711/inner\n",
        );
        assert_eq!(found.kind(), "v1");
        assert_eq!(found.0[0].own.as_deref(), Some(Path::new("inner")));
    }

    #[test]
    fn what_is_outside_of_the_namespace_is_not_ours() {
        let line = "31 25 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw";
        assert_eq!(parse(line, "0::/\n").0[0].own.as_deref(), Some(Path::new("")));
        assert_eq!(parse(line, "0::/../neighbour\n").0[0].own, None);
        let other = "31 25 0:27 /one /sys/fs/cgroup rw - cgroup2 cgroup2 rw";
        assert_eq!(parse(other, "0::/two\n").0[0].own, None);
    }

    #[test]
    fn a_covered_mount_does_not_count_and_a_second_one_neither() {
        let found = parse(
            "31 25 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n\
             34 31 0:29 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
             50 31 0:40 / /mnt/my\\040tree rw - cgroup2 none rw\n\
             51 31 0:40 / /sys/fs/cgroup rw - cgroup2 none rw",
            "3:pids:/\n0::/\n",
        );
        assert_eq!(found.kind(), "v2");
        assert_eq!(found.0.len(), 1);
        assert_eq!(found.0[0].point, Path::new("/sys/fs/cgroup"));
        assert!(found.of(Pids).is_some());
    }

    #[test]
    fn a_machine_without_cgroups_has_none() {
        assert_eq!(parse("25 30 0:23 / /sys rw - sysfs sysfs rw\n", "").kind(), "none");
    }
}
