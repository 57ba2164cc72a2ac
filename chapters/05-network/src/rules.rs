//! The firewall: which packets may pass, and which get another address on the way.
//!
//! One table holds fixed rules; networks and published ports are members of its sets and maps. So the
//! hundredth container costs a packet as much as the first, and to remove one is to delete its members: no
//! rule of anybody is read, moved or written again. `nft list table inet gantry` shows all of it.
//!
//! Invariant: any number of processes may do any of this at once. The kernel does one batch after the other,
//! and each leaves the table whole. Our `accept` is no promise: a packet passes when *every* table lets it,
//! so a host that drops what it forwards in another table must be told there. Left out: `[::1]`, to which the
//! kernel lets no answer come from outside; connections that a port's last owner had begun, which go on until
//! they end.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr};

use libc::{NFPROTO_IPV4, NFPROTO_IPV6};
use nix::errno::Errno;
use process::{Error, Result};

use crate::address::octets;
use crate::expression::{
    DESTINATION, Phrase, SOURCE, accept, dnat, drop, established, for_loopback6, for_this_host,
    iifname_empty, iifname_in, iifname_is_not, iifname_oifname_in, jump, loopback, masquerade, oifname_in,
    oifname_not_in, source_lies_elsewhere, translated,
};
use crate::message::Message;
use crate::netlink::Socket;
use crate::nft::{self, Element, Hook, Type};
use crate::{Network, Published};

// ANCHOR: table
/// Sets, and maps, which have a value: name, key, value.
const SETS: [(&str, &[Type], &[Type]); 7] = [
    // All our bridges.
    ("bridges", &[Type::Ifname], &[]),
    // Those of networks without a way out or in.
    ("internal", &[Type::Ifname], &[]),
    // Each bridge with itself: traffic within one network.
    ("same", &[Type::Ifname, Type::Ifname], &[]),
    // Ports published on every address of the host: where to.
    ("any4", &[Type::InetProto, Type::InetService], &[Type::Ipv4Addr, Type::InetService]),
    ("any6", &[Type::InetProto, Type::InetService], &[Type::Ipv6Addr, Type::InetService]),
    // Ports published on one address.
    ("at4", &[Type::Ipv4Addr, Type::InetProto, Type::InetService], &[Type::Ipv4Addr, Type::InetService]),
    ("at6", &[Type::Ipv6Addr, Type::InetProto, Type::InetService], &[Type::Ipv6Addr, Type::InetService]),
];

