//! Netlink messages: how a wish to the kernel is written down.
//!
//! A message is a header, a fixed part that its kind prescribes, and a list of attributes:
//!
//! ```text
//! length u32 | kind u16 | flags u16 | sequence u32 | sender u32 | fixed part | attribute | attribute ...
//! attribute:  length u16 | kind u16 | value, padded to four bytes; it may be a list of attributes again
//! ```
//!
//! Lengths include their own header, and not the padding. All numbers are in the machine's byte order, except
//! the values of nftables, which are in the network's. See netlink(7) and the kernel's
//! Documentation/userspace-api/netlink/intro.rst. Pure data: nothing here talks to the kernel.

use std::ffi::c_int;

use nix::errno::Errno;
use process::Error;

// ANCHOR: attributes
/// A list of attributes, ready to be sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Attributes(Vec<u8>);

impl Attributes {
    /// An empty list.
    pub fn new() -> Attributes {
        Attributes::default()
    }

    /// An empty list behind a fixed part, whose size is a multiple of four.
    pub fn after(fixed: &[u8]) -> Attributes {
        Attributes(fixed.to_vec())
    }

    // ANCHOR: attribute
    /// One attribute more, with any value.
    pub fn bytes(mut self, kind: u16, value: &[u8]) -> Attributes {
        let length = u16::try_from(4 + value.len()).expect("an attribute of less than 64 KiB");
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// A list within the list.
    pub fn nest(self, kind: u16, inner: &Attributes) -> Attributes {
        self.bytes(kind | libc::NLA_F_NESTED as u16, &inner.0)
    }
    // ANCHOR_END: attribute

    /// Text, which ends with a zero byte.
    pub fn text(self, kind: u16, value: &str) -> Attributes {
        self.bytes(kind, &[value.as_bytes(), b"\0"].concat())
    }

    /// A number in the machine's byte order.
    pub fn number(self, kind: u16, value: u32) -> Attributes {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// A number in the network's byte order, as nftables wants it.
    pub fn big_endian(self, kind: u16, value: u32) -> Attributes {
        self.bytes(kind, &value.to_be_bytes())
    }
}
// ANCHOR_END: attributes

// ANCHOR: message
/// One wish: what it is called in errors, and what it says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Message {
    operation: &'static str,
    subject: String,
    kind: u16,
    flags: u16,
    body: Attributes,
}

/// The size of `struct nlmsghdr`.
pub const HEADER: usize = 16;

impl Message {
    /// `operation` and `subject` are for people. `kind` and `flags` are the kernel's, `RTM_NEWLINK` and
    /// `NLM_F_CREATE`; that it is a request to be acknowledged goes without saying.
    pub fn new(operation: &'static str, subject: &str, kind: u16, flags: c_int, body: Attributes) -> Message {
        let flags = (flags | libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
        Message { operation, subject: subject.to_owned(), kind, flags, body }
    }

    /// The same message, but the kernel answers only if it fails.
    pub fn unacknowledged(self) -> Message {
        Message { flags: self.flags & !(libc::NLM_F_ACK as u16), ..self }
    }

    /// Whether an answer must be awaited.
    pub fn is_acknowledged(&self) -> bool {
        self.flags & libc::NLM_F_ACK as u16 != 0
    }

    /// The bytes to send. The answer will carry the same sequence number.
    pub fn encode(&self, sequence: u32) -> Vec<u8> {
        let length = (HEADER + self.body.0.len()) as u32;
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(self.kind.to_ne_bytes());
        bytes.extend(self.flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend(0_u32.to_ne_bytes()); // From us; the kernel knows who that is.
        bytes.extend(&self.body.0);
        bytes
    }

    /// The kernel refused it, in these words if it had any.
    pub fn refused(&self, errno: Errno, words: &str) -> Error {
        let cause = match errno {
            Errno::EPERM if words.is_empty() => "it needs CAP_NET_ADMIN in the network namespace",
            _ => words,
        };
        Error::new(self.operation, &self.subject, errno).because(cause)
    }
}
// ANCHOR_END: message

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_padded_and_lengths_do_not_count_it() {
        let list = Attributes::new().text(3, "eth0").bytes(1, &[7]);
        let expected: Vec<u8> = [
            [9_u16.to_ne_bytes(), 3_u16.to_ne_bytes()].concat(),
            b"eth0\0\0\0\0".to_vec(),
            [5_u16.to_ne_bytes(), 1_u16.to_ne_bytes()].concat(),
            vec![7, 0, 0, 0],
        ]
        .concat();
        assert_eq!(list.0, expected);
    }

    #[test]
    fn a_nest_is_marked_and_holds_a_list() {
        let list = Attributes::after(&[0; 4]).nest(2, &Attributes::new().number(1, 9).big_endian(2, 1));
        assert_eq!(list.0[..4], [0; 4]);
        assert_eq!(list.0[4..8], [20_u16.to_ne_bytes(), 0x8002_u16.to_ne_bytes()].concat());
        assert_eq!(list.0[12..16], 9_u32.to_ne_bytes());
        assert_eq!(list.0[20..], [0, 0, 0, 1]);
    }

    #[test]
    fn a_message_knows_its_length_and_number() {
        let message = Message::new("find link", "eth0", 18, 0, Attributes::new().number(1, 9));
        let bytes = message.encode(7);
        assert_eq!(bytes[..4], 24_u32.to_ne_bytes());
        assert_eq!(bytes[4..8], [18_u16.to_ne_bytes(), 5_u16.to_ne_bytes()].concat());
        assert_eq!(bytes[8..12], 7_u32.to_ne_bytes());
        assert!(message.is_acknowledged() && !message.unacknowledged().is_acknowledged());
    }
}
