//! The embedded resolver: names of a network's containers for those who are in it, everything else from outside.
//!
//! It stands in two networks at once. Its sockets are the container's: they were made in there, at
//! 127.0.0.11 port 53, and a socket stays in the network in which it was made. Its threads are the runner's, in
//! the host's network: so what they ask others goes out there, and the host's own loopback servers are reachable.
//!
//! Local names are answered by the thread that reads, from the lease files; a question for outside gets a
//! thread of its own, so that a slow server delays nobody else. There are never more than `MOST` of those: a
//! container that asks in a loop while no server answers would fill the runner with threads and the host with
//! sockets. Who comes when all are busy hears SERVFAIL and asks again.
//!
//! Left out: a cache, and DNSSEC of our own answers.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, Builder};
use std::time::Duration;

use process::{Context, Result};

use crate::dns::{A, AAAA, ANY, Code, PTR, Query, Record, reverse};
use crate::lease::{self, Lease};
use crate::upstream::{self, read_message, write_message};

/// How many questions for outside, and how many TCP connections, are served at once.
const MOST: usize = 64;

/// How long a TCP client may say nothing.
const IDLE: Duration = Duration::from_secs(10);

// ANCHOR: zone
/// The names of a network.
#[derive(Debug, Clone)]
pub struct Zone {
    /// What its containers may append to a name, `web.harbour`.
    pub network: String,
    /// Where its leases are.
    pub folder: PathBuf,
}

impl Zone {
    /// The addresses of all live containers that are called so; none where there is no such name.
    fn addresses(&self, name: &str) -> Vec<IpAddr> {
        let called = |lease: &Lease| lease.names().any(|one| one.eq_ignore_ascii_case(self.short(name)));
        self.live(called).iter().flat_map(Lease::addresses).collect()
    }

    /// The full name of the live container that has an address.
    fn name_of(&self, address: IpAddr) -> Option<String> {
        let has = |lease: &Lease| lease.addresses().any(|one| one == address);
        let name = self.live(has).first()?.name.clone()?;
        Some(format!("{name}.{}", self.network))
    }

    /// Whether nobody else could know this name.
    fn is_ours(&self, name: &str) -> bool {
        !self.short(name).contains('.')
    }

    /// The name without the network's.
    fn short<'a>(&self, name: &'a str) -> &'a str {
        let parts = name.split_at_checked(name.len().wrapping_sub(self.network.len()));
        let same = parts.filter(|(_, domain)| domain.eq_ignore_ascii_case(&self.network));
        same.and_then(|(short, _)| short.strip_suffix('.')).unwrap_or(name)
    }

    /// Read anew for every question: containers come and go. An unreadable folder has no names.
    fn live(&self, wanted: impl Fn(&Lease) -> bool) -> Vec<Lease> {
        let all = lease::read_all(&self.folder).unwrap_or_default();
        all.into_iter().filter(|lease| wanted(lease) && !lease.is_stale()).collect()
    }
}
// ANCHOR_END: zone

// ANCHOR: answer
/// Who answers, and from what.
struct Resolver {
    zone: Zone,
    upstream: Vec<SocketAddr>,
}

impl Resolver {
    // ANCHOR: local
    /// The answer that needs nobody else, if there is one.
    fn local(&self, query: &Query<'_>) -> Option<Vec<u8>> {
        todo!("5.6 Know the neighbours")
    }
    // ANCHOR_END: local

    /// The answer from outside; where there is no outside, names without a dot do not exist.
    fn forward(&self, query: &Query<'_>) -> Vec<u8> {
        let code = match self.upstream.is_empty() && self.zone.is_ours(&query.name) {
            true => Code::NxDomain,
            false => Code::ServFail,
        };
        upstream::ask(&self.upstream, query).unwrap_or_else(|| query.answer(code, &[]))
    }
}
// ANCHOR_END: answer

// ANCHOR: serve
/// Serves on these sockets, in threads of this process, until it ends. `upstream` is whom to ask about other
/// names; nobody for an internal network.
///
/// # Errors
/// EAGAIN: no thread can be made.
pub fn serve(udp: UdpSocket, tcp: TcpListener, zone: Zone, upstream: Vec<SocketAddr>) -> Result<()> {
    let resolver = Arc::new(Resolver { zone, upstream });
    let other = Arc::clone(&resolver);
    Builder::new().spawn(move || serve_udp(&resolver, &Arc::new(udp))).during("make a thread", "resolver")?;
    Builder::new().spawn(move || serve_tcp(&other, &tcp)).during("make a thread", "resolver")?;
    Ok(())
}

fn serve_udp(resolver: &Arc<Resolver>, socket: &Arc<UdpSocket>) {
    let (busy, mut bytes) = (Arc::new(()), vec![0; usize::from(u16::MAX)]);
    loop {
        let Ok((length, asker)) = socket.recv_from(&mut bytes) else {
            // Whatever it was, it must not make us spin.
            thread::sleep(Duration::from_millis(10));
            continue;
        };
        let answer = match Query::parse(&bytes[..length]) {
            Err(refusal) => refusal,
            Ok(query) => match resolver.local(&query) {
                Some(answer) => Some(query.fit(answer)),
                None => forward_aside(resolver, socket, &busy, &query, asker),
            },
        };
        // A client that is gone does not miss its answer.
        let _ = answer.map(|answer| socket.send_to(&answer, asker));
    }
}

