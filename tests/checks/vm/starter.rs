//! Starters of their own: this test program again, as a process that can be killed or that is another user.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Result;
use nix::unistd::Uid;
use workshop::vm::{Failure, Kernel, Machine};

use crate::{Folder, kernel, workshop};

/// Users that nobody else is, so that what each leaves can be told apart.
static STRANGERS: AtomicU32 = AtomicU32::new(0);

/// Runs `vm-starter run|interactive CMD…` when that is what this process was started for.
pub fn main() -> Option<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    if words.next()? != "vm-starter" {
        return None;
    }
    let interactive = words.next()? == "interactive";
    let start = || -> Result<u8> {
        let init = std::env::current_exe()?.with_file_name("workshop");
        let machine = Machine::new(&Kernel::find()?)?.init(init).env("TERM", "dumb").env("PS1", "lab> ");
        Ok(if interactive { machine.interactive(words)? } else { machine.run(words)?.code })
    };
    Some(ExitCode::from(start().unwrap_or_else(|error| {
        eprintln!("{error:#}");
        error.downcast_ref().map_or(99, Failure::exit_code)
    })))
}

/// Copies of the programs, in a folder that every user can reach, which target need not be.
pub struct Reachable {
    folder: Folder,
    /// The user who runs them, when we are root; a new one each time.
    pub stranger: u32,
}

impl Reachable {
    pub fn new(name: &str) -> Result<Reachable> {
        let stranger = 61_000 + std::process::id() % 1000 + 1000 * STRANGERS.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("gantry vm check {stranger} {name}"));
        fs::create_dir(&path)?;
        let folder = Folder(path);
        fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o755))?;
        for (from, to) in [
            (std::env::current_exe()?.as_path(), "starter"),
            (workshop(), "workshop"),
            (&kernel()?.path, "linux-uml"),
        ] {
            fs::copy(from, folder.0.join(to))?;
            fs::set_permissions(folder.0.join(to), fs::Permissions::from_mode(0o755))?;
        }
        Ok(Reachable { folder, stranger })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.folder.0
    }

    /// A starter of `mode`; run by the stranger when we are root, else by us.
    pub fn command(&self, mode: &str, command: &[&str]) -> Command {
        let mut starter = Command::new(self.path().join("starter"));
        starter
            .args(["vm-starter", mode])
            .args(command)
            .env("GANTRY_LAB_KERNEL", self.path().join("linux-uml"));
        starter.current_dir("/");
        if Uid::effective().is_root() {
            starter.uid(self.stranger).gid(self.stranger);
        }
        starter
    }

    /// The living processes whose program lies in the folder, or that carry its name: starter, keeper, kernel, guests.
    pub fn processes(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.filter_map(|pid| self.about(pid)).collect()
    }

    fn about(&self, pid: u32) -> Option<String> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("").trim();
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).into_owned();
        let uid = field("Uid:").split_whitespace().next()?;
        let ours = uid == self.stranger.to_string() || line.contains(&*self.path().to_string_lossy());
        (ours && !field("State:").starts_with('Z') && pid != std::process::id())
            .then(|| format!("{pid} {} {line}", field("Name:")))
    }
}
