//! The outside world of a network test: one neighbour at the end of a cable, in a namespace of its own.
//!
//! The lab's network namespace plays the host. Its link `wan` leads to the neighbour, 203.0.113.1 and
//! 2001:db8::1 (RFC 5737, RFC 3849), who knows the host, 203.0.113.2 and 2001:db8::2, and nothing behind it. So
//! only what a container sends under the host's address is answered.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

use super::verdict::{Trouble, fail};
use super::wire;
use crate::lab::{HOME, PROBE};

/// The neighbour's addresses.
pub const NEIGHBOUR: [&str; 2] = ["203.0.113.1", "2001:db8::1"];

/// The host's addresses on that cable.
pub const HOST: [&str; 2] = ["203.0.113.2", "2001:db8::2"];

/// The neighbour's namespace.
pub struct Internet {
    namespace: File,
}

/// A program that serves until it is dropped.
pub struct Server(Child);

impl Internet {
    /// Makes the neighbour and the cable.
    ///
    /// # Errors
    /// The kernel refuses a part of it.
    pub fn plug_in() -> Result<Internet, Trouble> {
        let namespace = wire::new_namespace()?;
        wire::cable("wan", "eth0", namespace.as_fd())?;
        let raise = |link: &str, addresses: [&str; 2]| {
            wire::raise(link)?;
            wire::address(link, ip(addresses[0]), 24)?;
            if has_ipv6() { wire::address(link, ip(addresses[1]), 64) } else { Ok(()) }
        };
        raise("wan", HOST)?;
        wire::within(namespace.as_fd(), || {
            wire::raise("lo")?;
            raise("eth0", NEIGHBOUR)
        })?;
        wire::route(ip("0.0.0.0"), 0, ip(NEIGHBOUR[0]))?;
        if has_ipv6() {
            wire::route(ip("::"), 0, ip(NEIGHBOUR[1]))?;
        }
        Ok(Internet { namespace })
    }

    /// What `probe WORDS` says, run by the neighbour: its output, or its error.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn probe(&self, words: &[&str]) -> Result<Result<String, String>, Trouble> {
        probe(Some(self.namespace.as_fd()), words)
    }

    /// A UDP socket of the neighbour's, who knows how long an answer may take.
    ///
    /// # Errors
    /// The port is taken.
    pub fn socket(&self, port: u16) -> Result<UdpSocket, Trouble> {
        let socket = wire::within(self.namespace.as_fd(), || UdpSocket::bind((NEIGHBOUR[0], port)))?;
        socket.set_read_timeout(Some(Duration::from_millis(300)))?;
        Ok(socket)
    }

    /// The link-layer address of the host, as the neighbour finds it out.
    ///
    /// # Errors
    /// The host does not tell.
    pub fn link_address_of_the_host(&self) -> Result<String, Trouble> {
        let _ = self.probe(&["ask", "tcp", HOST[0], "9"])?;
        let known = wire::within(self.namespace.as_fd(), || fs::read_to_string("/proc/thread-self/net/arp"))?;
        let line = known.lines().find(|line| line.starts_with(HOST[0]));
        let address = line.and_then(|line| line.split_whitespace().nth(3));
        address.map(str::to_owned).ok_or_else(|| fail("the neighbour knows the host", known.clone()))
    }

    /// Starts `probe serve` at the neighbour's.
    ///
    /// # Errors
    /// It does not get ready.
    pub fn serve(&self, kind: &str, port: &str) -> Result<Server, Trouble> {
        Server::start(command(Some(self.namespace.as_fd()), &["serve", kind, port, "neighbour"]))
    }

    /// Lets the neighbour send what is for a network behind the host to the host, as an attacker would.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn knows_the_way_to(&self, network: &str, prefix: u8) -> Result<(), Trouble> {
        let (to, via) = (ip(network), ip(HOST[usize::from(network.contains(':'))]));
        Ok(wire::within(self.namespace.as_fd(), || wire::route(to, prefix, via))?)
    }
}

impl Server {
    /// Starts a command that says `ready` when it is.
    ///
    /// # Errors
    /// It ends first.
    pub fn start(mut command: Command) -> Result<Server, Trouble> {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        let server = Server(child);
        if line.trim() == "ready" { Ok(server) } else { Err(fail("a server of the test gets ready", line)) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What `probe WORDS` says, run by the host.
///
/// # Errors
/// It cannot be started.
pub fn by_host(words: &[&str]) -> Result<Result<String, String>, Trouble> {
    probe(None, words)
}

fn probe(namespace: Option<BorrowedFd<'_>>, words: &[&str]) -> Result<Result<String, String>, Trouble> {
    let output = command(namespace, words).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    Ok(if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) })
}

/// `probe WORDS` in a network namespace.
pub fn command(namespace: Option<BorrowedFd<'_>>, words: &[&str]) -> Command {
    let mut command = Command::new(Path::new(HOME).join("bin").join(PROBE));
    command.args(words).stdin(Stdio::null());
    if let Some(namespace) = namespace {
        let number = namespace.as_raw_fd();
        let enter = move || {
            // SAFETY: the namespace outlives the start of the command, and with it this descriptor.
            let namespace = unsafe { BorrowedFd::borrow_raw(number) };
            Ok(setns(namespace, CloneFlags::CLONE_NEWNET)?)
        };
        // SAFETY: one system call.
        unsafe { command.pre_exec(enter) };
    }
    command
}

/// Whether this kernel speaks IPv6.
pub fn has_ipv6() -> bool {
    Path::new("/proc/sys/net/ipv6").exists()
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("the tests write addresses")
}
