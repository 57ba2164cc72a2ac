//! Links and firewall rules, tried in a network namespace of their own.
//!
//! Three netlink requests tell whether the kernel has the parts of chapter 5, be they built in or modules:
//! make a veth pair, make a bridge, ask nftables for its generation. The messages are built on the stack;
//! the chapter builds its own, with more care.

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};
use std::os::fd::AsRawFd;

use super::attempt::{Failure, Step, Trouble, attempt_in};
use super::probe::{Gap, Probe};
use crate::course::Need;

const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const EXCLUSIVE: u16 = 0x200;
const CREATE: u16 = 0x400;
const LINK_INFO: u16 = 18;
const INFO_KIND: u16 = 1;
const GET_GENERATION: u16 = 10 << 8 | 16;

/// Links first, then nftables.
pub fn probes() -> Vec<Probe> {
    let kinds = CloneFlags::CLONE_NEWNET;
    vec![
        judge("veth", attempt_in(kinds, || link(b"veth", "make a veth pair")), "veth"),
        judge("bridge", attempt_in(kinds, || link(b"bridge", "make a bridge")), "bridge"),
        judge("nftables", attempt_in(kinds, nftables), "nf_tables"),
    ]
}

fn judge(name: &'static str, tried: Result<(), Failure>, module: &str) -> Probe {
    let probe = match tried {
        Ok(()) => Probe::ok(name, "the kernel has it"),
        Err(failure) => {
            let means = match failure.errno {
                Errno::EPERM | Errno::EACCES => "Something forbids it in a user namespace.",
                _ => "The kernel has no such module loaded, and did not load it by itself.",
            };
            Probe::missing(name, failure.to_string(), Gap::new(means, format!("sudo modprobe {module}")))
        }
    };
    probe.for_chapters([5]).for_need(Need::Network)
}

/// `RTM_NEWLINK` with nothing but a kind.
fn link(kind: &[u8], step: &'static str) -> Result<(), Trouble> {
    let mut message = Message::new(libc::RTM_NEWLINK, REQUEST | ACKNOWLEDGE | CREATE | EXCLUSIVE);
    message.put(&[0; 16]);
    let nest = message.open(LINK_INFO);
    let inner = message.open(INFO_KIND);
    message.put(kind);
    message.close(inner);
    message.close(nest);
    message.exchange(SockProtocol::NetlinkRoute).step(step)
}

fn nftables() -> Result<(), Trouble> {
    let mut message = Message::new(GET_GENERATION, REQUEST | ACKNOWLEDGE);
    message.put(&[0; 4]);
    message.exchange(SockProtocol::NetlinkNetFilter).step("ask nftables")
}

/// One netlink message on the stack.
struct Message {
    bytes: [u8; 96],
    size: usize,
}

impl Message {
    fn new(kind: u16, flags: u16) -> Message {
        let mut message = Message { bytes: [0; 96], size: 16 };
        message.bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        message.bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        message
    }

    /// Appends bytes, padded to a multiple of four.
    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.size..self.size + bytes.len()].copy_from_slice(bytes);
        self.size += bytes.len().next_multiple_of(4);
    }

    /// Begins an attribute; returns where.
    fn open(&mut self, kind: u16) -> usize {
        let begin = self.size;
        self.bytes[begin + 2..begin + 4].copy_from_slice(&kind.to_ne_bytes());
        self.size += 4;
        begin
    }

    /// Ends the attribute that began there.
    fn close(&mut self, begin: usize) {
        let size = (self.size - begin) as u16;
        self.bytes[begin..begin + 2].copy_from_slice(&size.to_ne_bytes());
    }

    /// Sends it and reads the kernel's answer: an error message, or any other for success.
    fn exchange(&mut self, protocol: SockProtocol) -> nix::Result<()> {
        let size = self.size as u32;
        self.bytes[..4].copy_from_slice(&size.to_ne_bytes());
        let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        let kernel = NetlinkAddr::new(0, 0);
        sendto(socket.as_raw_fd(), &self.bytes[..self.size], &kernel, MsgFlags::empty())?;
        let mut answer = [0; 512];
        let size = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
        let kind = u16::from_ne_bytes([answer[4], answer[5]]);
        if size >= 20 && i32::from(kind) == libc::NLMSG_ERROR {
            let code = i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]);
            return if code == 0 { Ok(()) } else { Err(Errno::from_raw(-code)) };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::probe::Outcome;

    #[test]
    fn a_missing_module_is_told_from_a_forbidden_one() {
        let failed = |errno| Err(Failure { step: "make a bridge".into(), errno });
        let missing = judge("bridge", failed(Errno::EOPNOTSUPP), "bridge");
        assert_eq!(missing.outcome, Outcome::Missing);
        assert_eq!(missing.fix, "sudo modprobe bridge");
        assert!(judge("bridge", failed(Errno::EPERM), "bridge").means.contains("forbids"));
    }

    #[test]
    fn attributes_hold_their_size() {
        let mut message = Message::new(libc::RTM_NEWLINK, REQUEST);
        let begin = message.open(LINK_INFO);
        message.put(b"veth");
        message.close(begin);
        assert_eq!(message.size, 24);
        assert_eq!(message.bytes[16..20], [8, 0, 18, 0]);
    }
}
