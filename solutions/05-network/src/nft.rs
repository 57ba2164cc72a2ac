//! nftables: messages that build a firewall, and the batch that makes them one step.
//!
//! A table holds sets, maps and chains; a chain holds rules, and hangs on a hook of the kernel or is jumped
//! to from another; a rule is a list of expressions ([`crate::expression`]). Changes come in batches: between
//! "begin" and "end" all of them happen, for the packets at one moment, or none.
//!
//! Everything is added in the sense of `nft add`: what is there already is left as it is. All numbers are
//! big-endian. There is no manual page; `nft --debug=all` shows what nft(8) sends, and the attributes are
//! explained in `<linux/netfilter/nf_tables.h>`.

use nix::errno::Errno;
use process::Result;

use crate::expression::Expression;
use crate::message::{Attributes, Message};
use crate::netlink::{self, Socket};

const NFTA_LIST_ELEM: u16 = 1;
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_TABLE_USERDATA: u16 = 6;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
const NFTA_SET_TABLE: u16 = 1;
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_FLAGS: u16 = 3;
const NFTA_SET_KEY_TYPE: u16 = 4;
const NFTA_SET_KEY_LEN: u16 = 5;
const NFTA_SET_DATA_TYPE: u16 = 6;
const NFTA_SET_DATA_LEN: u16 = 7;
const NFTA_SET_ID: u16 = 10;
const NFTA_SET_USERDATA: u16 = 13;
const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;

// ANCHOR: batch
/// The one table that is ours, for packets of both families.
const TABLE: &str = "gantry";

/// Does all of it, or nothing. The kernel speaks up where something fails, so the last message alone asks for
/// an answer: a thousand would overflow the socket.
///
/// # Errors
/// Those of the first message that failed.
pub fn commit(socket: &mut Socket, changes: Vec<Message>) -> Result<()> {
    let last = changes.len().saturating_sub(1);
    let quiet =
        |(number, change): (usize, Message)| if number < last { change.unacknowledged() } else { change };
    let mut batch = vec![mark("begin batch", libc::NFNL_MSG_BATCH_BEGIN)];
    batch.extend(changes.into_iter().enumerate().map(quiet));
    batch.push(mark("end batch", libc::NFNL_MSG_BATCH_END));
    socket.send(&batch)
}

/// One end of a batch. `struct nfgenmsg`: no family, version, and for whom the batch is.
fn mark(operation: &'static str, kind: i32) -> Message {
    let [high, low] = (libc::NFNL_SUBSYS_NFTABLES as u16).to_be_bytes();
    let body = Attributes::after(&[0, libc::NFNETLINK_V0 as u8, high, low]);
    Message::new(operation, "nftables", kind as u16, 0, body).unacknowledged()
}

/// A message about `subject`, something in our table.
fn message(operation: &'static str, subject: &str, kind: i32, flags: i32, attributes: Attributes) -> Message {
    let kind = (libc::NFNL_SUBSYS_NFTABLES << 8 | kind) as u16;
    Message::new(operation, subject, kind, flags, attributes)
}

/// Attributes for the table's family, `inet`.
fn inet() -> Attributes {
    Attributes::after(&[libc::NFPROTO_INET as u8, libc::NFNETLINK_V0 as u8, 0, 0])
}
// ANCHOR_END: batch

// ANCHOR: table
/// `add table inet gantry { comment COMMENT; }`. A table that is there keeps its comment.
pub fn table(comment: &str) -> Message {
    let body = inet().text(NFTA_TABLE_NAME, TABLE).bytes(NFTA_TABLE_USERDATA, &note(comment));
    message("add table", TABLE, libc::NFT_MSG_NEWTABLE, libc::NLM_F_CREATE, body)
}

/// Whether our table is there, with this comment.
///
/// # Errors
/// Those of the kernel.
pub fn has_table(socket: &mut Socket, comment: &str) -> Result<bool> {
    let question =
        message("get table", TABLE, libc::NFT_MSG_GETTABLE, 0, inet().text(NFTA_TABLE_NAME, TABLE));
    match socket.ask(&[question]) {
        Ok(replies) => Ok(replies.iter().any(|reply| {
            netlink::attribute(reply.get(4..).unwrap_or_default(), NFTA_TABLE_USERDATA)
                == Some(&note(comment))
        })),
        Err(error) if error.errno == Errno::ENOENT => Ok(false),
        Err(error) => Err(error),
    }
}

