//! Links: bridges, and virtual Ethernet pairs, whose ends are two network cards with a cable between them.
//!
//! Links have a number and a name; most messages may use the name. A bridge is a switch: a link that is its
//! port gives it all it receives. Pure messages, except for [`index`]. See rtnetlink(7), veth(4), ip-link(8).

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use process::{Error, Result};

use crate::message::{Attributes, Message};
use crate::netlink::{Socket, attribute};
use crate::sysctl;

/// The attribute of a pair that describes its other end (`<linux/veth.h>`).
const VETH_INFO_PEER: u16 = 1;

/// The attribute of a bridge port that lets a frame leave where it came in (`<linux/if_link.h>`).
const IFLA_BRPORT_MODE: u16 = 4;

/// How a link gets its first IPv6 address, and that it gets none (`<linux/if_link.h>`).
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;

/// A link-layer address, six bytes.
pub type Mac = [u8; 6];

/// The address for the link that has this IPv4 address: locally administered, and never two alike on one bridge.
/// Whoever remembers the pair of both (ARP) from an earlier owner still remembers the truth.
pub fn mac(address: Ipv4Addr) -> Mac {
    let [a, b, c, d] = address.octets();
    [0x02, 0x42, a, b, c, d]
}

/// A pair: one end is a port of a bridge here, the other is born in another namespace.
#[derive(Debug)]
pub struct Veth<'a> {
    /// Our end's name, at most 15 bytes.
    pub name: &'a str,
    /// The number of the bridge.
    pub bridge: u32,
    /// The other end's name.
    pub peer: &'a str,
    /// The other end's link-layer address.
    pub peer_mac: Mac,
    /// The namespace of the other end.
    pub netns: BorrowedFd<'a>,
    /// The largest packet, in bytes; both ends must agree.
    pub mtu: u32,
}

impl Veth<'_> {
    // ANCHOR: veth
    /// Makes it; both ends are off. Fails with EEXIST if either name is taken.
    pub fn create(&self) -> Message {
        todo!("5.3 Lay a cable")
    }
    // ANCHOR_END: veth
}

// ANCHOR: link
/// Makes a bridge; does nothing to one that is there, and fails with EOPNOTSUPP where the
/// name is that of another kind of link. Left alone, a bridge takes the smallest link-layer address of its
/// ports, and everybody's neighbour tables are wrong when a container comes or goes.
pub fn bridge(name: &str, mac: Mac) -> Message {
    let body = Attributes::after(&header(false))
        .text(libc::IFLA_IFNAME, name)
        .bytes(libc::IFLA_ADDRESS, &mac)
        // Data, even if there is none: else the kernel would not look whether the link that is there is a
        // bridge.
        .nest(libc::IFLA_LINKINFO, &kind("bridge").nest(libc::IFLA_INFO_DATA, &Attributes::new()));
    Message::new("create bridge", name, libc::RTM_NEWLINK, libc::NLM_F_CREATE, body)
}

/// Readies our end of a pair and switches it on.
///
/// It may send a frame back where it came from, to a container that asks for its own published port: needed where
/// `bridge-nf-call-iptables` is on, for then a bridge translates addresses itself and does not ask the host. And it
/// has no IPv6 address of its own: a port of a switch speaks with nobody.
pub fn port(name: &str) -> Message {
    let hairpin = Attributes::new()
        .text(libc::IFLA_INFO_SLAVE_KIND, "bridge")
        .nest(libc::IFLA_INFO_SLAVE_DATA, &Attributes::new().bytes(IFLA_BRPORT_MODE, &[1]));
    let no_address = Attributes::new().bytes(IFLA_INET6_ADDR_GEN_MODE, &[IN6_ADDR_GEN_MODE_NONE]);
    let mut body =
        Attributes::after(&header(true)).text(libc::IFLA_IFNAME, name).nest(libc::IFLA_LINKINFO, &hairpin);
    if sysctl::has_ipv6() {
        body = body.nest(libc::IFLA_AF_SPEC, &Attributes::new().nest(libc::AF_INET6 as u16, &no_address));
    }
    Message::new("ready port", name, libc::RTM_NEWLINK, 0, body)
}

