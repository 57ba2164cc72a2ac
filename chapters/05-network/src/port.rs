//! Published ports: what the user wishes, and what is held for it on the host.
//!
//! A wish is data in Docker's syntax, `[IP:][HOST[-LAST]:]CONTAINER[-LAST][/PROTOCOL]`. To hold a port, a real
//! socket is bound to it. NAT takes the packets before they come that far, so the socket never hears anything.
//! But no other program can get the port as long as it is there, and the kernel chooses where the user does not.
//!
//! Nobody listens on a held TCP socket: should NAT not act, a client is refused at once, instead of getting a
//! connection that never answers. So SO_REUSEADDR needs care (socket(7)). Without it, a port stays refused for a
//! minute after a server's last connection (TIME_WAIT). With it, any other program that sets it, as every server
//! does, could bind our port, because nobody listens. See `claim`.
//!
//! Left out: SCTP.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::str::FromStr;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, Shutdown, SockFlag, SockType, SockaddrStorage, bind, getsockname, listen,
    setsockopt, shutdown, socket, sockopt,
};
use process::{Error, Result};

/// The protocols that have ports, by their number in the IP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Streams.
    Tcp = 6,
    /// Datagrams.
    Udp = 17,
}

// ANCHOR: wish
/// One port of the container, and where on the host it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The host's address; none for all of them, IPv4 and IPv6.
    pub ip: Option<IpAddr>,
    /// The host's ports that will do, first and last; 0 and 0 for any that is free.
    pub host: (u16, u16),
    /// The container's port.
    pub container: u16,
    /// Which protocol's.
    pub protocol: Protocol,
}

/// What `--publish` asks for; two ranges of equal length go together one by one.
///
/// # Errors
/// It is written wrong, and how it is written right.
pub fn wishes(text: &str) -> Result<Vec<Wish>> {
    let refuse = |cause: &str| Error::refused("publish", text, cause);
    let (ports, protocol) = text.rsplit_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.parse().map_err(|()| refuse("the protocol is `tcp` or `udp`"))?;
    // From the right, since an IPv6 address has colons itself.
    let mut parts = ports.rsplitn(3, ':');
    let (container, host, ip) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    let ip = ip.map(|ip| ip.trim_start_matches('[').trim_end_matches(']').parse()).transpose();
    let ip =
        ip.map_err(|_| refuse("write it as [IP:][HOST:]CONTAINER, and IPv6 in brackets: [::1]:8080:80"))?;
    let a_port = || refuse("a port is a number from 1 to 65535, a range two of them: 8000-8010");
    let (first, last) = range(container).ok_or_else(a_port)?;
    let host = match host {
        None | Some("" | "0") => None,
        Some(host) => Some(range(host).ok_or_else(a_port)?),
    };
    let one = |container, host| Wish { ip, host, container, protocol };
    match host {
        None => Ok((first..=last).map(|port| one(port, (0, 0))).collect()),
        Some(host) if first == last => Ok(vec![one(first, host)]),
        Some((low, high)) if high - low == last - first => {
            Ok((first..=last).zip(low..=high).map(|(port, host)| one(port, (host, host))).collect())
        }
        Some(_) => Err(refuse("both ranges must be of the same length, or the container's a single port")),
    }
}
// ANCHOR_END: wish

/// `80` or `80-90`: first and last.
fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (0 < first && first <= last).then_some((first, last))
}

/// A port of the host that leads to a port of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// The host's address; none for all of them, IPv4 and IPv6.
    pub ip: Option<IpAddr>,
    /// The host's port.
    pub host: u16,
    /// The container's port.
    pub container: u16,
    /// Which protocol's.
    pub protocol: Protocol,
}

/// A published port and the sockets that keep it; they close when this is dropped.
#[derive(Debug)]
pub struct Reserved {
    /// Which port it is.
    pub port: Published,
    _sockets: Vec<OwnedFd>,
}

// ANCHOR: reserve
/// Binds what was wished for, in this network namespace, the host's.
///
/// # Errors
/// EADDRINUSE: a port is taken. EACCES: it is below 1024 and we are not root. Nothing is held then.
pub fn reserve(wishes: &[Wish]) -> Result<Vec<Reserved>> {
    wishes.iter().map(reserve_one).collect()
}

fn reserve_one(wish: &Wish) -> Result<Reserved> {
    let mut answer = Ok(());
    for host in wish.host.0..=wish.host.1 {
        match hold(wish, host) {
            Ok(reserved) => return Ok(reserved),
            Err(Errno::EADDRINUSE) => answer = Err(Errno::EADDRINUSE),
            Err(errno) => return Err(cannot(wish, errno)),
        }
    }
    answer.map(|()| unreachable!("a range has a port")).map_err(|errno| cannot(wish, errno))
}