/// Has a thread of its own forward the question; where that cannot be, the answer that says so.
fn forward_aside(
    resolver: &Arc<Resolver>,
    socket: &Arc<UdpSocket>,
    busy: &Arc<()>,
    query: &Query<'_>,
    asker: SocketAddr,
) -> Option<Vec<u8>> {
    // Each thread owns a copy of `busy`, as long as it lives.
    let (resolver, socket, token) = (Arc::clone(resolver), Arc::clone(socket), Arc::clone(busy));
    let question = query.bytes.to_vec();
    let forward = move || {
        if let Ok(query) = Query::parse(&question) {
            let _ = socket.send_to(&query.fit(resolver.forward(&query)), asker);
        }
        drop(token);
    };
    let started = Arc::strong_count(busy) <= MOST + 1 && Builder::new().spawn(forward).is_ok();
    if started { None } else { Some(query.answer(Code::ServFail, &[])) }
}

fn serve_tcp(resolver: &Arc<Resolver>, listener: &TcpListener) {
    let busy = Arc::new(());
    loop {
        match listener.accept() {
            Ok((stream, _)) if Arc::strong_count(&busy) <= MOST => {
                let (resolver, token) = (Arc::clone(resolver), Arc::clone(&busy));
                // Without a thread, the connection closes: the client sees that.
                let _ = Builder::new().spawn(move || {
                    let _ = converse(&resolver, stream);
                    drop(token);
                });
            }
            Ok(_) => {}
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Answers one question after the other, until the client closes or says nothing for too long.
fn converse(resolver: &Resolver, mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(IDLE))?;
    stream.set_write_timeout(Some(IDLE))?;
    loop {
        let message = read_message(&mut stream)?;
        let answer = match Query::parse(&message) {
            Ok(query) => resolver.local(&query).unwrap_or_else(|| resolver.forward(&query)),
            Err(Some(refusal)) => refusal,
            Err(None) => return Ok(()),
        };
        write_message(&mut stream, &answer)?;
    }
}
// ANCHOR_END: serve

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allocation::Wish;
    use crate::allocation::tests::temporary;
    use crate::dns::tests::ask;
    use crate::store::{self, Store};
    use simple_dns::{Packet, RCODE, TYPE};

    /// Asks a resolver for a network in which we are `web` and `db`, both of them `app` as well.
    fn answers(upstream: &[SocketAddr], questions: &[(&str, TYPE)]) -> Vec<(RCODE, Vec<String>)> {
        let state = temporary();
        let store = Store::open(&state.0).unwrap();
        let wish = store::Wish { name: "harbour".to_owned(), ..store::Wish::default() };
        store.create(&wish, &[]).unwrap();
        for name in ["Web", "db"] {
            let (name, aliases) = (Some(name.to_owned()), vec!["app".to_owned()]);
            store.lock("harbour").unwrap().allocate(&Wish { name, aliases, ..Wish::default() }).unwrap();
        }
        let zone = Zone { network: "harbour".to_owned(), folder: store.folder("harbour") };
        std::fs::write(zone.folder.join("10.208.0.9"), "name ghost\nrunner 1 0 never\n").unwrap();
        let resolver = Resolver { zone, upstream: upstream.to_vec() };
        let answer = |(name, kind): &(&str, TYPE)| {
            let bytes = ask(name, *kind, None);
            let query = Query::parse(&bytes).unwrap();
            let answer = resolver.local(&query).unwrap_or_else(|| resolver.forward(&query));
            let packet = Packet::parse(&answer).unwrap();
            (packet.rcode(), packet.answers.iter().map(|record| format!("{:?}", record.rdata)).collect())
        };
        questions.iter().map(answer).collect()
    }

    #[test]
    fn neighbours_are_known_by_all_their_names() {
        let found = answers(
            &[],
            &[
                ("WEB", TYPE::A),
                ("web.Harbour", TYPE::A),
                ("app", TYPE::A),
                ("web", TYPE::MX),
                ("3.0.208.10.in-addr.arpa", TYPE::PTR),
            ],
        );
        let counts: Vec<(RCODE, usize)> =
            found.iter().map(|(code, records)| (*code, records.len())).collect();
        assert_eq!(counts, [1, 1, 2, 0, 1].map(|count| (RCODE::NoError, count)));
        assert!(found[0].1[0].contains(&format!("{}", u32::from_be_bytes([10, 208, 0, 2]))), "{found:?}");
        assert!(found[4].1[0].contains("db.harbour"), "{found:?}");
    }

    #[test]
    fn without_an_outside_only_names_with_a_dot_may_exist() {
        let found = answers(&[], &[("ghost", TYPE::A), ("quay.harbour", TYPE::A), ("example.org", TYPE::A)]);
        let codes: Vec<RCODE> = found.into_iter().map(|(code, _)| code).collect();
        assert_eq!(codes, [RCODE::NameError, RCODE::NameError, RCODE::ServerFailure]);
    }

    #[test]
    fn a_forged_answer_is_not_believed_and_a_dead_server_is_passed_over() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let dead = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let upstream = [dead, server.local_addr().unwrap()];
        let served = thread::spawn(move || {
            let mut bytes = [0; 512];
            let (length, asker) = server.recv_from(&mut bytes).unwrap();
            let query = Query::parse(&bytes[..length]).unwrap();
            let record = |last| [Record::Address(IpAddr::from([192, 0, 2, last]))];
            let mut forged = query.answer(Code::NoError, &record(66));
            forged[0] ^= 1;
            server.send_to(&forged, asker).unwrap();
            UdpSocket::bind("127.0.0.1:0")
                .unwrap()
                .send_to(&query.answer(Code::NoError, &record(67)), asker)
                .unwrap();
            server.send_to(&query.answer(Code::NoError, &record(80)), asker).unwrap();
        });
        let found = answers(&upstream, &[("example.org", TYPE::A)]);
        served.join().unwrap();
        assert!(found[0].1[0].contains(&format!("{}", u32::from_be_bytes([192, 0, 2, 80]))), "{found:?}");
    }
}
