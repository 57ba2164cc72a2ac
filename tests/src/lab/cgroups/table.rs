//! The hierarchies of control groups that are mounted here, and our place in each: from two texts, without effects.
//!
//! `/proc/self/mountinfo` says where a hierarchy is mounted and from which of its groups on, `/proc/self/cgroup`
//! in which group we are; see cgroups(7).

use std::path::{Path, PathBuf};

use crate::lab::unescape;

/// Groups for the processes of a lab, and for those that had to make room for one. Who is in one of these means the
/// group above it.
pub const LEAVES: [&str; 2] = [super::SCOPE, super::CALLERS];

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub point: PathBuf,
    /// Which one it is.
    pub kind: Kind,
    /// The folder of the group that we are in.
    pub own: PathBuf,
}

/// Which hierarchy it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// That of version 2.
    V2,
    /// One of version 1, by what mount(2) wants to hear: `cpu,cpuacct` or `none,name=systemd`.
    V1(String),
}

impl Hierarchy {
    /// Whether it is one of version 1 with this controller.
    pub fn is_v1_of(&self, controller: &str) -> bool {
        matches!(&self.kind, Kind::V1(names) if names.split(',').any(|name| name == controller))
    }

    /// The folder below which a lab's group is to be made.
    ///
    /// Root takes the root of what is mounted where there is version 2 alone: the groups of a systemd host are
    /// systemd's. Everybody else takes our own group, so that whatever limits us limits the lab.
    pub fn base(&self, root: bool, pure: bool) -> PathBuf {
        if self.kind == Kind::V2 && pure && root {
            return self.point.clone();
        }
        let leaf = self.own.file_name().is_some_and(|name| LEAVES.iter().any(|leaf| name == *leaf));
        match self.own.parent() {
            Some(above) if leaf && above.starts_with(&self.point) => above.to_owned(),
            _ => self.own.clone(),
        }
    }
}

/// Whether version 2 has all that there is.
pub fn is_pure(all: &[Hierarchy]) -> bool {
    all.iter().all(|one| one.kind == Kind::V2)
}

/// The mounted hierarchies in which our own group can be seen; of one that is mounted twice, the first.
pub fn hierarchies(mountinfo: &str, own: &str) -> Vec<Hierarchy> {
    let mut all: Vec<Hierarchy> = Vec::new();
    for found in mountinfo.lines().filter_map(|line| hierarchy(line, own)) {
        if !all.iter().any(|known| known.kind == found.kind) {
            all.push(found);
        }
    }
    all
}

fn hierarchy(line: &str, own: &str) -> Option<Hierarchy> {
    let (before, after) = line.split_once(" - ")?;
    let mut words = before.split(' ').skip(3);
    let (root, point) = (unescape(words.next()?), PathBuf::from(unescape(words.next()?)));
    let mut words = after.split(' ');
    let kind = words.next()?;
    let options: Vec<&str> = words.nth(1)?.split(',').collect();
    let (names, group) = own.lines().filter_map(|line| line.split_once(':')?.1.split_once(':')).find(
        |(names, _)| match kind {
            "cgroup2" => names.is_empty(),
            "cgroup" => !names.is_empty() && names.split(',').all(|name| options.contains(&name)),
            _ => false,
        },
    )?;
    let kind = match names {
        "" => Kind::V2,
        names if names.starts_with("name=") => Kind::V1(format!("none,{names}")),
        names => Kind::V1(names.to_owned()),
    };
    let below = Path::new(group).strip_prefix(&root).ok()?;
    // Components that lead upwards: a group outside of what this mount shows.
    let inside = below.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    let own = if below.as_os_str().is_empty() { point.clone() } else { point.join(below) };
    inside.then_some(Hierarchy { point, kind, own })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
        31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
        36 31 0:31 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n\
        37 31 0:32 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
        38 31 0:33 / /sys/fs/cgroup/systemd rw shared:9 - cgroup cgroup rw,xattr,name=systemd\n\
        39 31 0:34 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";
    const OWN: &str = "9:name=systemd:/user.slice\n4:memory:/quay/pier\n1:cpu,cpuacct:/\n0::/user.slice\n";

    #[test]
    fn every_hierarchy_is_found_with_our_place_in_it() {
        let found = hierarchies(HYBRID, OWN);
        let told: Vec<String> =
            found.iter().map(|one| format!("{:?} {}", one.kind, one.own.display())).collect();
        let expected = [
            "V1(\"memory\") /sys/fs/cgroup/memory/quay/pier",
            "V1(\"cpu,cpuacct\") /sys/fs/cgroup/cpu,cpuacct",
            "V1(\"none,name=systemd\") /sys/fs/cgroup/systemd/user.slice",
            "V2 /sys/fs/cgroup/unified/user.slice",
        ];
        assert_eq!(told, expected);
        assert!(!is_pure(&found) && found[1].is_v1_of("cpuacct"));
        // Where version 1 is, our own group is the place for everybody.
        assert_eq!(found[3].base(true, false), Path::new("/sys/fs/cgroup/unified/user.slice"));
    }

    #[test]
    fn a_mount_that_does_not_show_our_group_is_left_out() {
        let part = "36 31 0:31 /quay /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(hierarchies(part, "0::/quay/pier\n")[0].own, Path::new("/sys/fs/cgroup/pier"));
        assert!(hierarchies(part, "0::/other\n").is_empty());
        let foreign = "36 31 0:31 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert!(hierarchies(foreign, "0::/../other\n").is_empty());
    }

    #[test]
    fn root_takes_the_top_and_everybody_else_what_is_theirs() {
        let table = "36 31 0:31 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let at = |own: &str, root| hierarchies(table, own)[0].base(root, true);
        assert_eq!(at("0::/user.slice/run.scope\n", true), Path::new("/sys/fs/cgroup"));
        assert_eq!(at("0::/user.slice/run.scope\n", false), Path::new("/sys/fs/cgroup/user.slice/run.scope"));
        // Who has made room, or is in a lab already, means the group above.
        assert_eq!(at("0::/run.scope/caller.scope\n", false), Path::new("/sys/fs/cgroup/run.scope"));
        assert_eq!(at("0::/lab.scope\n", false), Path::new("/sys/fs/cgroup"));
    }
}