/// A comment as nft writes it, which the kernel only keeps: type 0, length, text.
fn note(comment: &str) -> Vec<u8> {
    [&[0, comment.len() as u8 + 1], comment.as_bytes(), b"\0"].concat()
}

/// `flush table inet gantry`: deletes the rules of all its chains, and nothing else.
pub fn flush() -> Message {
    message("flush table", TABLE, libc::NFT_MSG_DELRULE, 0, inet().text(NFTA_RULE_TABLE, TABLE))
}

/// Where a chain hangs in the kernel.
#[derive(Debug, Clone, Copy)]
pub struct Hook {
    /// What its rules may do: `filter`, or `nat`, which sees the first packet of a connection only.
    pub kind: &'static str,
    /// The point of a packet's way, `NF_INET_FORWARD`.
    pub point: i32,
    /// Chains of one point come in this order, the smallest first.
    pub priority: i32,
}

/// `add chain inet gantry NAME { type KIND hook POINT priority PRIORITY; }`, or one to jump to.
pub fn chain(name: &str, hook: Option<Hook>) -> Message {
    let mut body = inet().text(NFTA_CHAIN_TABLE, TABLE).text(NFTA_CHAIN_NAME, name);
    if let Some(hook) = hook {
        let place = Attributes::new()
            .big_endian(NFTA_HOOK_HOOKNUM, hook.point as u32)
            .big_endian(NFTA_HOOK_PRIORITY, hook.priority as u32);
        body = body.nest(NFTA_CHAIN_HOOK, &place).text(NFTA_CHAIN_TYPE, hook.kind);
    }
    message("add chain", name, libc::NFT_MSG_NEWCHAIN, libc::NLM_F_CREATE, body)
}

/// `add rule inet gantry CHAIN EXPRESSIONS`
pub fn rule(chain: &str, expressions: &[Expression]) -> Message {
    let list = expressions.iter().fold(Attributes::new(), |list, one| list.nest(NFTA_LIST_ELEM, &one.0));
    let body =
        inet().text(NFTA_RULE_TABLE, TABLE).text(NFTA_RULE_CHAIN, chain).nest(NFTA_RULE_EXPRESSIONS, &list);
    message("add rule", chain, libc::NFT_MSG_NEWRULE, libc::NLM_F_CREATE | libc::NLM_F_APPEND, body)
}
// ANCHOR_END: table

// ANCHOR: set
/// What a part of a set's key is. The number is nft's own: the kernel does not care, `nft list` reads it.
#[derive(Debug, Clone, Copy)]
pub enum Type {
    /// `ipv4_addr`, 4 bytes.
    Ipv4Addr = 7,
    /// `ipv6_addr`, 16 bytes.
    Ipv6Addr = 8,
    /// `inet_proto`, 1 byte.
    InetProto = 12,
    /// `inet_service`, a port, 2 bytes.
    InetService = 13,
    /// `ifname`, 16 bytes.
    Ifname = 41,
}

/// A note to `nft list`, which would print names backwards: type 0, 4 bytes, "keys are in the machine's
/// order".
const NAMES_ARE_TEXT: [u8; 6] = {
    let [a, b, c, d] = 1_u32.to_ne_bytes();
    [0, 4, a, b, c, d]
};

/// The type of several parts together, `ipv4_addr . inet_service`: six bits each.
fn concatenated(types: &[Type]) -> u32 {
    types.iter().fold(0, |all, one| all << 6 | *one as u32)
}

/// The size in bytes; each part fills whole registers of four.
fn size(types: &[Type]) -> u32 {
    let size_of = |one: &Type| if matches!(one, Type::Ipv6Addr | Type::Ifname) { 16 } else { 4 };
    types.iter().map(size_of).sum()
}

