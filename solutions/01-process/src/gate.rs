// ANCHOR: head
//! The gate between parent and child: one "go" in one direction, one error or nothing in the other.
//!
//! ```text
//! parent                                   child
//! clone3 ───────────────────────────────▶  wait_for_go
//! outside(): id maps, pid file, links ...    (blocked)
//! open ─────────── "go" ────────────────▶  inside(): mounts, host name, ...
//! verdict  ◀────── Error, encoded ───────  fail, and leave
//! verdict  ◀────── end of file ──────────  exec closed it: the program runs
//! ```
//!
//! A SOCK_SEQPACKET socket pair keeps message boundaries and tells when the other side is gone. Each side
//! must close its copy of the other's end, or it would wait for itself forever.
// ANCHOR_END: head

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};

use crate::{Context, Error, Result};

// ANCHOR: ends
/// The parent's end.
pub struct ParentEnd(OwnedFd);

/// The child's end; close-on-exec, and that is what tells the parent of a successful exec.
pub struct ChildEnd(OwnedFd);

/// Longer messages would be cut; the longest subject is a path of 4,096 bytes.
const LONGEST_MESSAGE: usize = 16 * 1024;

/// A new gate, closed.
///
/// # Errors
/// EMFILE: too many open files.
pub fn gate() -> Result<(ParentEnd, ChildEnd)> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let (parent, child) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).during("socketpair", "")?;
    Ok((ParentEnd(parent), ChildEnd(child)))
}
// ANCHOR_END: ends

// ANCHOR: gate
impl ParentEnd {
    /// Lets the child go on.
    ///
    /// # Errors
    /// EPIPE: it has died at the gate.
    pub fn open(&self) -> Result<()> {
        let sent = send(self.0.as_raw_fd(), b"go", MsgFlags::MSG_NOSIGNAL).map(drop);
        sent.during("open the gate", "").map_err(|error| error.because("the child was killed in its birth"))
    }

    /// Waits until the child runs its program (`Ok`) or tells why it cannot.
    ///
    /// # Errors
    /// The child's own.
    pub fn verdict(self) -> Result<()> {
        match receive(&self.0)? {
            message if message.is_empty() => Ok(()),
            message => Err(Error::decode(&message)),
        }
    }
}

impl ChildEnd {
    /// Waits for the parent's "go".
    ///
    /// # Errors
    /// ECANCELED: the parent is gone; nobody wants this child any more.
    pub fn wait_for_go(&self) -> Result<()> {
        match receive(&self.0)? {
            message if message.is_empty() => Err(Errno::ECANCELED).during("wait for the parent", ""),
            _ => Ok(()),
        }
    }

    /// Tells the parent why there will be no program.
    pub fn fail(&self, error: &Error) {
        // Nobody is left to tell when this fails: the parent is gone.
        let _ = send(self.0.as_raw_fd(), &error.encode(), MsgFlags::MSG_NOSIGNAL);
    }
}

/// The next message, empty when the other side has closed its end.
fn receive(end: &OwnedFd) -> Result<Vec<u8>> {
    let mut message = vec![0; LONGEST_MESSAGE];
    loop {
        match recv(end.as_raw_fd(), &mut message, MsgFlags::empty()) {
            Ok(length) => {
                message.truncate(length);
                return Ok(message);
            }
            Err(Errno::EINTR) => continue,
            // The other side died with our message unread: as good as closed.
            Err(Errno::ECONNRESET) => return Ok(Vec::new()),
            Err(errno) => return Err(errno).during("read from the gate", ""),
        }
    }
}
// ANCHOR_END: gate

impl ChildEnd {
    /// Whether the parent still waits for news. It closes its end only when it has them, or dies.
    ///
    /// # Errors
    /// ECANCELED: it has died.
    pub fn still_wanted(&self) -> Result<()> {
        match recv(self.0.as_raw_fd(), &mut [0], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT) {
            Err(Errno::EAGAIN) => Ok(()),
            _ => Err(Errno::ECANCELED).during("look for the parent", ""),
        }
    }
}

impl AsFd for ChildEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