/// Switches a link on.
pub fn up(name: &str) -> Message {
    let body = Attributes::after(&header(true)).text(libc::IFLA_IFNAME, name);
    Message::new("set up", name, libc::RTM_NEWLINK, 0, body)
}

/// Deletes a link; the other end of a pair goes with it.
pub fn delete(name: &str) -> Message {
    let body = Attributes::after(&header(false)).text(libc::IFLA_IFNAME, name);
    Message::new("delete link", name, libc::RTM_DELLINK, 0, body)
}

/// What the kernel says of a link.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// Its number.
    pub index: u32,
    /// Whether it is switched on.
    pub up: bool,
    /// Whether it is a bridge.
    pub is_bridge: bool,
    /// The largest packet, in bytes.
    pub mtu: Option<u32>,
}

/// Finds a link by its name.
///
/// # Errors
/// ENODEV: there is none of this name.
pub fn find(socket: &mut Socket, name: &str) -> Result<Found> {
    let body = Attributes::after(&header(false)).text(libc::IFLA_IFNAME, name);
    let replies = socket.ask(&[Message::new("find link", name, libc::RTM_GETLINK, 0, body)])?;
    let found = replies.first().and_then(|reply| {
        // `struct ifinfomsg` again, with the attributes behind it.
        let number = |bytes: Option<&[u8]>| Some(u32::from_ne_bytes(*bytes?.first_chunk()?));
        let (index, flags) = (number(reply.get(4..))?, number(reply.get(8..))?);
        let of = |kind| attribute(reply.get(16..)?, kind);
        let kind = of(libc::IFLA_LINKINFO).and_then(|info| attribute(info, libc::IFLA_INFO_KIND));
        Some(Found {
            index,
            up: flags & libc::IFF_UP as u32 != 0,
            is_bridge: kind == Some(b"bridge\0"),
            mtu: number(of(libc::IFLA_MTU)),
        })
    });
    found.ok_or_else(|| Error::new("find link", name, Errno::ENODEV))
}
// ANCHOR_END: link

/// `struct ifinfomsg`: family, kind of hardware, number, flags, and which flags to change. We name links by
/// name and change one flag at most.
fn header(up: bool) -> Vec<u8> {
    let flags = if up { libc::IFF_UP } else { 0 };
    [[0; 4], [0; 4], flags.to_ne_bytes(), flags.to_ne_bytes()].concat()
}

fn kind(name: &str) -> Attributes {
    Attributes::new().text(libc::IFLA_INFO_KIND, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where `part` begins in `whole`.
    fn find(whole: &[u8], part: &[u8]) -> Option<usize> {
        whole.windows(part.len()).position(|window| window == part)
    }

    #[test]
    fn a_link_layer_address_tells_the_ip_address() {
        assert_eq!(mac(Ipv4Addr::new(172, 30, 0, 2)), [0x02, 0x42, 172, 30, 0, 2]);
    }

    #[test]
    fn to_set_up_changes_one_flag_of_a_link_that_is_named() {
        let bytes = up("eth0").encode(0);
        assert_eq!(bytes[16 + 8..16 + 16], [1_u32.to_ne_bytes(), 1_u32.to_ne_bytes()].concat());
        assert_eq!(bytes[32 + 4..32 + 9], *b"eth0\0");
        assert_eq!(delete("eth0").encode(0)[16..32], [0; 16]);
    }

    #[test]
    fn the_far_end_is_described_within_the_near_one() {
        let file = std::fs::File::open("/proc/self/ns/net").unwrap();
        let netns = std::os::fd::AsFd::as_fd(&file);
        let pair = Veth { name: "gan0p2", bridge: 7, peer: "eth0", peer_mac: [2; 6], netns, mtu: 1500 };
        let bytes = pair.create().encode(0);
        let (near, kind) = (find(&bytes, b"gan0p2\0").unwrap(), find(&bytes, b"veth\0").unwrap());
        let far = find(&bytes, b"eth0\0").unwrap();
        assert!(near < kind && kind < far, "{near} {kind} {far}");
        // Its own struct ifinfomsg stands before its attributes.
        assert_eq!(bytes[far - 4 - 16..far - 4], [0; 16]);
    }
}
