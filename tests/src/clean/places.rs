//! Mounts, cgroups, folders and links that bear our name.
//!
//! A name alone proves little, so each kind has its own sign of life: a mount in our own mount namespace is
//! none of a lab's (labs have theirs); a cgroup lives while a process is in it; a folder while the process
//! whose number it carries does, or while it is young.

use std::fs::{self, File};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};

use super::{Leftover, Places};
use crate::lab::cgroups;

/// A folder without a process number in its name is somebody's for so long after its last change.
const YOUNG: Duration = Duration::from_secs(600);

/// The mounts below `target/gantry` or named `gantry-lab`, the last one mounted first.
pub fn mounts(places: &Places) -> Result<Vec<Leftover>> {
    let ours = |mount: &Mount| {
        let below = places.cache.as_ref().is_some_and(|cache| mount.point.starts_with(cache));
        below || mount.source.starts_with("gantry-lab") || named_lab(&mount.point)
    };
    let mounts = mount_table(&places.proc)?;
    Ok(mounts.into_iter().filter(ours).rev().map(|mount| Leftover::Mount(mount.point)).collect())
}

fn named_lab(point: &Path) -> bool {
    point.iter().any(|part| part.to_string_lossy().starts_with("gantry-lab"))
}

struct Mount {
    point: PathBuf,
    source: String,
}

/// `/proc/self/mountinfo`, see proc_pid_mountinfo(5).
fn mount_table(proc: &Path) -> Result<Vec<Mount>> {
    let path = proc.join("self/mountinfo");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let mount = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let point = unescaped(left.split(' ').nth(4)?);
        Some(Mount { point, source: right.split(' ').nth(1)?.to_owned() })
    };
    Ok(text.lines().filter_map(mount).collect())
}

/// Space, tab, line break and backslash are written as `\040` and its like.
fn unescaped(field: &str) -> PathBuf {
    let mut out = Vec::new();
    let mut rest = field.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let octal =
            tail.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &tail[3..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(out))
}

/// The cgroups named `gantry...` and those below them, innermost first, unless a living process is inside.
pub fn cgroups(top: &Path, dying: &[Leftover]) -> Vec<Leftover> {
    let mut found = Vec::new();
    search(top, dying, &mut found);
    found
}

fn search(folder: &Path, dying: &[Leftover], found: &mut Vec<Leftover>) {
    for path in subfolders(folder) {
        let ours = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("gantry"));
        let of_use = || cgroups::is_note(&path) && labs_live_in(folder, dying);
        if !ours {
            search(&path, dying, found);
        } else if !inhabited(&path, dying) && !of_use() {
            innermost_first(&path, found);
        }
    }
}

/// A note about a controller is of use to all labs beside it.
fn labs_live_in(folder: &Path, dying: &[Leftover]) -> bool {
    subfolders(folder).iter().any(|path| cgroups::is_lab(path) && inhabited(path, dying))
}

fn innermost_first(folder: &Path, found: &mut Vec<Leftover>) {
    for path in subfolders(folder) {
        innermost_first(&path, found);
    }
    found.push(Leftover::Cgroup(folder.to_owned()));
}

/// Whether a process is in it or below it that is not about to be killed, or its keeper lives and holds the lock.
/// Unreadable counts as inhabited.
fn inhabited(folder: &Path, dying: &[Leftover]) -> bool {
    let kept = |file| Flock::lock(file, FlockArg::LockExclusiveNonblock).is_err();
    if File::open(folder).is_ok_and(kept) {
        return true;
    }
    let dies = |number: &str| {
        dying.iter().any(|one| matches!(one, Leftover::Process { pid, .. } if pid.to_string() == number))
    };
    let here = match fs::read_to_string(folder.join("cgroup.procs")) {
        Ok(text) => text.split_whitespace().any(|number| !dies(number)),
        Err(_) => true,
    };
    here || subfolders(folder).iter().any(|path| inhabited(path, dying))
}

fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> =
        entries.filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()).collect();
    folders.sort();
    folders
}

/// Our own folders `gantry-...` in the temporary folder whose maker is gone.
pub fn folders(places: &Places) -> Result<Vec<Leftover>> {
    let me = nix::unistd::geteuid().as_raw();
    let left = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let Some(rest) = name.strip_prefix("gantry-") else { return false };
        let Ok(about) = fs::symlink_metadata(path) else { return false };
        about.uid() == me && !maker_lives(rest, &about, &places.proc)
    };
    Ok(subfolders(&places.temp).into_iter().filter(left).map(Leftover::Folder).collect())
}

/// Whether the process whose number is a part of the name lives; without a number, whether the folder is young.
fn maker_lives(name: &str, about: &fs::Metadata, proc: &Path) -> bool {
    let mut numbers = name.split('-').filter(|part| part.parse::<u32>().is_ok()).peekable();
    if numbers.peek().is_some() {
        return numbers.any(|number| proc.join(number).is_dir());
    }
    about.modified().is_ok_and(|time| time.elapsed().is_ok_and(|age| age < YOUNG))
}

/// The network links named `gantry...`.
pub fn links(net: &Path) -> Vec<Leftover> {
    let entries = fs::read_dir(net).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut ours: Vec<String> = names.filter(|name| name.starts_with("gantry")).collect();
    ours.sort();
    ours.into_iter().map(Leftover::Link).collect()
}

/// Removes a folder and all in it, unless something is mounted there: that would be emptied, too.
pub fn remove_folder(path: &Path) -> Result<()> {
    if let Some(mount) = mount_table(Path::new("/proc"))?.iter().find(|mount| mount.point.starts_with(path)) {
        bail!("{} is mounted in it: sudo umount {}", mount.point.display(), mount.point.display());
    }
    fs::remove_dir_all(path).with_context(|| format!("remove {}", path.display()))
}
