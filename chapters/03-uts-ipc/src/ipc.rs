//! The IPC namespace: what processes use to talk without files, and the two file systems that show it.
//!
//! System V objects (segments, semaphore sets, queues) have numbers, and the namespace is the table of these
//! numbers. POSIX queues have names, and the namespace holds them too; `/dev/mqueue` shows them as files.
//! POSIX shared memory has no table at all: shm_open(3) opens a file in `/dev/shm`. So a container needs the
//! namespace and both mounts, or the halves do not fit. See ipc_namespaces(7), shm_overview(7), mq_overview(7).

use libc::{MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID};
use mount::root::Root;
use mount::{Mount, Source};
use nix::mount::{MsFlags, mount};
use nix::sched::CloneFlags;
use process::{Birth, Context, Isolation, Result};

/// Where POSIX shared memory lies.
pub const SHM: &str = "/dev/shm";

/// Where POSIX queues can be seen.
pub const MQUEUE: &str = "/dev/mqueue";

/// No set-user-id, no devices, no programs: these are for data.
pub const DATA_ONLY: u64 = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;

/// An IPC namespace of its own.
#[derive(Debug)]
pub struct IpcNamespace {
    /// Its `/dev/shm` and `/dev/mqueue`; none where the container has no `/dev` of its own.
    pub files: Option<Files>,
}

/// The two mounts of an IPC namespace.
#[derive(Debug)]
pub struct Files {
    /// The most that `/dev/shm` holds, in bytes.
    pub shm_size: u64,
    /// Whether another container may take part.
    pub shareable: bool,
}

impl Isolation for IpcNamespace {
    fn name(&self) -> &'static str {
        "ipc namespace"
    }

    // ANCHOR: ipc
    fn prepare(&mut self, birth: &mut Birth) -> Result<()> {
        todo!("3.2 Memory that nobody else sees")
    }

    fn inside(&mut self) -> Result<()> {
        todo!("3.2 Memory that nobody else sees")
    }
    // ANCHOR_END: ipc
}

// ANCHOR: unbindable
/// Forbids copies of the mount at `place`: the kernel's fourth kind of propagation.
fn make_unbindable(place: &str) -> Result<()> {
    const NONE: Option<&str> = None;
    mount(NONE, place, NONE, MsFlags::MS_UNBINDABLE, NONE).during("make unbindable", place)
}
// ANCHOR_END: unbindable
