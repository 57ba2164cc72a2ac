//! Without a network: a namespace of its own, and nothing in it but loopback.

use nix::sched::CloneFlags;
use process::{Birth, Isolation, Result};

use crate::link;
use crate::netlink::Socket;

/// A network namespace with nobody else in it.
#[derive(Debug)]
pub struct Alone;

impl Isolation for Alone {
    fn name(&self) -> &'static str {
        "network namespace"
    }

    // ANCHOR: alone
    fn prepare(&mut self, birth: &mut Birth) -> Result<()> {
        birth.in_new(CloneFlags::CLONE_NEWNET);
        Ok(())
    }

    /// A new namespace has one link, and it is down: not even 127.0.0.1 answers.
    fn inside(&mut self) -> Result<()> {
        Socket::route()?.send(&[link::up("lo")])
    }
    // ANCHOR_END: alone
}
