//! Addresses of links. Pure messages. See rtnetlink(7), ip-address(8).

use std::net::IpAddr;

use crate::message::{Attributes, Message};
use crate::subnet::Subnet;

// ANCHOR: address
/// Gives a link an address; EEXIST if it has it. The subnet around it becomes reachable through the
/// link.
pub fn add(link: u32, address: IpAddr, prefix: u8) -> Message {
    // Nobody else on our networks gives out addresses, so IPv6 need not ask for a second whether it is taken.
    let flags = if address.is_ipv6() { libc::IFA_F_NODAD as u8 } else { 0 };
    let fixed = [&[family(address), prefix, flags, 0][..], &link.to_ne_bytes()].concat();
    let mut body = Attributes::after(&fixed)
        .bytes(libc::IFA_LOCAL, &octets(address))
        .bytes(libc::IFA_ADDRESS, &octets(address));
    if address.is_ipv4() {
        body = body.bytes(libc::IFA_BROADCAST, &octets(Subnet::around(address, prefix).broadcast()));
    }
    let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    Message::new("add address", &format!("{address}/{prefix}"), libc::RTM_NEWADDR, flags, body)
}
// ANCHOR_END: address

/// `AF_INET` or `AF_INET6`.
pub fn family(address: IpAddr) -> u8 {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    family as u8
}

/// The 4 or 16 bytes of an address, as they stand in a packet.
pub fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_address_comes_with_that_of_everybody() {
        let bytes = add(7, "172.30.0.2".parse().unwrap(), 16).encode(0);
        assert_eq!(bytes[16..20], [2, 16, 0, 0]);
        assert_eq!(bytes[20..24], 7_u32.to_ne_bytes());
        assert_eq!(bytes[bytes.len() - 4..], [172, 30, 255, 255]);
    }

    #[test]
    fn an_ipv6_address_is_not_asked_for() {
        let bytes = add(7, "fd00:7::2".parse().unwrap(), 64).encode(0);
        assert_eq!(bytes[16..20], [10, 64, libc::IFA_F_NODAD as u8, 0]);
        assert_eq!(bytes.len(), 16 + 8 + 2 * (4 + 16));
    }
}
