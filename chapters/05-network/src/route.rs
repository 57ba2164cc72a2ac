//! Routes: through which link, and to whom, goes what is not for the link's own subnet. Pure messages.
//! See rtnetlink(7), ip-route(8).

use std::net::IpAddr;

use crate::address::{family, octets};
use crate::message::{Attributes, Message};

// ANCHOR: route
/// Sends all that has no better way to `gateway`, which must be in the subnet of an address of the link.
pub fn default(link: u32, gateway: IpAddr) -> Message {
    let fixed = [
        family(gateway),
        0, // Bits of the destination: none, so it means every one.
        0, // Bits of the source.
        0, // Type of service.
        libc::RT_TABLE_MAIN,
        libc::RTPROT_BOOT, // Set up by a program, not learned from another router.
        libc::RT_SCOPE_UNIVERSE,
        libc::RTN_UNICAST,
        0,
        0,
        0,
        0, // Flags.
    ];
    let body =
        Attributes::after(&fixed).bytes(libc::RTA_GATEWAY, &octets(gateway)).number(libc::RTA_OIF, link);
    let new = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    Message::new("add default route", &format!("via {gateway}"), libc::RTM_NEWROUTE, new, body)
}
// ANCHOR_END: route
