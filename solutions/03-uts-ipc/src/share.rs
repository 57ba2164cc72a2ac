//! Taking part in another's IPC: the host's, or another container's.
//!
//! For System V objects and POSIX queues it is enough to be in the same IPC namespace. POSIX shared memory is
//! files, so the other's `/dev/shm` must be mounted here as well, and it lies in another mount namespace. We
//! go there before the birth, on a thread of our own, and bring a detached copy of each mount back.
//!
//! A container that keeps its memory to itself has an unbindable `/dev/shm`: of that there is no copy.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::thread;

use mount::detached::{Detached, restrict};
use mount::resolve::{self, Links, Place};
use mount::root::Root;
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use process::{Birth, Context, Error, Isolation, Result};

use crate::Join;
use crate::ipc::{DATA_ONLY, MQUEUE, SHM};

/// Another's IPC namespace, with its files.
pub struct SharedIpc {
    /// How to enter it; none for the host's, in which we are.
    pub join: Option<Join>,
    /// Whether the container has a `/dev` of its own, in which they are shown.
    pub files: bool,
    copies: Vec<Copy>,
}

/// A mount that was found elsewhere, and its place.
type Copy = (&'static str, Detached);

impl SharedIpc {
    /// The IPC of whoever `join` leads to, or the host's.
    pub fn new(join: Option<Join>, files: bool) -> SharedIpc {
        SharedIpc { join, files, copies: Vec::new() }
    }
}

impl Isolation for SharedIpc {
    fn name(&self) -> &'static str {
        "shared ipc"
    }

    // ANCHOR: shared
    fn prepare(&mut self, birth: &mut Birth) -> Result<()> {
        if let Some(join) = &mut self.join {
            join.prepare(birth)?;
        }
        // Taken also where they are not shown: of a private container there is no copy, and so no joining.
        let copies = match &self.join {
            Some(join) => elsewhere(join.handle()?, copies)?,
            None => copies()?,
        };
        if self.files {
            self.copies = copies;
        }
        Ok(())
    }

    fn inside(&mut self) -> Result<()> {
        if let Some(join) = &mut self.join {
            join.inside()?;
        }
        let root = Root::current()?;
        for (place, copy) in &self.copies {
            let at = resolve::place(root.as_fd(), Path::new(place), Place::Folder, Links::Refuse)?;
            copy.attach(at.as_fd()).during("move_mount", place)?;
        }
        Ok(())
    }
    // ANCHOR_END: shared
}

// ANCHOR: share
/// Does `look` in the mount namespace of a process, on a thread that ends there.
fn elsewhere<T: Send>(process: BorrowedFd<'_>, look: fn() -> Result<T>) -> Result<T> {
    let visit = || {
        unshare(CloneFlags::CLONE_FS).during("unshare", "root and working directory")?;
        setns(process, CloneFlags::CLONE_NEWNS).during("setns", "the other's mount namespace")?;
        look()
    };
    thread::scope(|scope| match scope.spawn(visit).join() {
        Ok(found) => found,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// Detached copies of this mount namespace's `/dev/shm` and, if there is one, `/dev/mqueue`: for data only.
fn copies() -> Result<Vec<Copy>> {
    let root = Root::current()?;
    let mut copies = Vec::new();
    for place in [SHM, MQUEUE] {
        let cannot = |operation, errno| Error::new(operation, place, errno).because(likely_cause(errno));
        let found = match resolve::open(root.as_fd(), Path::new(place), Links::Refuse) {
            Err(Errno::ENOENT) if place == MQUEUE => continue,
            found => found.map_err(|errno| cannot("open", errno))?,
        };
        let copy = Detached::copy_of(found.as_fd()).map_err(|errno| cannot("open_tree", errno))?;
        restrict(copy.as_fd(), DATA_ONLY)?;
        copies.push((place, copy));
    }
    Ok(copies)
}
// ANCHOR_END: share

fn likely_cause(errno: Errno) -> &'static str {
    match errno {
        Errno::EINVAL => "it is not to be shared: was that container started with --ipc shareable?",
        Errno::ENOENT => "there is none that could be shared",
        Errno::ELOOP => "it must not be a symbolic link",
        _ => "",
    }
}
