//! A netlink socket: the line to the kernel's network code.
//!
//! We send messages, the kernel does what they say before `send` returns, and its answers wait in the socket:
//! data, and for each message one acknowledgement, which is an error with number 0. An error of ours comes
//! with the kernel's own words, if it has some: two options of the socket ask for them and for no copy of our
//! message.
//!
//! Invariants: an answer belongs to the message with its sequence number, so those of an earlier message that
//! failed disturb nobody. A socket stays in the network namespace in which it was opened. See netlink(7),
//! rtnetlink(7).

use std::ffi::c_int;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use process::{Context, Result};

use crate::message::{HEADER, Message};

/// The kernel never sends more in one piece.
const LARGEST_ANSWER: usize = 32 * 1024;

/// The attribute of an error that holds the kernel's words (`NLMSGERR_ATTR_MSG`).
const WORDS: u16 = 1;

/// A line to one part of the kernel.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
}

// ANCHOR: socket
impl Socket {
    /// A line to links, addresses and routes.
    ///
    /// # Errors
    /// The kernel has no such protocol, or we have too many open files.
    pub fn route() -> Result<Socket> {
        Socket::open(SockProtocol::NetlinkRoute)
    }

    /// A line to the firewall.
    ///
    /// # Errors
    /// As for [`Socket::route`].
    pub fn netfilter() -> Result<Socket> {
        Socket::open(SockProtocol::NetlinkNetFilter)
    }

    fn open(protocol: SockProtocol) -> Result<Socket> {
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)
            .during("open netlink socket", format!("{protocol:?}"))?;
        for option in [libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK] {
            switch_on(&fd, option).during("setsockopt", "netlink socket")?;
        }
        Ok(Socket { fd, sequence: 0 })
    }

    /// Sends messages in one piece and waits until each is acknowledged.
    ///
    /// # Errors
    /// Those of the first message that failed; later ones may have been done.
    pub fn send(&mut self, messages: &[Message]) -> Result<()> {
        self.ask(messages).map(drop)
    }

    /// The same, and what the kernel answered: each answer without its header.
    ///
    /// # Errors
    /// As for [`Socket::send`].
    pub fn ask(&mut self, messages: &[Message]) -> Result<Vec<Vec<u8>>> {
        let first = self.sequence;
        self.sequence += messages.len() as u32;
        let bytes: Vec<u8> = (first..).zip(messages).flat_map(|(number, m)| m.encode(number)).collect();
        send(self.fd.as_raw_fd(), &bytes, MsgFlags::empty()).during("send", "netlink message")?;

        let mut awaited = messages.iter().filter(|message| message.is_acknowledged()).count();
        let (mut buffer, mut replies) = (vec![0; LARGEST_ANSWER], Vec::new());
        while awaited > 0 {
            let length = recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::empty())
                .during("receive", "netlink message")?;
            for answer in answers(&buffer[..length]) {
                let number = answer.sequence.wrapping_sub(first) as usize;
                let Some(message) = messages.get(number) else { continue };
                match i32::from(answer.kind) {
                    libc::NLMSG_ERROR if answer.errno() != 0 => {
                        return Err(message.refused(Errno::from_raw(answer.errno()), &answer.words()));
                    }
                    libc::NLMSG_ERROR | libc::NLMSG_DONE => awaited -= 1,
                    _ => replies.push(answer.payload.to_vec()),
                }
            }
        }
        Ok(replies)
    }
}
// ANCHOR_END: socket

// ANCHOR: answer
/// One answer of the kernel.
struct Answer<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    payload: &'a [u8],
}

impl Answer<'_> {
    /// In an acknowledgement: 0, or what went wrong.
    fn errno(&self) -> i32 {
        self.payload.first_chunk().map_or(0, |bytes| -i32::from_ne_bytes(*bytes))
    }

    /// In an error: what the kernel says about it, behind the number and the header of our message.
    fn words(&self) -> String {
        if self.flags & libc::NLM_F_ACK_TLVS as u16 == 0 {
            return String::new();
        }
        let words = attribute(self.payload.get(4 + HEADER..).unwrap_or_default(), WORDS);
        String::from_utf8_lossy(words.unwrap_or_default()).trim_end_matches('\0').to_owned()
    }
}

/// The answers in a piece of bytes.
fn answers(mut bytes: &[u8]) -> Vec<Answer<'_>> {
    let mut answers = Vec::new();
    while let Some(header) = bytes.first_chunk::<HEADER>() {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let Some(payload) = bytes.get(HEADER..length) else { break };
        answers.push(Answer {
            kind: u16::from_ne_bytes([header[4], header[5]]),
            flags: u16::from_ne_bytes([header[6], header[7]]),
            sequence: u32::from_ne_bytes([header[8], header[9], header[10], header[11]]),
            payload,
        });
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    answers
}

/// The value of the first attribute of a kind in a piece of bytes.
pub(crate) fn attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    while let Some(header) = bytes.first_chunk::<4>() {
        let length = u16::from_ne_bytes([header[0], header[1]]) as usize;
        let kind = u16::from_ne_bytes([header[2], header[3]]) & libc::NLA_TYPE_MASK as u16;
        let value = bytes.get(4..length)?;
        if kind == wanted {
            return Some(value);
        }
        bytes = bytes.get(length.next_multiple_of(4)..)?;
    }
    None
}
// ANCHOR_END: answer

/// Sets an option of netlink sockets to 1.
fn switch_on(socket: &OwnedFd, option: c_int) -> nix::Result<()> {
    let (on, size) = (1 as c_int, size_of::<c_int>() as libc::socklen_t);
    // SAFETY: `on` outlives the call and has the size that we name.
    let done = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_NETLINK, option, (&raw const on).cast(), size)
    };
    Errno::result(done).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Attributes;

    /// An error as the kernel sends it: number, header of our message, its words.
    fn error(errno: i32, words: &str) -> Vec<u8> {
        let fixed = [&(-errno).to_ne_bytes()[..], &[0; HEADER]].concat();
        let body = Attributes::after(&fixed).text(WORDS, words);
        Message::new("", "", libc::NLMSG_ERROR as u16, libc::NLM_F_ACK_TLVS, body).encode(3)
    }

    #[test]
    fn several_answers_come_in_one_piece() {
        let bytes = [error(0, ""), error(libc::EEXIST, "it is there")].concat();
        let answers = answers(&bytes);
        assert_eq!(answers.iter().map(Answer::errno).collect::<Vec<_>>(), [0, libc::EEXIST]);
        assert_eq!(answers[1].words(), "it is there");
        assert_eq!(answers[1].sequence, 3);
    }

    #[test]
    fn a_broken_piece_ends_the_list() {
        let bytes = error(libc::EPERM, "no");
        assert!(answers(&bytes[..bytes.len() - 1]).is_empty());
        assert!(answers(&[0; 64]).is_empty() && attribute(&[1, 0, 0, 0], 0).is_none());
    }
}
