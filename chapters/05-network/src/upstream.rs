//! Asking the host's name servers, in the host's network.
//!
//! First by UDP; an answer that is only a head (it was too long) is asked for again by TCP. A server that is
//! silent, or cannot answer, is followed by the next. What comes in is believed only from the address that was
//! asked, to a port that the kernel chose at random, with the id that we chose at random, to the question that we
//! asked: together that is what keeps others from planting answers. See RFC 5452.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use crate::dns::{Query, is_failure, is_truncated};
use crate::random::random;

/// Clients wait 5 seconds (resolv.conf(5)); three servers are as many as they would ask themselves.
const PATIENCE: Duration = Duration::from_millis(1500);
const MOST_SERVERS: usize = 3;

// ANCHOR: ask
/// The first good answer, or the last bad one, with the asker's own id; none if nobody answers.
pub fn ask(servers: &[SocketAddr], query: &Query<'_>) -> Option<Vec<u8>> {
    let mut answer = None;
    for server in servers.iter().take(MOST_SERVERS) {
        match exchange(*server, query) {
            Ok(good) if !is_failure(&good) => return Some(good),
            Ok(bad) => answer = Some(bad),
            Err(_) => continue,
        }
    }
    answer
}

fn exchange(server: SocketAddr, query: &Query<'_>) -> io::Result<Vec<u8>> {
    let id = random().map_err(io::Error::other)?;
    let mut answer = by_udp(server, query, id)?;
    if is_truncated(&answer) {
        // Better the head than nothing: whoever asked can ask again by TCP.
        answer = by_tcp(server, query, id).unwrap_or(answer);
    }
    answer[..2].copy_from_slice(&query.bytes[..2]);
    Ok(answer)
}

fn by_udp(server: SocketAddr, query: &Query<'_>, id: [u8; 2]) -> io::Result<Vec<u8>> {
    let any = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    // A connected socket hears that server only, and of a closed port at once.
    socket.connect(server)?;
    socket.send(&query.with_id(id))?;
    let (deadline, mut bytes) = (Instant::now() + PATIENCE, vec![0; usize::from(u16::MAX)]);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        let length = socket.recv(&mut bytes)?;
        if query.is_answered_by(&bytes[..length], id) {
            bytes.truncate(length);
            return Ok(bytes);
        }
    }
}

fn by_tcp(server: SocketAddr, query: &Query<'_>, id: [u8; 2]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write_message(&mut stream, &query.with_id(id))?;
    let answer = read_message(&mut stream)?;
    if query.is_answered_by(&answer, id) { Ok(answer) } else { Err(io::ErrorKind::InvalidData.into()) }
}
// ANCHOR_END: ask

/// By TCP every message has its length in front, 16 bits.
pub(crate) fn read_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message)?;
    Ok(message)
}

pub(crate) fn write_message(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), message].concat())
}