/// `add set inet gantry NAME { type KEY; }`, or `add map ... { type KEY : VALUE; }` where there is a value.
pub fn set(name: &str, key: &[Type], value: &[Type]) -> Message {
    let mut body = inet()
        .text(NFTA_SET_TABLE, TABLE)
        .text(NFTA_SET_NAME, name)
        .big_endian(NFTA_SET_ID, 1) // A second name within the batch. We need none; the kernel insists.
        .big_endian(NFTA_SET_KEY_TYPE, concatenated(key))
        .big_endian(NFTA_SET_KEY_LEN, size(key));
    if let [Type::Ifname] = key {
        body = body.bytes(NFTA_SET_USERDATA, &NAMES_ARE_TEXT);
    }
    if !value.is_empty() {
        body = body
            .big_endian(NFTA_SET_FLAGS, libc::NFT_SET_MAP as u32)
            .big_endian(NFTA_SET_DATA_TYPE, concatenated(value))
            .big_endian(NFTA_SET_DATA_LEN, size(value));
    }
    message("add set", name, libc::NFT_MSG_NEWSET, libc::NLM_F_CREATE, body)
}

/// One member of a set, or one entry of a map: key and value as they stand in the registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// The set or map.
    pub set: &'static str,
    /// The parts of its key.
    pub key: Vec<u8>,
    /// The parts of its value; nothing in a set.
    pub value: Vec<u8>,
}

impl Element {
    /// `add element inet gantry SET { KEY : VALUE }`. Fails with EEXIST, or EBUSY, where the key
    /// has another value.
    pub fn add(&self, subject: &str) -> Message {
        message("add element", subject, libc::NFT_MSG_NEWSETELEM, libc::NLM_F_CREATE, self.list())
    }

    /// `create element ...`: fails with EEXIST where the key is there.
    pub fn create(&self, subject: &str) -> Message {
        let new = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        message("create element", subject, libc::NFT_MSG_NEWSETELEM, new, self.list())
    }

    /// `delete element ...`: fails with ENOENT where the key is not there.
    pub fn delete(&self, subject: &str) -> Message {
        message("delete element", subject, libc::NFT_MSG_DELSETELEM, 0, self.list())
    }

    fn list(&self) -> Attributes {
        let datum = |bytes: &[u8]| Attributes::new().bytes(NFTA_DATA_VALUE, bytes);
        let mut element = Attributes::new().nest(NFTA_SET_ELEM_KEY, &datum(&self.key));
        if !self.value.is_empty() {
            element = element.nest(NFTA_SET_ELEM_DATA, &datum(&self.value));
        }
        inet()
            .text(NFTA_SET_ELEM_LIST_TABLE, TABLE)
            .text(NFTA_SET_ELEM_LIST_SET, self.set)
            .nest(NFTA_SET_ELEM_LIST_ELEMENTS, &Attributes::new().nest(NFTA_LIST_ELEM, &element))
    }
}
// ANCHOR_END: set

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_parts_has_a_type_and_a_size_of_all_of_them() {
        let key = [Type::Ipv4Addr, Type::InetProto, Type::InetService];
        assert_eq!((concatenated(&key), size(&key)), (7 << 12 | 12 << 6 | 13, 12));
        assert_eq!(size(&[Type::Ifname, Type::Ifname]), 32);
    }

    #[test]
    fn a_batch_is_for_nftables_and_asks_for_no_answer() {
        let begin = mark("begin batch", libc::NFNL_MSG_BATCH_BEGIN);
        assert!(!begin.is_acknowledged());
        assert_eq!(begin.encode(0)[16..], [0, 0, 0, 10]);
        assert_eq!(begin.encode(0)[4..8], [16_u16.to_ne_bytes(), 1_u16.to_ne_bytes()].concat());
    }

    #[test]
    fn an_element_is_a_key_and_perhaps_a_value() {
        let element = Element { set: "any4", key: vec![6, 0, 0, 0], value: vec![172, 30, 0, 2] };
        let (entry, member) = (element.add(""), Element { value: Vec::new(), ..element }.add(""));
        assert_eq!(entry.encode(0).len() - member.encode(0).len(), 4 + 4 + 4);
    }
}
