//! Chapter 3: a name of its own, and memory that nobody else sees.
//!
//! Two small namespaces. UTS holds the two names of a machine ([`uts`]). IPC holds what processes use to
//! talk without files: System V's segments, semaphores and queues, and POSIX's queues; POSIX's shared memory
//! is files after all, in `/dev/shm` ([`ipc`]). And one idea that every later chapter uses: instead of making
//! a namespace, a process can enter one that exists ([`join`]). Who enters another's IPC namespace wants its
//! `/dev/shm` as well, and that lies in another mount namespace ([`share`]).
//!
//! Left out, because a later chapter builds it: `/etc/hostname` and `/etc/hosts` (5).

pub mod cli;
pub mod ipc;
pub mod join;
pub mod share;
pub mod size;
pub mod uts;

pub use ipc::IpcNamespace;
pub use join::{Join, Of};
pub use share::SharedIpc;
pub use uts::UtsNamespace;