/// Chains: name, and where it hangs. Those of other programs that matter stand at the same priorities.
fn chains() -> [(&'static str, Option<Hook>); 6] {
    let hook = |kind, point, priority| Some(Hook { kind, point, priority });
    [
        ("published", None),
        ("raw", hook("filter", libc::NF_INET_PRE_ROUTING, libc::NF_IP_PRI_RAW)),
        ("prerouting", hook("nat", libc::NF_INET_PRE_ROUTING, libc::NF_IP_PRI_NAT_DST)),
        ("output", hook("nat", libc::NF_INET_LOCAL_OUT, libc::NF_IP_PRI_NAT_DST)),
        ("forward", hook("filter", libc::NF_INET_FORWARD, libc::NF_IP_PRI_FILTER)),
        ("postrouting", hook("nat", libc::NF_INET_POST_ROUTING, libc::NF_IP_PRI_NAT_SRC)),
    ]
}

/// The rules: chain, and phrases. In a chain the first that decides counts; who falls out of its end is
/// accepted.
fn rules() -> Vec<(&'static str, Phrase)> {
    vec![
        // On the way in. What comes by a cable is never for 127.0.0.0/8, nor from there: not by a bridge, which
        // routes these (CVE-2020-8558), and not from outside, to a port that is published on 127.0.0.1 only.
        ("raw", [iifname_is_not("lo"), loopback(DESTINATION), drop()].concat()),
        ("raw", [iifname_is_not("lo"), loopback(SOURCE), drop()].concat()),
        // And nobody speaks with a source address that does not lie where he is.
        ("raw", [iifname_in("bridges"), source_lies_elsewhere(), drop()].concat()),
        // To a published port, from outside, and from this host itself.
        ("prerouting", [for_this_host(), jump("published")].concat()),
        // IPv6 has no `route_localnet`: the answer to ::1 would be lost. Refused at once, clients try
        // 127.0.0.1.
        ("output", [for_loopback6(), accept()].concat()),
        ("output", [for_this_host(), jump("published")].concat()),
        ("published", dnat(NFPROTO_IPV4, true, "at4")),
        ("published", dnat(NFPROTO_IPV6, true, "at6")),
        ("published", dnat(NFPROTO_IPV4, false, "any4")),
        ("published", dnat(NFPROTO_IPV6, false, "any6")),
        // On the way through. What is allowed to begin is allowed to go on.
        ("forward", [established(), accept()].concat()),
        ("forward", [iifname_oifname_in("same"), accept()].concat()),
        ("forward", [iifname_in("internal"), drop()].concat()),
        ("forward", [oifname_in("internal"), drop()].concat()),
        ("forward", [translated(), accept()].concat()),
        ("forward", [oifname_in("bridges"), drop()].concat()),
        // On the way out. The world does not know our addresses.
        ("postrouting", [iifname_in("bridges"), oifname_not_in("bridges"), masquerade()].concat()),
        // A published port, asked from its own network: the answer must come back through us, to be
        // translated back.
        ("postrouting", [translated(), iifname_oifname_in("same"), masquerade()].concat()),
        // Or from this host, perhaps as 127.0.0.1. A packet that is bridged and translated has no link of
        // origin here either, if `bridge-nf-call-iptables` is on.
        ("postrouting", [translated(), iifname_empty(), oifname_in("bridges"), masquerade()].concat()),
    ]
}
// ANCHOR_END: table

// ANCHOR: install
/// Makes the table, or brings its rules up to date; its members stay. In one step: no packet meets half of
/// it.
///
/// # Errors
/// EPERM without CAP_NET_ADMIN; ENOENT or EOPNOTSUPP where the kernel lacks nftables or a part of it.
pub fn install() -> Result<()> {
    let sets = SETS.iter().map(|(name, key, value)| nft::set(name, key, value));
    let chains = chains().into_iter().map(|(name, hook)| nft::chain(name, hook));
    let rules = rules().into_iter().map(|(chain, phrase)| nft::rule(chain, &phrase));
    // The rules of a process that came first, or of an older program, must not stay beside ours.
    let content: Vec<Message> = sets.chain(chains).chain([nft::flush()]).chain(rules).collect();
    // To exchange rules takes some 10 ms, until no packet is looking at the old ones. So we look first.
    let comment = format!("rules {:016x}", digest(&content));
    let mut socket = Socket::netfilter()?;
    if nft::has_table(&mut socket, &comment)? {
        return Ok(());
    }
    nft::commit(&mut socket, [vec![nft::table(&comment)], content].concat())
}

/// A number that changes with what the messages say.
fn digest(messages: &[Message]) -> u64 {
    let mut hasher = DefaultHasher::new();
    messages.hash(&mut hasher);
    hasher.finish()
}

/// Gives a network its place in the rules.
///
/// # Errors
/// Those of the kernel.
pub fn add_network(network: &Network) -> Result<()> {
    let members = members(&network.bridge, network.internal);
    let add = members.iter().map(|member| member.add(&network.bridge)).collect();
    nft::commit(&mut Socket::netfilter()?, add)
}

/// Takes it out of them.
///
/// # Errors
/// Those of the kernel. It is none that the network is not there.
pub fn remove_network(network: &Network) -> Result<()> {
    // From all sets: an earlier network may have had the same bridge.
    delete(&mut Socket::netfilter()?, &members(&network.bridge, true), &network.bridge)
}

/// The members that a bridge needs.
fn members(bridge: &str, internal: bool) -> Vec<Element> {
    let bridge = ifname(bridge);
    let member = |set, key| Element { set, key, value: Vec::new() };
    let mut members = vec![member("bridges", bridge.clone()), member("same", bridge.repeat(2))];
    if internal {
        members.push(member("internal", bridge));
    }
    members
}
// ANCHOR_END: install

// ANCHOR: publish
/// Publishes ports: each leads to one of these addresses, of a container.
///
/// # Errors
/// A port is taken by another container. Of a hundred ports, none is published then; of more, undo it.
pub fn publish(ports: &[Published], addresses: &[IpAddr]) -> Result<()> {
    if ports.is_empty() {
        return Ok(());
    }
    let mut socket = Socket::netfilter()?;
    for some in ports.chunks(100) {
        let created: Vec<_> = some.iter().map(|port| create(port, addresses)).collect::<Result<_>>()?;
        nft::commit(&mut socket, created.concat()).map_err(|error| match error.errno {
            Errno::EEXIST => Error { operation: "publish".to_owned(), ..error }
                .because("another container has published that port"),
            _ => error,
        })?;
    }
    Ok(())
}

/// The messages that publish one port.
fn create(port: &Published, addresses: &[IpAddr]) -> Result<Vec<Message>> {
    let refuse = |cause| Err(Error::refused("publish", port, cause));
    let entries = entries(port, addresses);
    if port.ip == Some(Ipv6Addr::LOCALHOST.into()) {
        return refuse("the kernel lets no answer come to ::1 from outside; use 127.0.0.1");
    }
    if entries.is_empty() {
        return refuse("the container has no address of that family");
    }
    Ok(entries.iter().map(|entry| entry.create(&port.to_string())).collect())
}

/// Takes them back. What is not there, or leads to another container by now, is left alone.
///
/// # Errors
/// Those of the kernel.
pub fn unpublish(ports: &[Published], addresses: &[IpAddr]) -> Result<()> {
    if ports.is_empty() {
        return Ok(());
    }
    // When it is closed, the kernel waits some 10 ms until no packet is looking at what was deleted: once is
    // enough.
    let mut socket = Socket::netfilter()?;
    for port in ports {
        match delete(&mut socket, &entries(port, addresses), &port.to_string()) {
            // The key has another value.
            Err(error) if matches!(error.errno, Errno::EEXIST | Errno::EBUSY) => {}
            done => done?,
        }
    }
    Ok(())
}

// ANCHOR_END: publish

// ANCHOR: entries
/// The entries of the maps for one port: one for each family in which it is published.
fn entries(port: &Published, addresses: &[IpAddr]) -> Vec<Element> {
    todo!("5.5 Publish a port")
}

// ANCHOR_END: entries

// ANCHOR: delete
/// Deletes elements. To delete one that is not there would fail, and with it the batch: so each is added
/// first.
fn delete(socket: &mut Socket, elements: &[Element], subject: &str) -> Result<()> {
    let both = |element: &Element| [element.add(subject), element.delete(subject)];
    match nft::commit(socket, elements.iter().flat_map(both).collect()) {
        // No table at all.
        Err(error) if error.errno == Errno::ENOENT => Ok(()),
        done => done,
    }
}
// ANCHOR_END: delete

/// A link's name as it stands in registers: 16 bytes, zeros at the end.
fn ifname(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(16, 0);
    bytes
}

/// A port as it stands in a register: the two bytes of a packet, two zeros.
fn service(port: u16) -> Vec<u8> {
    let [high, low] = port.to_be_bytes();
    vec![high, low, 0, 0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::Protocol;

    fn port(host: Option<&str>) -> Published {
        let ip = host.map(|text| text.parse().unwrap());
        Published { ip, host: 8080, protocol: Protocol::Tcp, container: 80 }
    }

    fn maps(host: Option<&str>) -> Vec<&'static str> {
        let addresses = ["172.30.0.2".parse().unwrap(), "fd00:7::2".parse().unwrap()];
        entries(&port(host), &addresses).iter().map(|entry| entry.set).collect()
    }

    #[test]
    fn a_port_is_published_in_the_families_that_are_meant() {
        assert_eq!(maps(None), ["any4", "any6"]);
        assert_eq!((maps(Some("0.0.0.0")), maps(Some("::"))), (vec!["any4"], vec!["any6"]));
        assert_eq!((maps(Some("127.0.0.1")), maps(Some("fd00::1"))), (vec!["at4"], vec!["at6"]));
        assert!(entries(&port(Some("::")), &["172.30.0.2".parse().unwrap()]).is_empty());
    }

    #[test]
    fn an_internal_network_is_marked() {
        let sets = |internal| members("gan0", internal).iter().map(|one| one.set).collect::<Vec<_>>();
        assert_eq!(sets(true), ["bridges", "same", "internal"]);
        assert_eq!(sets(false), ["bridges", "same"]);
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let addresses = ["172.30.0.2".parse().unwrap()];
        let said = |host| create(&port(Some(host)), &addresses).unwrap_err().to_string();
        assert!(said("::1").contains("127.0.0.1") && said("::").contains("no address"));
    }

    #[test]
    fn rules_name_chains_and_sets_that_there_are() {
        let known: Vec<&str> = chains().iter().map(|(name, _)| *name).collect();
        assert!(rules().iter().all(|(chain, _)| known.contains(chain)));
        assert_ne!(digest(&[nft::table("a")]), digest(&[nft::table("b")]));
    }

    #[test]
    fn an_entry_says_from_where_to_where() {
        let entry = &entries(&port(Some("10.0.0.1")), &["172.30.0.2".parse().unwrap()])[0];
        assert_eq!(entry.key, [10, 0, 0, 1, 6, 0, 0, 0, 0x1f, 0x90, 0, 0]);
        assert_eq!(entry.value, [172, 30, 0, 2, 0, 80, 0, 0]);
    }
}