/// How often the kernel may choose a port for IPv4 that somebody has for IPv6.
const TRIES: u32 = 16;

fn hold(wish: &Wish, host: u16) -> nix::Result<Reserved> {
    let reserved = |host, sockets| {
        let Wish { ip, container, protocol, .. } = *wish;
        Reserved { port: Published { ip, host, container, protocol }, _sockets: sockets }
    };
    if let Some(ip) = wish.ip {
        let (socket, host) = bound(wish.protocol, ip, host)?;
        return Ok(reserved(host, vec![socket]));
    }
    let mut tries = if host == 0 { TRIES } else { 1 };
    loop {
        let (four, chosen) = bound(wish.protocol, Ipv4Addr::UNSPECIFIED.into(), host)?;
        tries -= 1;
        match bound(wish.protocol, Ipv6Addr::UNSPECIFIED.into(), chosen) {
            Ok((six, _)) => return Ok(reserved(chosen, vec![four, six])),
            // The host has no IPv6.
            Err(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL) => return Ok(reserved(chosen, vec![four])),
            Err(Errno::EADDRINUSE) if tries > 0 => continue,
            Err(errno) => return Err(errno),
        }
    }
}

/// A socket that has a port and does nothing with it; the port, also where the kernel chose it.
fn bound(protocol: Protocol, ip: IpAddr, port: u16) -> nix::Result<(OwnedFd, u16)> {
    let family = if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let kind = match protocol {
        Protocol::Tcp => SockType::Stream,
        Protocol::Udp => SockType::Datagram,
    };
    let held = socket(family, kind, SockFlag::SOCK_CLOEXEC, None)?;
    if ip.is_ipv6() {
        // Or `::` would mean IPv4 as well, and collide with the socket that we have for it.
        setsockopt(&held, sockopt::Ipv6V6Only, &true)?;
    }
    let address = SockaddrStorage::from(SocketAddr::new(ip, port));
    match protocol {
        Protocol::Tcp if port != 0 => claim(&held, &address)?,
        // Datagrams leave no TIME_WAIT, and the kernel chooses no port that has one.
        _ => bind(held.as_raw_fd(), &address)?,
    }
    let name = getsockname::<SockaddrStorage>(held.as_raw_fd())?;
    let port = name.as_sockaddr_in().map(|name| name.port());
    Ok((held, port.or(name.as_sockaddr_in6().map(|name| name.port())).unwrap_or(0)))
}

/// Binds over a TIME_WAIT, and then has the port to itself: to listen once makes the claim exclusive, and it
/// stays so when the listening ends and the permission to share is taken back.
fn claim(held: &OwnedFd, address: &SockaddrStorage) -> nix::Result<()> {
    setsockopt(held, sockopt::ReuseAddr, &true)?;
    bind(held.as_raw_fd(), address)?;
    listen(held, Backlog::new(1)?)?;
    shutdown(held.as_raw_fd(), Shutdown::Both)?;
    setsockopt(held, sockopt::ReuseAddr, &false)
}
// ANCHOR_END: reserve

fn cannot(wish: &Wish, errno: Errno) -> Error {
    let cause = match errno {
        Errno::EADDRINUSE if wish.host == (0, 0) => "no port of the host is free",
        Errno::EADDRINUSE if wish.host.0 < wish.host.1 => "every port of the range is taken",
        Errno::EADDRINUSE => {
            "another program or container has it; `ss -tulnp` shows programs, `network inspect` containers"
        }
        Errno::EACCES => "ports below net.ipv4.ip_unprivileged_port_start (1024) are for root",
        Errno::EADDRNOTAVAIL => "the host has no such address",
        _ => "",
    };
    Error::new("publish port", wish, errno).because(cause)
}

impl FromStr for Protocol {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Protocol, ()> {
        match text.to_ascii_lowercase().as_str() {
            "tcp" => Ok(Protocol::Tcp),
            "udp" => Ok(Protocol::Udp),
            _ => Err(()),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Protocol::Tcp { "tcp" } else { "udp" })
    }
}

/// As `--publish` would write it.
impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(ip) = self.ip {
            let (open, close) = if ip.is_ipv6() { ("[", "]") } else { ("", "") };
            write!(f, "{open}{ip}{close}:")?;
        }
        match self.host {
            (first, last) if first < last => write!(f, "{first}-{last}")?,
            (first, _) => write!(f, "{first}")?,
        }
        write!(f, ":{}/{}", self.container, self.protocol)
    }
}

/// A wish that was fulfilled is written like one.
impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Published { ip, host, container, protocol } = *self;
        Wish { ip, host: (host, host), container, protocol }.fmt(f)
    }
}

impl FromStr for Published {
    type Err = Error;

