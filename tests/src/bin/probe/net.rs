//! What a container sees of its network, and whom it reaches.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use super::told;

/// How long an answer may take that should take milliseconds.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Every link with its state and its addresses, one a line; addresses of the link only (fe80::) are left out.
pub fn links(_: &[String]) -> Result<String, String> {
    let mut all: BTreeMap<String, (bool, Vec<String>)> = BTreeMap::new();
    for found in told("getifaddrs", getifaddrs())? {
        let link = all.entry(found.interface_name).or_default();
        link.0 = found.flags.contains(InterfaceFlags::IFF_UP);
        let (Some(address), Some(mask)) = (found.address, found.netmask) else { continue };
        if let (Some(ip), Some(mask)) = (address.as_sockaddr_in(), mask.as_sockaddr_in()) {
            link.1.push(format!("{}/{}", ip.ip(), u32::from(mask.ip()).count_ones()));
        }
        if let (Some(ip), Some(mask)) = (address.as_sockaddr_in6(), mask.as_sockaddr_in6())
            && !ip.ip().is_unicast_link_local()
        {
            link.1.push(format!("{}/{}", ip.ip(), u128::from(mask.ip()).count_ones()));
        }
    }
    let line = |(name, (up, mut addresses)): (String, (bool, Vec<String>))| {
        addresses.sort_unstable();
        let state = if up { "up" } else { "down" };
        format!("{name} {state} {}", addresses.join(" ")).trim_end().to_owned()
    };
    Ok(all.into_iter().map(line).collect::<Vec<_>>().join("\n"))
}

/// `tcp|udp PORT TEXT`: answers everybody with TEXT and the address from which they came, until it is killed.
pub fn serve(words: &[String]) -> Result<String, String> {
    let [kind, port, text] = words else { return Err("serve tcp|udp PORT TEXT".into()) };
    let port: u16 = told("the port", port.parse())?;
    // Where there is IPv6, one socket takes both.
    let all: &[SocketAddr] = &[(Ipv6Addr::UNSPECIFIED, port).into(), (Ipv4Addr::UNSPECIFIED, port).into()];
    let answer = |from: SocketAddr| format!("{text} sees {}\n", from.ip().to_canonical());
    if kind == "tcp" {
        let listener = told("listen", TcpListener::bind(all))?;
        println!("ready");
        for stream in listener.incoming().flatten() {
            let from = told("the peer", stream.peer_addr())?;
            // Who hangs up early misses the answer, and nothing else happens.
            let _ = (&stream).write_all(answer(from).as_bytes());
        }
    } else {
        let socket = told("bind", UdpSocket::bind(all))?;
        println!("ready");
        loop {
            let mut ask = [0; 512];
            let Ok((_, from)) = socket.recv_from(&mut ask) else { continue };
            let _ = socket.send_to(answer(from).as_bytes(), from);
        }
    }
    Ok(String::new())
}

/// `PORT`: waits a second for one datagram, and says what came, and from where.
pub fn hear(words: &[String]) -> Result<String, String> {
    let port: u16 = told("the port", words.first().ok_or("hear PORT")?.parse())?;
    let socket = told("bind", UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)))?;
    told("wait", socket.set_read_timeout(Some(Duration::from_secs(1))))?;
    println!("ready");
    let mut bytes = [0; 512];
    Ok(match socket.recv_from(&mut bytes) {
        Ok((length, from)) => format!("{} from {}", String::from_utf8_lossy(&bytes[..length]), from.ip()),
        Err(_) => "nothing".to_owned(),
    })
}

/// `tcp|udp HOST PORT`: what `serve` answers there; an error where nobody does.
pub fn ask(words: &[String]) -> Result<String, String> {
    let [kind, host, port] = words else { return Err("ask tcp|udp HOST PORT".into()) };
    let port: u16 = told("the port", port.parse())?;
    let mut found = told(&format!("find {host}"), (host.as_str(), port).to_socket_addrs())?;
    let to = found.next().ok_or("no address")?;
    let mut answer = String::new();
    if kind == "tcp" {
        let mut stream = told("connect", TcpStream::connect_timeout(&to, PATIENCE))?;
        told("wait", stream.set_read_timeout(Some(PATIENCE)))?;
        told("read", stream.read_to_string(&mut answer))?;
    } else {
        let any: IpAddr =
            if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = told("bind", UdpSocket::bind((any, 0)))?;
        // Connected: an answer from another address than the one that was asked is not heard.
        told("connect", socket.connect(to))?;
        told("wait", socket.set_read_timeout(Some(PATIENCE)))?;
        told("send", socket.send(b"who am I?"))?;
        let mut bytes = [0; 512];
        let length = told("read", socket.recv(&mut bytes))?;
        answer = String::from_utf8_lossy(&bytes[..length]).into_owned();
    }
    Ok(answer.trim_end().to_owned())
}

/// `NAME [A|AAAA|PTR|TXT|ANY [SERVER]]`: what a name server says, in its order: addresses or names, or why there are
/// none.
pub fn lookup(words: &[String]) -> Result<String, String> {
    let name = words.first().ok_or("lookup NAME [TYPE [SERVER]], or --junk")?;
    if name == "--junk" {
        return junk();
    }
    let kind = words.get(1).map_or("A", String::as_str);
    let server: IpAddr = told("the server", words.get(2).map_or("127.0.0.11", String::as_str).parse())?;
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = told("bind", UdpSocket::bind((any, 0)))?;
    told("connect", socket.connect((server, 53)))?;
    told("wait", socket.set_read_timeout(Some(3 * PATIENCE)))?;
    told("send", socket.send(&question(name, kind)?))?;
    let mut answer = [0; 4096];
    let length = told("read", socket.recv(&mut answer))?;
    read_answer(&answer[..length]).ok_or_else(|| "the answer makes no sense".to_owned())
}

