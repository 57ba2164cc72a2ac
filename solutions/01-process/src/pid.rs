//! The two isolations of this chapter: the PID namespace, and the file that tells the PID outside.

use std::fs;
use std::path::PathBuf;

use nix::sched::CloneFlags;

use crate::{Birth, Child, Context, Isolation, Result};

/// A PID namespace of its own: the container's first process is PID 1 in it.
///
/// When PID 1 ends, the kernel kills all others in the namespace; see pid_namespaces(7).
pub struct PidNamespace;

impl Isolation for PidNamespace {
    fn name(&self) -> &'static str {
        "pid namespace"
    }

    fn prepare(&mut self, birth: &mut Birth) -> Result<()> {
        birth.in_new(CloneFlags::CLONE_NEWPID);
        Ok(())
    }
}

/// Writes the PID that the container has outside into a file, before the program starts.
pub struct PidFile(pub PathBuf);

impl Isolation for PidFile {
    fn name(&self) -> &'static str {
        "pid file"
    }

    fn outside(&mut self, child: &Child) -> Result<()> {
        fs::write(&self.0, format!("{}\n", child.pid())).during("write", self.0.display())
    }
}
