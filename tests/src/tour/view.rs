//! What one process sees of itself and around it: read from `/proc`, or understood from what a shell printed.
//!
//! The same view is taken three times (by the container's own shell, of the container from outside, and of
//! the host by itself), so that the sides can be compared field by field.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::lab::unescape;

/// A process's view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Its number, in the PID namespace of whoever looks.
    pub pid: i32,
    /// Its numbers by `NSpid`: from the namespace of whoever looks down to its own.
    pub numbers: Vec<i32>,
    /// How many processes the looker's `/proc` lists.
    pub processes: usize,
    /// The kernel's release.
    pub kernel: String,
    /// The folder that is its `/`.
    pub root: Folder,
    /// The names in its `/` as `ls` has them: sorted, without those that begin with a dot.
    pub names: Vec<String>,
    /// Its mounts, in the order of the table.
    pub mounts: Vec<Mount>,
    /// Its namespaces: `pid` and the like, and the kernel object's number.
    pub namespaces: BTreeMap<String, u64>,
}

/// What tells one folder from every other on a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    /// Major and minor number of its file system, `0:39`.
    pub device: String,
    /// Its number in that file system.
    pub inode: u64,
}

/// A line of a mount table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The kernel's number of this mount, unique on the machine.
    pub id: u64,
    /// Major and minor number of what is mounted.
    pub device: String,
    /// Where it is mounted, below the root of whoever reads the table.
    pub point: String,
}

impl View {
    /// The view of process `name` (a number or `self`), as our own `/proc` tells it.
    ///
    /// # Errors
    /// There is no such process, or we may not look at it.
    pub fn of(name: &str) -> Result<View> {
        let proc = Path::new("/proc").join(name);
        let read = |file: &str| {
            let path = proc.join(file);
            fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
        };
        let status = read("status")?;
        Ok(View {
            pid: field(&status, "Pid:")?.parse().context("its number")?,
            numbers: numbers(&status)?,
            processes: names(Path::new("/proc"))?.iter().filter(|name| is_number(name)).count(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .context("ask for the kernel")?
                .trim()
                .into(),
            root: Folder::at(&proc.join("root"))?,
            names: names(&proc.join("root"))?,
            mounts: mounts(&read("mountinfo")?)?,
            namespaces: namespaces(&proc.join("ns"))?,
        })
    }
}

impl Folder {
    /// The folder at `path`.
    ///
    /// # Errors
    /// There is none, or we may not look at it.
    pub fn at(path: &Path) -> Result<Folder> {
        let meta = fs::metadata(path).with_context(|| format!("look at {}", path.display()))?;
        let (major, minor) = (libc::major(meta.dev()), libc::minor(meta.dev()));
        Ok(Folder { device: format!("{major}:{minor}"), inode: meta.ino() })
    }
}

/// The value of a line of `/proc/PID/status`.
///
/// # Errors
/// There is no such line.
pub fn field<'a>(status: &'a str, name: &str) -> Result<&'a str> {
    let value = status.lines().find_map(|line| line.strip_prefix(name));
    value.map(str::trim).with_context(|| format!("/proc/PID/status has no line `{name}`"))
}

/// The numbers of `NSpid`.
///
/// # Errors
/// The line is missing or strange.
pub fn numbers(status: &str) -> Result<Vec<i32>> {
    let words = field(status, "NSpid:")?.split_whitespace();
    words.map(|word| word.parse().context("a number in NSpid")).collect()
}

/// The lines of a mount table, mountinfo(5).
///
/// # Errors
/// A line is too short.
pub fn mounts(table: &str) -> Result<Vec<Mount>> {
    let mount = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let &[id, _, device, _, point, ..] = words.as_slice() else { return None };
        Some(Mount { id: id.parse().ok()?, device: device.to_owned(), point: unescape(point) })
    };
    table.lines().map(|line| mount(line).with_context(|| format!("a mount table says {line}"))).collect()
}

/// The object's number in what a namespace's link says, `pid:[4026531836]`.
pub fn object(link: &str) -> Option<u64> {
    link.split_once('[')?.1.strip_suffix(']')?.parse().ok()
}

/// Whether a name in `/proc` is that of a process.
pub fn is_number(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
}

fn namespaces(folder: &Path) -> Result<BTreeMap<String, u64>> {
    let mut all = BTreeMap::new();
    for name in names(folder)? {
        let path = folder.join(&name);
        let link = fs::read_link(&path).with_context(|| format!("read the link {}", path.display()))?;
        all.extend(object(&link.to_string_lossy()).map(|number| (name, number)));
    }
    Ok(all)
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut all: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
    all.sort_unstable();
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_view_is_whole() {
        let view = View::of("self").unwrap();
        assert_eq!(view.pid, std::process::id() as i32);
        assert_eq!(view.numbers[0], view.pid);
        assert_eq!(view.root, Folder::at(Path::new("/")).unwrap());
        assert!(view.processes > 0 && view.names.contains(&"proc".to_owned()));
        assert!(view.mounts.iter().any(|mount| mount.point == "/proc"));
        assert!(view.namespaces.contains_key("mnt"));
    }

    #[test]
    fn texts_are_understood() {
        assert_eq!(object("pid:[4026531836]"), Some(4_026_531_836));
        assert_eq!(object("socket:17"), None);
        let table = r"101 43 0:39 /lab/demo / rw - tmpfs tmpfs rw
102 101 0:45 / /with\040blank rw shared:1 - proc proc rw";
        let mounts = mounts(table).unwrap();
        assert_eq!((mounts[0].id, mounts[0].device.as_str()), (101, "0:39"));
        assert_eq!(mounts[1].point, "/with blank");
        assert_eq!(numbers("Name:\tsh\nNSpid:\t20412\t9\t1\n").unwrap(), [20412, 9, 1]);
        assert!(numbers("Name:\tsh\n").is_err());
    }
}