/// Pieces of every length that are no questions, to the resolver of the container: it must survive them.
fn junk() -> Result<String, String> {
    let socket = told("bind", UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))?;
    let mut state = 1_u32;
    for length in 0..200 {
        let byte = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let piece: Vec<u8> = (0..length).map(byte).collect();
        told("send", socket.send_to(&piece, (Ipv4Addr::new(127, 0, 0, 11), 53)))?;
    }
    Ok("200 pieces".to_owned())
}

/// Numbers of DNS types; RFC 1035, section 3.2.2, and RFC 3596.
const TYPES: [(&str, u16); 5] = [("A", 1), ("PTR", 12), ("TXT", 16), ("AAAA", 28), ("ANY", 255)];

/// RFC 1035, section 4: a header of 12 bytes, then the name, its type and the class IN.
fn question(name: &str, kind: &str) -> Result<Vec<u8>, String> {
    let (_, kind) = TYPES.iter().find(|(known, _)| *known == kind).ok_or("A, AAAA, PTR, TXT or ANY")?;
    // Each question has an id of its own, as good as random.
    let [high, low, ..] = std::process::id().wrapping_mul(0x9e37_79b1).to_be_bytes();
    let mut out = vec![high, low, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.trim_end_matches('.').split('.') {
        out.push(told("a label", u8::try_from(label.len()))?);
        out.extend(label.bytes());
    }
    out.push(0);
    out.extend(kind.to_be_bytes());
    out.extend(1_u16.to_be_bytes());
    Ok(out)
}

fn read_answer(bytes: &[u8]) -> Option<String> {
    let two = |at: usize| Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let code = match two(2)? & 0xf {
        0 => "",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        _ => "an error",
    };
    let mut at = 12;
    for _ in 0..two(4)? {
        at = name_at(bytes, at)?.1 + 4;
    }
    let mut lines = Vec::new();
    for _ in 0..two(6)? {
        at = name_at(bytes, at)?.1;
        let (kind, length, data) = (two(at)?, usize::from(two(at + 8)?), at + 10);
        match (kind, bytes.get(data..data + length)?) {
            (1, octets) => lines.push(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?).to_string()),
            (28, octets) => lines.push(Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).to_string()),
            (12, _) => lines.push(name_at(bytes, data)?.0),
            (other, _) => lines.push(format!("type {other}")),
        }
        at = data + length;
    }
    let mut text = lines.join("\n");
    if lines.is_empty() {
        let _ = write!(text, "{}", if code.is_empty() { "no such record" } else { code });
    }
    Some(text)
}

/// The name at a place, and the place behind it; a pointer leads elsewhere and ends it.
fn name_at(bytes: &[u8], mut at: usize) -> Option<(String, usize)> {
    let (mut labels, mut behind) = (Vec::new(), None);
    for _ in 0..128 {
        let length = usize::from(*bytes.get(at)?);
        if length & 0xc0 == 0xc0 {
            behind = behind.or(Some(at + 2));
            at = (length & 0x3f) << 8 | usize::from(*bytes.get(at + 1)?);
        } else if length == 0 {
            return Some((labels.join("."), behind.unwrap_or(at + 1)));
        } else {
            labels.push(String::from_utf8_lossy(bytes.get(at + 1..at + 1 + length)?).into_owned());
            at += 1 + length;
        }
    }
    None
}

/// `MAC SOURCE DESTINATION PORT`: one UDP datagram, written byte by byte and put on the cable as it is: who is root of a
/// network namespace may do that. No routing table of ours has a say.
pub fn forge(words: &[String]) -> Result<String, String> {
    let [mac, source, destination, port] = words else {
        return Err("forge MAC SOURCE DESTINATION PORT".into());
    };
    let (source, destination) =
        (told("the source", source.parse())?, told("the destination", destination.parse())?);
    let packet = datagram(source, destination, told("the port", port.parse())?, b"forged");
    let octets = mac.split(':').map(|octet| u8::from_str_radix(octet, 16)).collect::<Result<Vec<u8>, _>>();
    let link = told("find eth0", nix::net::if_::if_nametoindex("eth0"))?;
    // SAFETY: plain data, for which zeroes are a valid value.
    let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    to.sll_family = libc::AF_PACKET as u16;
    to.sll_protocol = (libc::ETH_P_IP as u16).to_be();
    to.sll_ifindex = link as i32;
    to.sll_halen = 6;
    to.sll_addr[..6].copy_from_slice(told("the MAC", octets)?.get(..6).ok_or("six octets")?);
    // SAFETY: numbers only; the descriptor lives until this process ends.
    let socket = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_DGRAM, 0) };
    told("open a packet socket", nix::errno::Errno::result(socket))?;
    let size = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: packet and address outlive the call, and have the sizes that we name.
    let sent = unsafe {
        libc::sendto(socket, packet.as_ptr().cast(), packet.len(), 0, (&raw const to).cast(), size)
    };
    told("send", nix::errno::Errno::result(sent))?;
    Ok("sent".to_owned())
}

/// An IPv4 packet with a UDP datagram in it (RFC 791, RFC 768); UDP may leave its own checksum out.
fn datagram(source: Ipv4Addr, destination: Ipv4Addr, port: u16, text: &[u8]) -> Vec<u8> {
    let length = (28 + text.len()) as u16;
    let mut packet = vec![0x45, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    let sum: u32 = packet.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = !((sum & 0xffff) + (sum >> 16)) as u16;
    packet[10..12].copy_from_slice(&folded.to_be_bytes());
    packet.extend([40_000, port, length - 20, 0].map(u16::to_be_bytes).concat());
    packet.extend(text);
    packet
}
