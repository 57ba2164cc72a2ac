//! An ordinary user of this machine, played by root: where labs are entered as most readers enter them.
//!
//! A clone may lie where no other user can look, so the programs are copied to where everybody can.

// Each check takes the part that it needs.
#![allow(dead_code)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use workshop::rootfs;
use workshop::stage::runner::Subject;
use workshop::workspace::Scratch;

/// The user's id, where we are root; else we are an ordinary user ourselves.
pub const SOMEBODY: u32 = 1000;

/// Copies that everybody can reach.
pub struct Somebody {
    scratch: Scratch,
    /// The subject, as the user can reach it.
    pub subject: Subject,
}

impl Somebody {
    /// Copies this program, the subject's programs and `demo`.
    pub fn new(subject: &Subject) -> Result<Somebody> {
        let scratch = Scratch::new("somebody")?;
        let everybody = |mode| fs::Permissions::from_mode(mode);
        fs::set_permissions(scratch.path(), everybody(0o755)).context("open the folder")?;
        let copy = |from: PathBuf, name: &str| -> Result<PathBuf> {
            let to = scratch.path().join(name);
            fs::copy(&from, &to).with_context(|| format!("copy {}", from.display()))?;
            fs::set_permissions(&to, everybody(0o755)).context("let everybody run it")?;
            Ok(to)
        };
        copy(std::env::current_exe().context("find this program")?, "own")?;
        let mut subject = subject.clone();
        for (name, file) in &mut subject.programs {
            *file = copy(file.clone(), name)?;
        }
        let demo = scratch.path().join("demo");
        rootfs::copy(&subject.demo, &demo)?;
        subject.demo = demo;
        Ok(Somebody { scratch, subject })
    }

    /// One of the subject's programs, run as the user in an empty environment.
    pub fn program(&self, name: &str) -> Result<Command> {
        let found = self.subject.programs.iter().find(|(known, _)| known == name);
        let mut command = Command::new(&found.with_context(|| format!("there is no {name}"))?.1);
        command.current_dir("/").env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
        if nix::unistd::geteuid().is_root() {
            command.uid(SOMEBODY).gid(SOMEBODY);
        }
        Ok(command)
    }

    /// The same command, run by the user's copy of this program as that user.
    pub fn command(&self, as_root: &Command) -> Command {
        let mut command = Command::new(self.scratch.path().join("own"));
        command.args(as_root.get_args()).current_dir("/").stdin(Stdio::null());
        command.envs(as_root.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if nix::unistd::geteuid().is_root() {
            command.uid(SOMEBODY).gid(SOMEBODY);
        }
        command
    }
}
