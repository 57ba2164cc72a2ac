//! A network's bridge: the switch on the host into which all its containers are plugged, and their way out.
//!
//! Invariant: to ensure a network that is there changes nothing, and two processes may do it at the same
//! moment.

use std::net::IpAddr;

use nix::errno::Errno;
use process::{Error, Result};

use crate::netlink::Socket;
use crate::{Network, Subnet, address, link, rules, sysctl};

// ANCHOR: ensure
/// Makes sure that a network is there, in the network namespace in which we are.
///
/// # Errors
/// EPERM without CAP_NET_ADMIN. EOPNOTSUPP where another kind of link has the bridge's name.
pub fn ensure(network: &Network) -> Result<()> {
    let subnets: Vec<Subnet> =
        network.subnets().filter(|s| s.address.is_ipv4() || sysctl::has_ipv6()).collect();
    make(network, &subnets)?;
    // The rules come before the way through: nothing passes that they would not have let pass.
    rules::install()?;
    rules::add_network(network)?;
    // The host's 127.0.0.1 may be the source of what goes to a published port, and the destination of the
    // answer.
    sysctl::set(&format!("ipv4/conf/{}/route_localnet", network.bridge), "1")?;
    sysctl::forward4()?;
    if subnets.iter().any(|subnet| subnet.address.is_ipv6()) { sysctl::forward6() } else { Ok(()) }
}

/// The bridge, with an address in each subnet.
fn make(network: &Network, subnets: &[Subnet]) -> Result<()> {
    let mut route = Socket::route()?;
    // One that is there is left alone: whatever is set again, it tells all its ports about.
    if !link::find(&mut route, &network.bridge).is_ok_and(|found| found.up && found.is_bridge) {
        route.send(&[link::bridge(&network.bridge, mac(network))])?;
        sysctl::quiet_ipv6(&network.bridge)?;
        route.send(&[link::up(&network.bridge)])?;
    }
    let bridge = link::find(&mut route, &network.bridge)?.index;
    for subnet in subnets {
        let gateway = address::add(bridge, Network::gateway(*subnet), subnet.prefix);
        present_is_fine(route.send(&[gateway]))?;
    }
    Ok(())
}

/// Removes a network; containers that are on it lose it.
///
/// # Errors
/// Those of the kernel. It is none that the network is not there.
pub fn remove(network: &Network) -> Result<()> {
    rules::remove_network(network)?;
    absent_is_fine(Socket::route()?.send(&[link::delete(&network.bridge)]))
}
// ANCHOR_END: ensure

/// A link that is not there need not be deleted.
pub(crate) fn absent_is_fine(deleted: Result<()>) -> Result<()> {
    match deleted {
        Err(Error { errno: Errno::ENODEV, .. }) => Ok(()),
        done => done,
    }
}

/// Nor need an address be given twice.
fn present_is_fine(added: Result<()>) -> Result<()> {
    match added {
        Err(Error { errno: Errno::EEXIST, .. }) => Ok(()),
        done => done,
    }
}

fn mac(network: &Network) -> link::Mac {
    match Network::gateway(network.subnet4) {
        IpAddr::V4(gateway) => link::mac(gateway),
        IpAddr::V6(_) => unreachable!("an IPv4 subnet has IPv4 addresses"),
    }
}
