//! Links, addresses and routes for the tests themselves: the least of rtnetlink(7) that a cable needs.
//!
//! It stands here, and not on the course's own crate, because it must work when that one does not. A message is
//! a header, a fixed part, and attributes; each waits for the kernel's acknowledgement.

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::thread;

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};

/// `VETH_INFO_PEER` of `<linux/veth.h>`: the other end, described like a link.
const VETH_INFO_PEER: u16 = 1;

/// Makes a new network namespace and returns a handle of it.
///
/// # Errors
/// EPERM: we may not.
pub fn new_namespace() -> io::Result<File> {
    let made = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET)?;
        File::open("/proc/thread-self/ns/net")
    });
    made.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Runs `work` on a thread in another network namespace.
pub fn within<T: Send>(
    namespace: BorrowedFd<'_>,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    thread::scope(|scope| {
        let visit = || {
            setns(namespace, CloneFlags::CLONE_NEWNET)?;
            work()
        };
        scope.spawn(visit).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A cable: the end `here` in this namespace, the end `there` in another one.
///
/// # Errors
/// EEXIST: there is such a link.
pub fn cable(here: &str, there: &str, namespace: BorrowedFd<'_>) -> io::Result<()> {
    let mut peer = link_header(0, 0);
    attribute(&mut peer, libc::IFLA_IFNAME, &text(there));
    attribute(&mut peer, libc::IFLA_NET_NS_FD, &(namespace.as_raw_fd() as u32).to_ne_bytes());
    let mut data = Vec::new();
    attribute(&mut data, VETH_INFO_PEER, &peer);
    let mut info = Vec::new();
    attribute(&mut info, libc::IFLA_INFO_KIND, b"veth");
    attribute(&mut info, libc::IFLA_INFO_DATA, &data);
    let mut body = link_header(0, 0);
    attribute(&mut body, libc::IFLA_IFNAME, &text(here));
    attribute(&mut body, libc::IFLA_LINKINFO, &info);
    ask(libc::RTM_NEWLINK, libc::NLM_F_CREATE | libc::NLM_F_EXCL, &body)
}

/// Switches a link on.
///
/// # Errors
/// ENODEV: there is none of this name.
pub fn raise(link: &str) -> io::Result<()> {
    ask(libc::RTM_NEWLINK, 0, &link_header(index(link)?, libc::IFF_UP as u32))
}

/// Sets the largest packet of a link, in bytes.
///
/// # Errors
/// ENODEV: there is none of this name.
pub fn largest_packet(link: &str, bytes: u32) -> io::Result<()> {
    let mut body = link_header(index(link)?, 0);
    attribute(&mut body, libc::IFLA_MTU, &bytes.to_ne_bytes());
    ask(libc::RTM_NEWLINK, 0, &body)
}

/// Gives a link an address, usable at once.
///
/// # Errors
/// ENODEV: there is no such link.
pub fn address(link: &str, ip: IpAddr, prefix: u8) -> io::Result<()> {
    let mut body = vec![family(ip), prefix, libc::IFA_F_NODAD as u8, 0];
    body.extend(index(link)?.to_ne_bytes());
    attribute(&mut body, libc::IFA_LOCAL, &octets(ip));
    attribute(&mut body, libc::IFA_ADDRESS, &octets(ip));
    ask(libc::RTM_NEWADDR, libc::NLM_F_CREATE, &body)
}

/// Sends what is for `to/prefix` (0: everything) to a neighbour.
///
/// # Errors
/// ENETUNREACH: the neighbour is in no network of ours.
pub fn route(to: IpAddr, prefix: u8, via: IpAddr) -> io::Result<()> {
    let mut body =
        vec![family(via), prefix, 0, 0, libc::RT_TABLE_MAIN, libc::RTPROT_BOOT, 0, libc::RTN_UNICAST];
    body.extend(0_u32.to_ne_bytes());
    if prefix > 0 {
        attribute(&mut body, libc::RTA_DST, &octets(to));
    }
    attribute(&mut body, libc::RTA_GATEWAY, &octets(via));
    ask(libc::RTM_NEWROUTE, libc::NLM_F_CREATE, &body)
}

/// `struct ifinfomsg`: number, flags, and which flags to change.
pub fn link_header(index: u32, flags: u32) -> Vec<u8> {
    let words = [0, index, flags, flags];
    words.iter().flat_map(|word: &u32| word.to_ne_bytes()).collect()
}

/// Appends an attribute: length, kind, value, and zeros up to a multiple of four.
pub fn attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend((4 + value.len() as u16).to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// Sends one request, waits for its answer.
fn ask(kind: u16, flags: i32, body: &[u8]) -> io::Result<()> {
    let mut message = (16 + body.len() as u32).to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend(((libc::NLM_F_REQUEST | libc::NLM_F_ACK | flags) as u16).to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    let route = SockProtocol::NetlinkRoute;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, route)?;
    sendto(socket.as_raw_fd(), &message, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut answer = [0; 4096];
    let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    let code = answer
        .get(16..20)
        .filter(|_| length >= 20)
        .map(|code| i32::from_ne_bytes([code[0], code[1], code[2], code[3]]));
    match code {
        Some(0) => Ok(()),
        Some(code) => Err(Errno::from_raw(-code).into()),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn index(link: &str) -> io::Result<u32> {
    Ok(nix::net::if_::if_nametoindex(link)?)
}

fn text(word: &str) -> Vec<u8> {
    [word.as_bytes(), &[0]].concat()
}

fn family(ip: IpAddr) -> u8 {
    (if ip.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 }) as u8
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}
