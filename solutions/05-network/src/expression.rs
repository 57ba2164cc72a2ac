//! Expressions: the words of which the rules of nftables are made.
//!
//! A rule is a small program over sixteen registers of four bytes. An expression loads something of the
//! packet into registers, or compares them, or looks them up, or decides. The rule goes on while comparisons
//! hold. Each function here writes one phrase of nft(8), named in its comment, as the expressions that nft
//! itself would send. Pure.

use std::ffi::c_int;
use std::net::Ipv6Addr;

use crate::message::Attributes;

const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_VERDICT_CHAIN: u16 = 2;
const NFTA_IMMEDIATE_DREG: u16 = 1;
const NFTA_IMMEDIATE_DATA: u16 = 2;
const NFTA_META_DREG: u16 = 1;
const NFTA_META_KEY: u16 = 2;
const NFTA_PAYLOAD_DREG: u16 = 1;
const NFTA_PAYLOAD_BASE: u16 = 2;
const NFTA_PAYLOAD_OFFSET: u16 = 3;
const NFTA_PAYLOAD_LEN: u16 = 4;
const NFTA_CT_DREG: u16 = 1;
const NFTA_CT_KEY: u16 = 2;
const NFTA_FIB_DREG: u16 = 1;
const NFTA_FIB_RESULT: u16 = 2;
const NFTA_FIB_FLAGS: u16 = 3;
const NFTA_CMP_SREG: u16 = 1;
const NFTA_CMP_OP: u16 = 2;
const NFTA_CMP_DATA: u16 = 3;
const NFTA_BITWISE_SREG: u16 = 1;
const NFTA_BITWISE_DREG: u16 = 2;
const NFTA_BITWISE_LEN: u16 = 3;
const NFTA_BITWISE_MASK: u16 = 4;
const NFTA_BITWISE_XOR: u16 = 5;
const NFTA_LOOKUP_SET: u16 = 1;
const NFTA_LOOKUP_SREG: u16 = 2;
const NFTA_LOOKUP_DREG: u16 = 3;
const NFTA_LOOKUP_FLAGS: u16 = 5;
const NFTA_NAT_TYPE: u16 = 1;
const NFTA_NAT_FAMILY: u16 = 2;
const NFTA_NAT_REG_ADDR_MIN: u16 = 3;
const NFTA_NAT_REG_PROTO_MIN: u16 = 5;

const NFT_FIB_RESULT_OIF: u32 = 1;
const NFT_FIB_RESULT_ADDRTYPE: u32 = 3;
const NFTA_FIB_F_SADDR: u32 = 1 << 0;
const NFTA_FIB_F_DADDR: u32 = 1 << 1;
const NFTA_FIB_F_IIF: u32 = 1 << 3;
/// `ct state`: an answer, or an error about a connection (`NF_CT_STATE_BIT`).
const ESTABLISHED_OR_RELATED: u32 = 1 << 1 | 1 << 2;
/// `ct status`: the destination was translated (`<linux/netfilter/nf_conntrack_common.h>`).
const IPS_DST_NAT: u32 = 1 << 5;

/// One expression: its name and its attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression(pub(crate) Attributes);

/// Some expressions that are one phrase.
pub type Phrase = Vec<Expression>;

/// A register of four bytes, 0 to 15. Longer values fill those behind it too.
type Register = u32;

/// Where the value of a map is put, behind the longest key.
const VALUE: Register = 8;

// ANCHOR: conditions
/// `iifname @SET`: the packet came in through one of these links.
pub fn iifname_in(set: &str) -> Phrase {
    vec![meta(libc::NFT_META_IIFNAME, 0), lookup(set, 0, 0)]
}

/// `oifname @SET`: it leaves through one of these.
pub fn oifname_in(set: &str) -> Phrase {
    vec![meta(libc::NFT_META_OIFNAME, 0), lookup(set, 0, 0)]
}

/// `oifname != @SET`
pub fn oifname_not_in(set: &str) -> Phrase {
    vec![meta(libc::NFT_META_OIFNAME, 0), lookup(set, 0, libc::NFT_LOOKUP_F_INV)]
}

/// `iifname . oifname @SET`: both names together are one key.
pub fn iifname_oifname_in(set: &str) -> Phrase {
    vec![meta(libc::NFT_META_IIFNAME, 0), meta(libc::NFT_META_OIFNAME, 4), lookup(set, 0, 0)]
}

/// `iifname ""`: it came in nowhere.
pub fn iifname_empty() -> Phrase {
    vec![meta(libc::NFT_META_IIFNAME, 0), equal(0, &[0; 16])]
}

