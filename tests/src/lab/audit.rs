//! The leak audit: what was there before, what is there after.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use super::cgroups;

/// Mounts, control groups and processes at one moment, as a process in these namespaces sees them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    mounts: BTreeSet<String>,
    cgroups: BTreeSet<PathBuf>,
    processes: BTreeSet<i32>,
}

impl Snapshot {
    /// What there is now.
    pub fn take() -> Snapshot {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mounts = table.lines().map(identity);
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        // Only the lab's own: what others do with the machine's is not ours to judge.
        let cgroups = cgroups::own().iter().flat_map(|top| cgroups::tree(top)).collect();
        Snapshot { mounts: mounts.collect(), cgroups, processes: processes.collect() }
    }

    /// What is there now and was not then, or the other way round; one line each.
    pub fn differences(&self, now: &Snapshot) -> Vec<String> {
        let mount = |word: &str, line: &String| {
            format!("mount {word}: {}", unescape(line.split(' ').nth(4).unwrap_or(line)))
        };
        let mut all: Vec<String> =
            now.mounts.difference(&self.mounts).map(|line| mount("left", line)).collect();
        all.extend(self.mounts.difference(&now.mounts).map(|line| mount("gone", line)));
        let groups = now.cgroups.difference(&self.cgroups);
        all.extend(groups.map(|folder| format!("cgroup left: {}", folder.display())));
        all.extend(
            now.processes.difference(&self.processes).map(|pid| format!("process left: {}", name_of(*pid))),
        );
        all
    }
}

/// Number, source and place of a mount; the options behind may change without anything being left. A program that is
/// built anew while a lab shows the old one is only marked.
fn identity(line: &str) -> String {
    let mut fields: Vec<&str> = line.split(' ').take(5).collect();
    if let Some(source) = fields.get_mut(3) {
        *source = source.strip_suffix("//deleted").unwrap_or(source);
    }
    fields.join(" ")
}

fn name_of(pid: i32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("{pid} ({})", name.trim())
}

/// A path as the mount table writes it: blanks and the like are `\040`.
pub fn unescape(path: &str) -> String {
    let mut out = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let octal =
            tail.get(..3).and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match (first, octal) {
            (b'\\', Some(byte)) => {
                out.push(byte);
                rest = &tail[3..];
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_of_the_mount_table_are_undone() {
        assert_eq!(unescape(r"/a\040b\134c"), "/a b\\c");
        assert_eq!(unescape(r"/plain\x"), r"/plain\x");
    }

    #[test]
    fn a_left_mount_and_a_gone_one_are_told_apart() {
        let then = Snapshot {
            mounts: ["1 0 8:1 / /old".to_owned()].into(),
            processes: [1].into(),
            ..Snapshot::default()
        };
        let now = Snapshot {
            mounts: ["2 0 0:5 / /new".to_owned()].into(),
            processes: [1].into(),
            ..Snapshot::default()
        };
        assert_eq!(then.differences(&now), ["mount left: /new", "mount gone: /old"]);
        assert!(then.differences(&then.clone()).is_empty());
    }

    #[test]
    fn a_program_that_is_built_anew_is_no_other_mount() {
        let then = "68 60 254:0 /target/debug/probe /run/lab/bin/probe ro,nosuid - ext4 /dev/vda rw";
        let now = "68 60 254:0 /target/debug/probe//deleted /run/lab/bin/probe ro - ext4 /dev/vda rw";
        assert_eq!(identity(then), "68 60 254:0 /target/debug/probe /run/lab/bin/probe");
        assert_eq!(identity(now), identity(then));
    }

    #[test]
    fn a_left_cgroup_is_told_by_its_folder() {
        let now = Snapshot { cgroups: ["/sys/fs/cgroup/gantry/quay".into()].into(), ..Snapshot::default() };
        let left = Snapshot::default().differences(&now);
        assert_eq!(left, ["cgroup left: /sys/fs/cgroup/gantry/quay"]);
    }
}
