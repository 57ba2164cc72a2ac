//! Connection tracking: what the kernel remembers of every flow, and that it must forget some of them.
//!
//! The first packet of a flow asks the rules; for all others, the kernel does what it did for that one. So whoever
//! goes on sending to a port that was published keeps reaching the address behind it: also when the port is gone, and
//! the address another container's. TCP notices that its peer has changed; UDP does not.
//!
//! See `<linux/netfilter/nfnetlink_conntrack.h>`. A filter says which parts of a flow are compared (Linux 5.8).

use std::net::IpAddr;

use nix::errno::Errno;
use process::Result;

use crate::Published;
use crate::address::{family, octets};
use crate::message::{Attributes, Message};
use crate::netlink::Socket;
use crate::port::Protocol;

const NFNL_SUBSYS_CTNETLINK: u16 = 1;
const IPCTNL_MSG_CT_DELETE: u16 = 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_FILTER: u16 = 25;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_DST_PORT: u16 = 3;
/// Which parts of a tuple are compared: the source address; or protocol and destination port.
const SOURCE: u32 = 1 << 0;
const PROTOCOL_AND_PORT: u32 = 1 << 3 | 1 << 5;

// ANCHOR: forget
/// Forgets every flow that a container with one of these addresses began, or answers.
///
/// # Errors
/// Those of the kernel.
pub fn forget(addresses: &[IpAddr]) -> Result<()> {
    let of = |address: &IpAddr| {
        let source = if address.is_ipv4() { CTA_IP_V4_SRC } else { CTA_IP_V6_SRC };
        let ip = Attributes::new().bytes(source, &octets(*address));
        let tuple = Attributes::new().nest(CTA_TUPLE_IP, &ip);
        let subject = address.to_string();
        // In the tuple of the answers, it is the source of whatever it is asked, translated or not.
        [CTA_TUPLE_ORIG, CTA_TUPLE_REPLY]
            .map(|direction| delete(*address, &subject, direction, &tuple, SOURCE))
    };
    send(&addresses.iter().flat_map(of).collect::<Vec<_>>())
}

/// Forgets the flows of UDP ports that came before these were published: they would go on past the container.
///
/// # Errors
/// Those of the kernel.
pub fn forget_ports(ports: &[Published], addresses: &[IpAddr]) -> Result<()> {
    let of = |port: &Published| {
        let proto = Attributes::new()
            .bytes(CTA_PROTO_NUM, &[port.protocol as u8])
            .bytes(CTA_PROTO_DST_PORT, &port.host.to_be_bytes());
        let (tuple, subject) = (Attributes::new().nest(CTA_TUPLE_PROTO, &proto), port.to_string());
        let one =
            move |address: &IpAddr| delete(*address, &subject, CTA_TUPLE_ORIG, &tuple, PROTOCOL_AND_PORT);
        addresses.iter().map(one).collect::<Vec<_>>()
    };
    let udp = ports.iter().filter(|port| port.protocol == Protocol::Udp);
    let messages: Vec<Message> = udp.flat_map(of).collect();
    if messages.is_empty() { Ok(()) } else { send(&messages) }
}
// ANCHOR_END: forget

fn send(messages: &[Message]) -> Result<()> {
    Socket::netfilter()?.send(messages).map_err(|error| match error.errno {
        Errno::EINVAL | Errno::EOPNOTSUPP => error
            .because("this kernel lacks CONFIG_NF_CT_NETLINK; `sudo modprobe nf_conntrack_netlink` loads it"),
        _ => error,
    })
}

/// Deletes the flows of `address`'s family whose tuple of one direction is like `tuple` in the parts that count.
fn delete(address: IpAddr, subject: &str, direction: u16, tuple: &Attributes, parts: u32) -> Message {
    // CTA_FILTER_ORIG_FLAGS is 1, CTA_FILTER_REPLY_FLAGS 2: the numbers of the directions.
    let filter = Attributes::new().number(direction, parts);
    let body = Attributes::after(&[family(address), libc::NFNETLINK_V0 as u8, 0, 0])
        .nest(direction, tuple)
        .nest(CTA_FILTER, &filter);
    let kind = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE;
    Message::new("forget the flows of", subject, kind, 0, body)
}