/// `ct state established,related`
pub fn established() -> Phrase {
    has_bit(libc::NFT_CT_STATE, ESTABLISHED_OR_RELATED)
}

/// `ct status dnat`: a packet of a connection whose destination we translated.
pub fn translated() -> Phrase {
    has_bit(libc::NFT_CT_STATUS, IPS_DST_NAT)
}

/// `iifname != NAME`
pub fn iifname_is_not(name: &str) -> Phrase {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(16, 0);
    vec![meta(libc::NFT_META_IIFNAME, 0), compare(0, libc::NFT_CMP_NEQ, &bytes)]
}

/// `fib daddr type local`: it is for an address of this host.
pub fn for_this_host() -> Phrase {
    let local = u32::from(libc::RTN_LOCAL).to_ne_bytes();
    vec![fib(NFT_FIB_RESULT_ADDRTYPE, NFTA_FIB_F_DADDR), equal(0, &local)]
}

/// `fib saddr . iif oif 0`: an answer to its source would not leave by the link by which it came.
pub fn source_lies_elsewhere() -> Phrase {
    vec![fib(NFT_FIB_RESULT_OIF, NFTA_FIB_F_SADDR | NFTA_FIB_F_IIF), equal(0, &[0; 4])]
}

/// Where an IPv4 header has its source, in bytes from the beginning.
pub const SOURCE: u32 = 12;
/// And its destination.
pub const DESTINATION: u32 = 16;

/// `ip daddr 127.0.0.0/8`, or `ip saddr ..`: the first byte of that address.
pub fn loopback(offset: u32) -> Phrase {
    let first_byte = payload(libc::NFT_PAYLOAD_NETWORK_HEADER, offset, 1, 0);
    [family(libc::NFPROTO_IPV4), vec![first_byte, equal(0, &[127])]].concat()
}

/// `ip6 daddr ::1`: all of its destination, from the 25th byte of the header on.
pub fn for_loopback6() -> Phrase {
    let destination = payload(libc::NFT_PAYLOAD_NETWORK_HEADER, 24, 16, 0);
    [family(libc::NFPROTO_IPV6), vec![destination, equal(0, &Ipv6Addr::LOCALHOST.octets())]].concat()
}
// ANCHOR_END: conditions

// ANCHOR: statements
/// `accept`: goes on to the next hook.
pub fn accept() -> Phrase {
    vec![verdict(libc::NF_ACCEPT, None)]
}

/// `drop`
pub fn drop() -> Phrase {
    vec![verdict(libc::NF_DROP, None)]
}

/// `jump CHAIN`
pub fn jump(chain: &str) -> Phrase {
    vec![verdict(libc::NFT_JUMP, Some(chain))]
}

/// `masquerade`: the source becomes the address of the link through which it leaves.
pub fn masquerade() -> Phrase {
    vec![expression("masq", &Attributes::new())]
}

/// `dnat ip to [ip daddr .] meta l4proto . th dport map @MAP`, or `ip6`: the destination becomes what the map
/// says; nothing happens where it says nothing. `addressed`: whether the old address is a part of the key.
pub fn dnat(of: c_int, addressed: bool, map: &str) -> Phrase {
    let (offset, length) = if of == libc::NFPROTO_IPV4 { (16, 4) } else { (24, 16) };
    let words = length / 4; // Registers that an address fills.
    let mut phrase = family(of);
    if addressed {
        phrase.push(payload(libc::NFT_PAYLOAD_NETWORK_HEADER, offset, length, 0));
    }
    let next = if addressed { words } else { 0 };
    let nat = Attributes::new()
        .big_endian(NFTA_NAT_TYPE, libc::NFT_NAT_DNAT as u32)
        .big_endian(NFTA_NAT_FAMILY, of as u32)
        .big_endian(NFTA_NAT_REG_ADDR_MIN, register(VALUE))
        .big_endian(NFTA_NAT_REG_PROTO_MIN, register(VALUE + words));
    phrase.extend([
        meta(libc::NFT_META_L4PROTO, next),
        payload(libc::NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, next + 1),
        look_up_value(map, 0, VALUE),
        expression("nat", &nat),
    ]);
    phrase
}
// ANCHOR_END: statements

// ANCHOR: words
/// `meta nfproto ipv4`: must stand before anything that reads a header of that family.
fn family(of: c_int) -> Phrase {
    vec![meta(libc::NFT_META_NFPROTO, 0), equal(0, &[of as u8])]
}

