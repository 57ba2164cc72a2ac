//! Stage 5: published ports. Every way to one is tried, and what the server sees of who comes.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::time::Duration;

use super::network::{leases, links, network, on, serving, stop};
use crate::stage::case::{Case, Running};
use crate::stage::internet::{HOST, Internet, by_host, has_ipv6};
use crate::stage::verdict::{Trouble, Verdict, fail, holds, same};

/// An answer that is awaited.
fn says(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

/// A server at 10.77.1.9, port 80 of both protocols, published as 8080.
fn published(case: &Case, kind: &str, flags: &[&str]) -> Result<Running, Trouble> {
    serving(case, "harbour", &[&["--ip", "10.77.1.9"], flags].concat(), [kind, "80", "quay"])
}

pub fn a_published_port_is_reached_from_everywhere(case: &Case) -> Verdict {
    let internet = Internet::plug_in()?;
    network(case, "harbour", 1, &[])?;
    network(case, "pier", 2, &[])?;
    if has_ipv6() {
        // First: the bridge is new, and must not need a second to get ready.
        by_ipv6(case, &internet)?;
    }
    // Whether bridged packets pass the firewall as well: a switch of the host, where it has that module.
    let bridged = Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables");
    let choices: &[&str] = if bridged.exists() { &["0", "1"] } else { &["as it is"] };
    for choice in choices {
        if bridged.exists() {
            fs::write(bridged, choice)?;
        }
        by_ipv4(case, &internet).map_err(|trouble| in_words(trouble, choice))?;
    }
    Ok(())
}

/// With which setting of the switch it happened.
fn in_words(trouble: Trouble, choice: &str) -> Trouble {
    match trouble {
        Trouble::Failed(mut failure) => {
            failure.expected += &format!(" (with bridge-nf-call-iptables {choice})");
            Trouble::Failed(failure)
        }
        skipped => skipped,
    }
}

fn by_ipv4(case: &Case, internet: &Internet) -> Verdict {
    for kind in ["tcp", "udp"] {
        let server = published(case, kind, &["-p", &format!("8080:80/{kind}")])?;
        let from_outside = internet.probe(&["ask", kind, HOST[0], "8080"])?;
        let by_its_address = by_host(&["ask", kind, HOST[0], "8080"])?;
        let by_loopback = by_host(&["ask", kind, "127.0.0.1", "8080"])?;
        let neighbour =
            on(case, "harbour", &["--ip", "10.77.1.20"], &format!("probe ask {kind} {} 8080", HOST[0]));
        let elsewhere =
            on(case, "pier", &["--ip", "10.77.2.20"], &format!("probe ask {kind} {} 8080", HOST[0]));
        let itself = hairpin(case, &server, kind)?;
        stop(server)?;
        same("from outside, the source address is kept", says("quay sees 203.0.113.1"), from_outside)?;
        same("from the host, by its own address", says("quay sees 10.77.1.1"), by_its_address)?;
        same("from the host, by 127.0.0.1", says("quay sees 10.77.1.1"), by_loopback)?;
        neighbour?.code_is(0)?.out_is("quay sees 10.77.1.1")?;
        elsewhere?.code_is(0)?.out_is("quay sees 10.77.2.20")?;
        same("from the container itself", says("quay sees 10.77.1.1"), itself)?;
        let gone = internet.probe(&["ask", kind, HOST[0], "8080"])?;
        holds(gone.is_err(), "the port ends with its container", format!("{gone:?}"))?;
    }
    Ok(())
}

/// What the container hears when it asks for its own port on the host.
fn hairpin(case: &Case, server: &Running, kind: &str) -> Result<Result<String, String>, Trouble> {
    let pid = crate::stage::case::children_of(server.pid()).first().copied().unwrap_or_default();
    let run = on(case, &format!("container:{pid}"), &[], &format!("probe ask {kind} {} 8080", HOST[0]))?;
    Ok(if run.code == 0 { Ok(run.out.trim().to_owned()) } else { Err(run.err) })
}

fn by_ipv6(case: &Case, internet: &Internet) -> Verdict {
    let server = published(case, "tcp", &["-p", "8080:80"])?;
    let from_outside = internet.probe(&["ask", "tcp", HOST[1], "8080"])?;
    let by_host = by_host(&["ask", "tcp", HOST[1], "8080"])?;
    stop(server)?;
    let one = published(case, "tcp", &["-p", "[2001:db8::2]:8080:80"])?;
    let at_one = internet.probe(&["ask", "tcp", HOST[1], "8080"])?;
    stop(one)?;
    same("by IPv6, published on one address", says("quay sees 2001:db8::1"), at_one)?;
    same("from outside by IPv6", says("quay sees 2001:db8::1"), from_outside)?;
    same("from the host by IPv6", says("quay sees fd77:1::1"), by_host)
}

pub fn what_is_not_published_is_not_reached(case: &Case) -> Verdict {
    let internet = Internet::plug_in()?;
    network(case, "harbour", 1, &[])?;
    internet.knows_the_way_to("10.77.1.0", 24)?;
    if has_ipv6() {
        internet.knows_the_way_to("fd77:1::", 64)?;
    }
    by_loopback_only(case, &internet)?;
    let server = published(case, "tcp", &["-p", "127.0.0.1:8080:80"])?;
    let straight = internet.probe(&["ask", "tcp", "10.77.1.9", "80"])?;
    let straight6 = internet.probe(&["ask", "tcp", "fd77:1::9", "80"])?;
    let other_address = internet.probe(&["ask", "tcp", HOST[0], "8080"])?;
    let loopback = by_host(&["ask", "tcp", "127.0.0.1", "8080"])?;
    let own_address = by_host(&["ask", "tcp", HOST[0], "8080"])?;
    stop(server)?;
    for (way, heard) in [
        ("its own address", straight),
        ("its own IPv6 address", straight6),
        ("an address on which it is not published", other_address),
    ] {
        holds(heard.is_err(), format!("from outside nobody comes in by {way}"), format!("{heard:?}"))?;
    }
    same("by the one address on which it is published", says("quay sees 10.77.1.1"), loopback)?;
    holds(own_address.is_err(), "not by another address of the host", format!("{own_address:?}"))
}

/// A port on 127.0.0.1 is for the host; a neighbour on the cable may write that address into a packet, too.
fn by_loopback_only(case: &Case, internet: &Internet) -> Verdict {
    let hearing = || -> Result<Running, Trouble> {
        let words = ["run", "--rootfs", "demo", "--network", "harbour", "-p", "127.0.0.1:8080:80/udp"];
        case.start(&[&words[..], &["--", "probe", "hear", "80"]].concat())?.until_ready()
    };
    let first = hearing()?;
    let host = internet.link_address_of_the_host()?;
    let sent = internet.probe(&["forge", &host, "203.0.113.1", "127.0.0.1", "8080"])?;
    sent.map_err(|why| fail("a packet is sent", why))?;
    first.wait()?.out_is("ready\nnothing")?;
    let second = hearing()?;
    // Nobody answers; it is enough that it is heard.
    let _ = by_host(&["ask", "udp", "127.0.0.1", "8080"])?;
    second.wait()?.out_has("who am I? from 10.77.1.1")?;
    Ok(())
}

/// Takes what lies in a socket out of it.
fn forget_what_came(socket: &UdpSocket) -> Result<(), Trouble> {
    socket.set_nonblocking(true)?;
    while socket.recv(&mut [0; 64]).is_ok() {}
    Ok(socket.set_nonblocking(false)?)
}

pub fn a_flow_ends_with_its_container(case: &Case) -> Verdict {
    let internet = Internet::plug_in()?;
    // One address, so that the next container gets it.
    case.run(&["network", "create", "quay", "--subnet", "10.77.9.0/30"])?.code_is(0)?;
    let client = internet.socket(5555)?;
    let asks = |times: usize| -> Option<String> {
        (0..times).find_map(|_| {
            let mut answer = [0; 64];
            client.send_to(b"who am I?", (HOST[0], 8053)).ok()?;
            let length = client.recv(&mut answer).ok()?;
            Some(String::from_utf8_lossy(&answer[..length]).trim().to_owned())
        })
    };
    // A flow that began before the port was published; the kernel keeps a list of flows once there are rules.
    on(case, "quay", &[], "true")?.code_is(0)?;
    asks(1);
    let published = serving(case, "quay", &["-p", "8053:5353/udp"], ["udp", "5353", "quay"])?;
    let heard = asks(5);
    stop(published)?;
    let secret = serving(case, "quay", &[], ["udp", "5353", "secret"])?;
    // On a busy machine an answer may have come after its question was given up.
    forget_what_came(&client)?;
    let after = asks(5);
    stop(secret)?;
    same("a client that asked too early is heard now", Some("quay sees 203.0.113.1".to_owned()), heard)?;
    same(
        "nobody answers in the place of a container that ended, by a port that is published no more",
        None,
        after,
    )
}

pub fn the_hosts_loopback_is_closed_to_containers(case: &Case) -> Verdict {
    network(case, "harbour", 1, &[])?;
    let server = published(case, "tcp", &["-p", "8080:80"])?;
    // For the host's own way from 127.0.0.1 to a container, its bridge routes these addresses (CVE-2020-8558). So who
    // puts a packet for 127.0.0.1 on the cable, past all routing tables, would reach what listens for the host only.
    let secret = UdpSocket::bind("127.0.0.1:4711")?;
    let open = UdpSocket::bind("10.77.1.1:4711")?;
    for socket in [&secret, &open] {
        socket.set_read_timeout(Some(Duration::from_millis(400)))?;
    }
    let forge = |source: &str, destination: &str| {
        format!("probe forge 02:42:0a:4d:01:01 {source} {destination} 4711")
    };
    let attack = [forge("10.77.1.20", "127.0.0.1"), forge("10.77.1.20", "10.77.1.1")].join("; ");
    let run = on(case, "harbour", &["--ip", "10.77.1.20"], &attack);
    let heard = [&open, &secret].map(|socket| socket.recv(&mut [0; 64]).is_ok());
    let by_loopback = by_host(&["ask", "tcp", "127.0.0.1", "8080"])?;
    stop(server)?;
    run?.code_is(0)?.out_is("sent\nsent")?;
    same("what the host hears at its address on the bridge, and at 127.0.0.1", [true, false], heard)?;
    same("while the host itself goes that way", says("quay sees 10.77.1.1"), by_loopback)?;
    // As somebody else: as the host itself, a neighbour's network, or the world.
    for source in ["127.0.0.2", "10.77.2.20", "198.51.100.7"] {
        on(case, "harbour", &["--ip", "10.77.1.20"], &forge(source, "10.77.1.1"))?.out_is("sent")?;
        let heard = open.recv(&mut [0; 64]).is_ok();
        holds(!heard, format!("the host hears nobody who calls himself {source}"), "it does")?;
    }
    Ok(())
}

pub fn a_port_that_is_taken_is_told(case: &Case) -> Verdict {
    let _internet = Internet::plug_in()?;
    network(case, "harbour", 1, &[])?;
    let ports = ["-p", "8080:80"];
    let first = published(case, "tcp", &ports)?;
    let before = (links()?, leases("harbour"));
    let second = on(case, "harbour", &["--ip", "10.77.1.20", "-p", "8080:80"], "true");
    // The other protocol, or another address where neither means all of them, is another port.
    let other = on(case, "harbour", &["-p", "8080:80/udp"], "true");
    let after = (links()?, leases("harbour"));
    let still = by_host(&["ask", "tcp", "127.0.0.1", "8080"])?;
    stop(first)?;
    second?.code_is(125)?.err_has("8080:80/tcp")?.err_has("EADDRINUSE")?.err_is_one_line()?;
    other?.code_is(0)?;
    same("links and leases after it was refused", before, after)?;
    same("the first still has the port", says("quay sees 10.77.1.1"), still)?;
    let one = serving(case, "harbour", &["-p", "127.0.0.1:8080:80"], ["tcp", "80", "one"])?;
    let two = serving(case, "harbour", &["-p", "203.0.113.2:8080:80"], ["tcp", "80", "two"])?;
    let heard = [by_host(&["ask", "tcp", "127.0.0.1", "8080"])?, by_host(&["ask", "tcp", HOST[0], "8080"])?];
    stop(one)?;
    stop(two)?;
    same("one port on two addresses", [says("one sees 10.77.1.1"), says("two sees 10.77.1.1")], heard)?;
    // A program of the host has it.
    let taken = TcpListener::bind("0.0.0.0:8081")?;
    let run = on(case, "harbour", &["-p", "8081:80"], "true")?;
    drop(taken);
    run.code_is(125)?.err_has("EADDRINUSE")?.err_has("another program")?.err_is_one_line()?;
    on(case, "harbour", &["-p", "8081:80"], "true")?.code_is(0)?;
    Ok(())
}

pub fn a_port_can_be_any_of_a_range(case: &Case) -> Verdict {
    network(case, "harbour", 1, &[])?;
    let free = || by_host(&["ask", "tcp", "127.0.0.1", "8001"]);
    let first = published(case, "tcp", &["-p", "8000-8001:80"])?;
    let second = serving(case, "harbour", &["-p", "8000-8001:80"], ["tcp", "80", "pier"])?;
    let third = on(case, "harbour", &["-p", "8000-8001:80"], "true");
    let heard = [by_host(&["ask", "tcp", "127.0.0.1", "8000"])?, free()?];
    stop(first)?;
    stop(second)?;
    same("the first that is free", [says("quay sees 10.77.1.1"), says("pier sees 10.77.1.1")], heard)?;
    third?.code_is(125)?.err_has("every port of the range is taken")?.err_is_one_line()?;
    let all = published(case, "tcp", &["-p", "0.0.0.0:8001:80"])?;
    let heard = free()?;
    stop(all)?;
    same("0.0.0.0 is every address", says("quay sees 10.77.1.1"), heard)?;
    let pairs = published(case, "tcp", &["-p", "8000-8001:79-80"])?;
    let heard = free()?;
    stop(pairs)?;
    same("two ranges go together one by one", says("quay sees 10.77.1.1"), heard)?;
    // One that the kernel chooses: it stands in the lease.
    let any = published(case, "tcp", &["-p", "80"])?;
    let shown = case.run(&["network", "inspect", "harbour"])?;
    let port =
        shown.out.lines().find_map(|line| line.strip_prefix("port ")?.split(':').next().map(str::to_owned));
    let port = port.unwrap_or_default();
    let heard = by_host(&["ask", "tcp", "127.0.0.1", &port])?;
    stop(any)?;
    same("a port that the kernel chose", says("quay sees 10.77.1.1"), heard)?;
    for (wrong, words) in [
        ("x", "1 to 65535"),
        ("8000-8001:80-82", "same length"),
        ("80/sctp", "tcp"),
        ("[::1]:8080:80", "127.0.0.1"),
        ("192.0.2.9:8080:80", "no such address"),
    ] {
        let run = on(case, "harbour", &["-p", wrong], "true")?;
        run.code_is(125)?.err_has(words)?.err_is_one_line()?;
    }
    Ok(())
}
