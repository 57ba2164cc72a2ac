//! The host as it must stay: mounts, control groups, sysctls, a folder of its own, and our processes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use workshop::clean::{self, Leftover};

use crate::cgroups;
use crate::somebody::SOMEBODY;

/// Counters and random numbers: they change by themselves.
const RESTLESS: [&str; 11] = [
    "fs/aio-nr",
    "fs/dentry-state",
    "fs/file-nr",
    "fs/inode-nr",
    "fs/inode-state",
    "fs/quota",
    "kernel/ns_last_pid",
    "kernel/pty/nr",
    "kernel/random",
    "kernel/sched_domain",
    "net/netfilter/nf_conntrack_count",
];

/// The host, with a folder that a learner could write to.
pub struct Host {
    folder: PathBuf,
}

/// What it looks like.
pub struct Look {
    mounts: String,
    sysctls: BTreeMap<PathBuf, String>,
    files: BTreeMap<PathBuf, (u32, String)>,
    devices: Vec<u32>,
    cgroups: cgroups::Groups,
    leftovers: BTreeSet<Leftover>,
}

impl Host {
    /// Makes the folder: outside of what a lab replaces, and open to everybody.
    pub fn new() -> Result<Host> {
        let name = format!("gantry-worst-{}", std::process::id());
        let home = ["/var/lib", "/srv", "/home"].map(PathBuf::from).into_iter().chain(std::env::home_dir());
        let folder = home
            .map(|home| home.join(&name))
            .find(|folder| fs::create_dir(folder).is_ok())
            .context("no folder to play the host's")?;
        fs::create_dir(folder.join("deep"))?;
        for file in ["file", "deep/file"] {
            fs::write(folder.join(file), "of the host\n")?;
        }
        for path in ["", "deep", "file", "deep/file"].map(|name| folder.join(name)) {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o777))?;
            if nix::unistd::geteuid().is_root() {
                chown(&path, Some(SOMEBODY), Some(SOMEBODY))?;
            }
        }
        Ok(Host { folder })
    }

    /// The folder's path.
    pub fn folder(&self) -> String {
        self.folder.display().to_string()
    }

    /// What it looks like now.
    pub fn look(&self) -> Result<Look> {
        let mut sysctls = BTreeMap::new();
        read_all(Path::new("/proc/sys"), &mut |path, text| drop(sysctls.insert(path, text)));
        sysctls.retain(|path, _| {
            let name = path.strip_prefix("/proc/sys").unwrap_or(path);
            !RESTLESS.iter().any(|restless| name.starts_with(restless))
        });
        let mut files = BTreeMap::new();
        read_all(&self.folder, &mut |path, text| {
            let mode = fs::metadata(&path).map_or(0, |about| about.mode());
            files.insert(path, (mode, text));
        });
        let devices = ["/dev/null", "/dev/zero", "/dev/tty"];
        Ok(Look {
            mounts: fs::read_to_string("/proc/self/mountinfo").context("read the mount table")?,
            sysctls,
            files,
            devices: devices
                .iter()
                .map(|device| fs::metadata(device).map_or(0, |about| about.mode()))
                .collect(),
            cgroups: cgroups::look(),
            leftovers: clean::find()?.into_iter().collect(),
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Every readable file below a folder.
fn read_all(folder: &Path, tell: &mut dyn FnMut(PathBuf, String)) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => read_all(&entry.path(), tell),
            // Some can only be written; that they are there is all there is to see.
            _ => tell(entry.path(), fs::read_to_string(entry.path()).unwrap_or_default()),
        }
    }
}

impl Look {
    /// Every difference that a mistake made.
    pub fn harm(&self, after: &Look) -> Vec<String> {
        let mut harm = Vec::new();
        if self.mounts != after.mounts {
            harm.push(format!("the mount table: before\n{}after\n{}", self.mounts, after.mounts));
        }
        for (path, value) in &self.sysctls {
            match after.sysctls.get(path) {
                Some(now) if now == value => {}
                now => harm.push(format!("{}: {value:?}, now {now:?}", path.display())),
            }
        }
        if self.files != after.files {
            harm.push(format!("the host's folder: {:?}, now {:?}", self.files, after.files));
        }
        if self.devices != after.devices {
            harm.push(format!("the modes of devices: {:?}, now {:?}", self.devices, after.devices));
        }
        harm.extend(cgroups::harm(&self.cgroups, &after.cgroups));
        harm.extend(after.leftovers.difference(&self.leftovers).map(|left| format!("left behind: {left}")));
        harm
    }
}

/// All our descendants; orphans of theirs are ours as well.
pub fn descendants() -> Vec<i32> {
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // Behind the name, which may hold anything: state, parent.
        let parent =
            stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse::<i32>().ok());
        parents.extend(parent.map(|parent| (pid, parent)));
    }
    let me = std::process::id() as i32;
    let ours = |pid: &i32| {
        let mut at = *pid;
        while let Some(parent) = parents.get(&at) {
            if *parent == me {
                return true;
            }
            at = *parent;
        }
        false
    };
    parents.keys().copied().filter(ours).collect()
}

/// Waits until nobody is left; whatever was left to us is reaped meanwhile.
pub fn processes_are_gone() -> Result<()> {
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    let start = Instant::now();
    loop {
        while waitpid(None, Some(WaitPidFlag::WNOHANG)).is_ok_and(|status| status != WaitStatus::StillAlive) {
        }
        let left = descendants();
        if left.is_empty() {
            return Ok(());
        }
        if start.elapsed() > Duration::from_secs(10) {
            bail!("processes are left: {left:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