/// Something about the packet that is not in it.
fn meta(key: c_int, into: Register) -> Expression {
    let body =
        Attributes::new().big_endian(NFTA_META_DREG, register(into)).big_endian(NFTA_META_KEY, key as u32);
    expression("meta", &body)
}

/// What the routing tables say of the packet.
fn fib(result: u32, flags: u32) -> Expression {
    let body = Attributes::new()
        .big_endian(NFTA_FIB_DREG, register(0))
        .big_endian(NFTA_FIB_RESULT, result)
        .big_endian(NFTA_FIB_FLAGS, flags);
    expression("fib", &body)
}

/// `length` bytes of a header, from `offset` on.
fn payload(header: c_int, offset: u32, length: u32, into: Register) -> Expression {
    let body = Attributes::new()
        .big_endian(NFTA_PAYLOAD_DREG, register(into))
        .big_endian(NFTA_PAYLOAD_BASE, header as u32)
        .big_endian(NFTA_PAYLOAD_OFFSET, offset)
        .big_endian(NFTA_PAYLOAD_LEN, length);
    expression("payload", &body)
}

/// Goes on where a number that is known about the packet's connection has one of these bits.
fn has_bit(key: c_int, bits: u32) -> Phrase {
    let load = Attributes::new().big_endian(NFTA_CT_DREG, register(0)).big_endian(NFTA_CT_KEY, key as u32);
    let mask = Attributes::new()
        .big_endian(NFTA_BITWISE_SREG, register(0))
        .big_endian(NFTA_BITWISE_DREG, register(0))
        .big_endian(NFTA_BITWISE_LEN, 4)
        .nest(NFTA_BITWISE_MASK, &value(&bits.to_ne_bytes()))
        .nest(NFTA_BITWISE_XOR, &value(&[0; 4]));
    vec![expression("ct", &load), expression("bitwise", &mask), compare(0, libc::NFT_CMP_NEQ, &[0; 4])]
}

/// Goes on where registers hold exactly these bytes.
fn equal(from: Register, bytes: &[u8]) -> Expression {
    compare(from, libc::NFT_CMP_EQ, bytes)
}

fn compare(from: Register, operator: c_int, bytes: &[u8]) -> Expression {
    let body = Attributes::new()
        .big_endian(NFTA_CMP_SREG, register(from))
        .big_endian(NFTA_CMP_OP, operator as u32)
        .nest(NFTA_CMP_DATA, &value(bytes));
    expression("cmp", &body)
}

/// Goes on where the key that starts in `from` is in the set; with NFT_LOOKUP_F_INV, where it is not.
fn lookup(set: &str, from: Register, flags: c_int) -> Expression {
    let body = Attributes::new()
        .text(NFTA_LOOKUP_SET, set)
        .big_endian(NFTA_LOOKUP_SREG, register(from))
        .big_endian(NFTA_LOOKUP_FLAGS, flags as u32);
    expression("lookup", &body)
}

/// Goes on where the key is in the map, with its value in `into`.
fn look_up_value(map: &str, from: Register, into: Register) -> Expression {
    let body = Attributes::new()
        .text(NFTA_LOOKUP_SET, map)
        .big_endian(NFTA_LOOKUP_SREG, register(from))
        .big_endian(NFTA_LOOKUP_DREG, register(into));
    expression("lookup", &body)
}

/// Ends the rule: the verdict is a register of its own.
fn verdict(code: c_int, chain: Option<&str>) -> Expression {
    let mut verdict = Attributes::new().big_endian(NFTA_VERDICT_CODE, code as u32);
    if let Some(chain) = chain {
        verdict = verdict.text(NFTA_VERDICT_CHAIN, chain);
    }
    let body = Attributes::new()
        .big_endian(NFTA_IMMEDIATE_DREG, libc::NFT_REG_VERDICT as u32)
        .nest(NFTA_IMMEDIATE_DATA, &Attributes::new().nest(NFTA_DATA_VERDICT, &verdict));
    expression("immediate", &body)
}

fn expression(name: &str, body: &Attributes) -> Expression {
    Expression(Attributes::new().text(NFTA_EXPR_NAME, name).nest(NFTA_EXPR_DATA, body))
}

fn value(bytes: &[u8]) -> Attributes {
    Attributes::new().bytes(NFTA_DATA_VALUE, bytes)
}

/// The kernel's number of a register.
fn register(number: Register) -> u32 {
    libc::NFT_REG32_00 as u32 + number
}
// ANCHOR_END: words
