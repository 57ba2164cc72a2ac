//! An endpoint: the cable from a container to its network, and what makes it usable.
//!
//! The pair of links is made in one step, with one end in the bridge and the other in the container's namespace
//! under its final name. Addresses and routes are given in there. Ports are published last, when somebody can answer.
//!
//! When a namespace dies its links die with it, but not its published ports: so whoever attaches must detach, also
//! when that failed half-way.

use std::net::IpAddr;
use std::os::fd::BorrowedFd;

use process::Result;

use crate::bridge::absent_is_fine;
use crate::namespace::in_namespace;
use crate::netlink::Socket;
use crate::{Lease, Network, address, conntrack, link, route, rules, sysctl};

/// The name of the link in the container.
pub const LINK: &str = "eth0";

// ANCHOR: attach
/// Connects the container whose network namespace is `netns` to a network, in the place that `lease` gives it. We
/// are in the host's namespace. `mtu` is the largest packet, in bytes.
///
/// # Errors
/// ENODEV: there is no such bridge. Those of the kernel.
pub fn attach(network: &Network, lease: &Lease, mtu: u32, netns: BorrowedFd<'_>) -> Result<()> {
    let mut route = Socket::route()?;
    plug_in(&mut route, network, lease, mtu, netns)?;
    route.send(&[link::port(&lease.link())])?;
    in_namespace(netns, || furnish(network, lease))
}

/// Publishes the ports of a lease.
///
/// # Errors
/// EEXIST: one is published already.
pub fn publish(lease: &Lease) -> Result<()> {
    rules::publish(&lease.ports, &usable(lease))?;
    conntrack::forget_ports(&lease.ports, &usable(lease))
}

/// Undoes it, or as much of it as was done. The container's end vanishes too. Once its namespace has died, this
/// is quick; before, the kernel takes some 30 ms for the pair.
///
/// # Errors
/// Those of the kernel.
pub fn detach(lease: &Lease) -> Result<()> {
    rules::unpublish(&lease.ports, &lease.addresses().collect::<Vec<_>>())?;
    absent_is_fine(Socket::route()?.send(&[link::delete(&lease.link())]))?;
    // Or whoever gets the address next would hear its callers.
    conntrack::forget(&usable(lease))
}

/// On the host: the pair, with one end in the bridge.
fn plug_in(
    route: &mut Socket,
    network: &Network,
    lease: &Lease,
    mtu: u32,
    netns: BorrowedFd<'_>,
) -> Result<()> {
    let pair = link::Veth {
        name: &lease.link(),
        bridge: link::find(route, &network.bridge)?.index,
        peer: LINK,
        peer_mac: link::mac(lease.address),
        netns,
        mtu,
    };
    route.send(&[pair.create()])
}

/// In the container: links on, addresses, the way out.
fn furnish(network: &Network, lease: &Lease) -> Result<()> {
    let mut route = Socket::route()?;
    sysctl::quiet_ipv6(LINK)?;
    // The first 1024 ports are for root of a machine that many share. Nobody shares this one.
    sysctl::set("ipv4/ip_unprivileged_port_start", "0")?;
    let link = link::find(&mut route, LINK)?.index;
    let (mut all, mut ways) = (Vec::new(), Vec::new());
    for (ip, subnet) in usable(lease).into_iter().zip(network.subnets()) {
        all.push(address::add(link, ip, subnet.prefix));
        if !network.internal {
            ways.push(route::default(link, Network::gateway(subnet)));
        }
    }
    // Addresses first: what a link has when it comes up, it tells its neighbours in one piece.
    all.extend([link::up("lo"), link::up(LINK)]);
    all.extend(ways);
    route.send(&all)
}
// ANCHOR_END: attach

/// The addresses of a lease, as far as there is IPv6 where we are.
fn usable(lease: &Lease) -> Vec<IpAddr> {
    lease.addresses().filter(|address| address.is_ipv4() || sysctl::has_ipv6()).collect()
}