    fn from_str(text: &str) -> Result<Published> {
        match wishes(text)?[..] {
            [Wish { ip, host: (host, last), container, protocol }] if host == last && host != 0 => {
                Ok(Published { ip, host, container, protocol })
            }
            _ => Err(Error::refused("read the port", text, "it is one port of the host and one inside")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<String> {
        wishes(text).unwrap().iter().map(Wish::to_string).collect()
    }

    #[test]
    fn every_form_of_docker_is_read() {
        assert_eq!(read("80"), ["0:80/tcp"]);
        assert_eq!(read("8080:80"), ["8080:80/tcp"]);
        assert_eq!(read("127.0.0.1:8080:80/udp"), ["127.0.0.1:8080:80/udp"]);
        assert_eq!(read("[::1]:8080:80"), ["[::1]:8080:80/tcp"]);
        assert_eq!(read("::1:8080:80"), ["[::1]:8080:80/tcp"]);
        assert_eq!(read("127.0.0.1::80"), ["127.0.0.1:0:80/tcp"]);
        assert_eq!(read("0:80/TCP"), ["0:80/tcp"]);
        assert_eq!(read("8000-8001:80-81/udp"), ["8000:80/udp", "8001:81/udp"]);
        assert_eq!(read("80-81"), ["0:80/tcp", "0:81/tcp"]);
        assert_eq!(read("8000-8010:80"), ["8000-8010:80/tcp"]);
        assert_eq!(wishes("1-65535").unwrap().len(), 65_535);
    }

    #[test]
    fn what_is_written_wrong_is_refused_with_the_right_form() {
        let said = |text: &str| wishes(text).unwrap_err().to_string();
        for text in ["", "x", "0", "8080:", "8080:0", "70000:80", "90-80", "8080:80-x", "-1:80", "8080:80-"] {
            assert!(said(text).contains("1 to 65535"), "{text}: {}", said(text));
        }
        for text in ["host:8080:80", "[::1:80", "1.2.3:8080:80", "::1:80", ":8080:80"] {
            assert!(said(text).contains("[::1]:8080:80"), "{text}: {}", said(text));
        }
        assert!(
            said("8000-8001:80-82").contains("same length") && said("8000:80-82").contains("same length")
        );
        assert!(said("80/sctp").contains("tcp"));
    }

    #[test]
    fn a_published_port_is_written_and_read() {
        for text in ["8080:80/tcp", "127.0.0.1:53:5353/udp", "[fd00::1]:8080:80/tcp"] {
            assert_eq!(text.parse::<Published>().unwrap().to_string(), text);
        }
        assert!("80".parse::<Published>().is_err() && "8000-8001:80".parse::<Published>().is_err());
    }

    #[test]
    fn a_port_that_is_held_is_nobody_elses() {
        for protocol in ["tcp", "udp"] {
            let first = reserve(&wishes(&format!("127.0.0.1::80/{protocol}")).unwrap()).unwrap();
            let port = first[0].port.host;
            assert_ne!(port, 0);
            let again = wishes(&format!("127.0.0.1:{port}:81/{protocol}")).unwrap();
            let error = reserve(&again).unwrap_err();
            assert_eq!(error.errno, Errno::EADDRINUSE);
            assert!(error.to_string().contains(&format!("127.0.0.1:{port}:81")), "{error}");
            // Rust's listener sets SO_REUSEADDR, as every server does.
            assert!(protocol == "udp" || std::net::TcpListener::bind(("127.0.0.1", port)).is_err());
            drop(first);
            reserve(&again).unwrap();
        }
    }

    #[test]
    fn a_port_can_be_had_at_once_after_a_server_and_then_by_nobody() {
        let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let client = std::net::TcpStream::connect(address).unwrap();
        // The server closes first: its side goes to TIME_WAIT.
        drop(server.accept().unwrap());
        drop((server, client));
        for wish in [format!("127.0.0.1:{}:80", address.port()), format!("{}:80", address.port())] {
            let held = reserve(&wishes(&wish).unwrap()).unwrap();
            assert!(std::net::TcpListener::bind(address).is_err(), "SO_REUSEADDR and all");
            assert!(reserve(&wishes(&wish).unwrap()).is_err());
            let refused = std::net::TcpStream::connect(address).unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
            drop(held);
        }
        std::net::TcpListener::bind(address).unwrap();
    }

    #[test]
    fn the_first_free_port_of_a_range_is_taken_and_a_held_one_refuses_connections() {
        let first = reserve(&wishes("8000-65535:80").unwrap()).unwrap();
        let port = first[0].port.host;
        let second = reserve(&wishes(&format!("{port}-65535:80").to_string()).unwrap()).unwrap();
        assert!(second[0].port.host > port && second[0].port.ip.is_none());
        let refused = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        let error = reserve(&wishes(&format!("{port}:80").to_string()).unwrap()).unwrap_err();
        assert!(error.to_string().contains("another program"), "{error}");
    }
}
