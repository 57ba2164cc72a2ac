//! Work in another network namespace, on a thread that goes there and ends.
//!
//! `setns` moves a thread, not a process. A thread that came back might fail to, and then its process would
//! go on half here and half there; so it never comes back. Sockets that it opened stay in the other
//! namespace, and `/proc/sys/net` shows a thread the namespace in which it is. See setns(2),
//! network_namespaces(7).

use std::os::fd::BorrowedFd;
use std::panic::resume_unwind;
use std::thread;

use nix::sched::{CloneFlags, setns};
use process::{Context, Result};

// ANCHOR: namespace
/// Does `work` in the network namespace `netns`, and waits for it.
///
/// # Errors
/// We may not enter: that needs CAP_SYS_ADMIN in its user namespace and in ours. Or those of `work`.
pub fn in_namespace<T: Send>(netns: BorrowedFd<'_>, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let visit = || {
        setns(netns, CloneFlags::CLONE_NEWNET).during("setns", "network namespace")?;
        work()
    };
    thread::scope(|scope| scope.spawn(visit).join()).unwrap_or_else(|panic| resume_unwind(panic))
}
// ANCHOR_END: namespace
