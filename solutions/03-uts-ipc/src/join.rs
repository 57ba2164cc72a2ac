//! Entering a namespace that exists, instead of making one.
//!
//! setns(2) takes a descriptor: of a namespace's file, `/proc/PID/ns/uts`, or of a process, a pidfd. A file
//! keeps its namespace alive, also when it is bound to a path and no process is left. A pidfd means one
//! process for ever, so several namespaces that are taken from it are those of one and the same process.
//!
//! Invariant: the descriptor is opened before the birth, outside, where `/proc` is the host's.
//! Left out: PID namespaces, which a process cannot change for itself, only for its children.

use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::Mode;
use process::{Birth, Context, Error, Isolation, Result};

/// Whose namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Of {
    /// That of a process, by its PID here.
    Process(i32),
    /// The one behind this file.
    File(PathBuf),
}

/// Enters a namespace of one kind.
#[derive(Debug)]
pub struct Join {
    kind: CloneFlags,
    of: Of,
    opened: Option<OwnedFd>,
}

impl Join {
    /// A wish to enter `of`'s namespace of this kind, `CLONE_NEWUTS`.
    pub fn new(kind: CloneFlags, of: Of) -> Join {
        Join { kind, of, opened: None }
    }

    /// What it was opened as, a pidfd or a namespace's file.
    ///
    /// # Errors
    /// It was not prepared.
    pub fn handle(&self) -> Result<BorrowedFd<'_>> {
        let none = || Error::refused("join", "", "it was not prepared");
        self.opened.as_ref().map(AsFd::as_fd).ok_or_else(none)
    }
}

impl Isolation for Join {
    fn name(&self) -> &'static str {
        "join"
    }

    // ANCHOR: join
    fn prepare(&mut self, _birth: &mut Birth) -> Result<()> {
        self.opened = Some(match &self.of {
            Of::Process(pid) => pidfd_open(*pid).map_err(|errno| {
                Error::new("pidfd_open", pid, errno).because("there must be such a process here")
            })?,
            Of::File(path) => open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
                .during("open", path.display())?,
        });
        Ok(())
    }

    fn inside(&mut self) -> Result<()> {
        setns(self.handle()?, self.kind)
            .map_err(|errno| Error::new("setns", &self.of, errno).because(likely_cause(errno)))
    }
    // ANCHOR_END: join
}

impl std::fmt::Display for Of {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Of::Process(pid) => write!(f, "process {pid}"),
            Of::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A descriptor for the process that has this PID now; see pidfd_open(2).
fn pidfd_open(pid: i32) -> nix::Result<OwnedFd> {
    // SAFETY: numbers only.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the kernel gave us this new descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

fn likely_cause(errno: Errno) -> &'static str {
    match errno {
        Errno::EINVAL => "it is no namespace of the kind that was asked for",
        Errno::EPERM => "it needs CAP_SYS_ADMIN in the user namespace that owns it",
        Errno::ESRCH => "the process has ended",
        _ => "",
    }
}
