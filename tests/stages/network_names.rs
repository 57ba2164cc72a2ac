//! Stage 5: names. What the embedded resolver knows, and what it asks others.

use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::network::{network, on, serving, stop};
use crate::stage::case::{Case, Run, Running, eventually, state_of};
use crate::stage::internet::{Internet, has_ipv6};
use crate::stage::verdict::{Trouble, Verdict, holds};

/// Runs `probe lookup WORDS` on the network, each of its own accord, and says the answers, one a line.
fn looked_up(case: &Case, flags: &[&str], questions: &[&str]) -> Result<Vec<String>, Trouble> {
    let script: Vec<String> = questions
        .iter()
        .map(|words| format!("probe lookup {words} 2>&1 | sort | tr '\\n' ' '; echo"))
        .collect();
    let run = on(case, "harbour", flags, &script.join("; "))?;
    run.code_is(0)?;
    Ok(run.out.lines().map(|line| line.trim().to_owned()).collect())
}

pub fn neighbours_are_known_by_name(case: &Case) -> Verdict {
    network(case, "harbour", 1, &["--internal"])?;
    let neighbour = |ip: &str, name: &str| {
        let flags = ["--ip", ip, "--name", name, "--network-alias", "berth"];
        serving(case, "harbour", &flags, ["tcp", "80", name])
    };
    let (quay, pier) = (neighbour("10.77.1.9", "quay")?, neighbour("10.77.1.10", "pier")?);
    let answers = right_answers(case);
    // As programs ask: through the C library, whose resolv.conf says where.
    let script = "probe ask tcp quay 80; probe ask tcp pier 80; getent hosts crane || grep crane /etc/hosts";
    let program = on(case, "harbour", &["--hostname", "crane"], script);
    let taken = on(case, "harbour", &["--name", "Quay"], "true");
    // The first address is what most programs take: not always the same one.
    let dealt = "for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do probe lookup berth | head -n 1; done | sort -u | wc -l";
    let dealt = on(case, "harbour", &[], dealt);
    let after = names_after_a_kill(case, &quay);
    quay.wait()?;
    stop(pier)?;
    answers?;
    program?.code_is(0)?.out_has("quay sees")?.out_has("pier sees")?.out_has("crane")?;
    taken?.code_is(125)?.err_has("10.77.1.9")?.err_is_one_line()?;
    let dealt = dealt?.out;
    holds(dealt.trim() == "2", "an alias of two containers deals both, one first and then the other", dealt)?;
    // A name ends with its container, an alias with its last.
    after?.out_is("ready\nNXDOMAIN\n10.77.1.10")?;
    Ok(())
}

/// Every kind of question, while `quay` is 10.77.1.9, `pier` is 10.77.1.10, and both are `berth`.
fn right_answers(case: &Case) -> Verdict {
    let (six, both) = match has_ipv6() {
        true => ("fd77:1::9", "10.77.1.9 fd77:1::9"),
        false => ("no such record", "10.77.1.9"),
    };
    let table = [
        ("quay", "10.77.1.9"),
        ("QUAY.", "10.77.1.9"),
        ("quay.harbour", "10.77.1.9"),
        ("berth", "10.77.1.10 10.77.1.9"),
        ("quay TXT", "no such record"),
        ("9.1.77.10.in-addr.arpa PTR", "quay.harbour"),
        ("nobody", "NXDOMAIN"),
        ("quay AAAA", six),
        ("quay ANY", both),
        ("99.1.77.10.in-addr.arpa PTR", "SERVFAIL"),
    ];
    let answers = looked_up(case, &["--name", "crane"], &table.map(|(question, _)| question))?;
    table.iter().zip(answers).try_for_each(|((question, expected), answer)| {
        holds(answer == *expected, format!("`lookup {question}` says {expected}"), answer)
    })
}

/// What a container that is there all the time hears, when the runner of `quay` is killed: nobody has swept its lease.
fn names_after_a_kill(case: &Case, quay: &Running) -> Result<Run, Trouble> {
    let script =
        "echo ready; while ! test -e /tmp/go; do sleep 0.01; done; probe lookup quay; probe lookup berth";
    let words = ["run", "--rootfs", "demo", "--network", "harbour", "--", "sh", "-c", script];
    let asker = case.start(&words)?.until_ready()?;
    quay.signal(Signal::SIGKILL)?;
    let pid = quay.pid();
    eventually("the runner is dead", || Ok(state_of(pid).is_none_or(|state| state == 'Z')))?;
    fs::write(case.demo().join("tmp/go"), "")?;
    asker.wait()
}

/// A name server of the host, which knows `example.org` and nothing else; it answers `count` questions.
fn name_server(address: &str, count: usize) -> Result<thread::JoinHandle<usize>, Trouble> {
    let socket = UdpSocket::bind((address, 53))?;
    socket.set_read_timeout(Some(Duration::from_secs(6)))?;
    Ok(thread::spawn(move || {
        let mut bytes = [0; 512];
        for served in 0..count {
            let Ok((length, asker)) = socket.recv_from(&mut bytes) else { return served };
            let known = bytes[12..length].windows(12).any(|part| part == b"\x07example\x03org");
            let mut answer = bytes[..length].to_vec();
            // A response, recursion available; one answer, or the code NXDOMAIN.
            answer[2] |= 0x80;
            answer[3] = if known { 0x80 } else { 0x83 };
            if known {
                answer[7] = 1;
                answer[10..12].copy_from_slice(&[0, 0]);
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7]);
            }
            let _ = socket.send_to(&answer, asker);
        }
        count
    }))
}

pub fn names_are_forwarded_to_the_hosts_servers(case: &Case) -> Verdict {
    network(case, "harbour", 1, &[])?;
    network(case, "shut", 2, &["--internal"])?;
    let quay = serving(case, "harbour", &["--ip", "10.77.1.9", "--name", "quay"], ["tcp", "80", "quay"])?;
    // On the host's loopback, where no container could reach it.
    let server = name_server("127.0.0.53", 2)?;
    let dns = ["--dns", "127.0.0.53"];
    let answers = looked_up(case, &dns, &["example.org", "example.com", "quay"]);
    let served = server.join().unwrap_or_default();
    let start = Instant::now();
    let nobody = looked_up(case, &["--dns", "127.0.0.54"], &["example.org", "quay"]);
    let took = start.elapsed();
    stop(quay)?;
    let inside = on(case, "shut", &dns, "probe lookup example.org; probe lookup example");
    holds(
        answers? == ["192.0.2.7", "NXDOMAIN", "10.77.1.9"],
        "what the host's server says, and the neighbours",
        "",
    )?;
    holds(served == 2, "the server was asked twice", served)?;
    holds(
        nobody? == ["SERVFAIL", "10.77.1.9"],
        "without a server, SERVFAIL; neighbours are known all the same",
        "",
    )?;
    holds(
        took < Duration::from_secs(6),
        "a server that is not there is no reason to wait long",
        format!("{took:?}"),
    )?;
    inside?.out_is("SERVFAIL\nNXDOMAIN")?;
    Ok(())
}

pub fn the_default_network_knows_no_names(case: &Case) -> Verdict {
    let server = serving(case, "bridge", &["--name", "quay"], ["tcp", "80", "quay"])?;
    let run = on(
        case,
        "bridge",
        &["--dns", "192.0.2.53"],
        "cat /etc/resolv.conf; probe lookup quay A 127.0.0.11 || echo nobody there",
    );
    stop(server)?;
    run?.out_has("nameserver 192.0.2.53")?.out_has("nobody there")?;
    // On networks with names: asked for there, with what the host's file says besides.
    network(case, "harbour", 1, &["--internal"])?;
    let server = serving(case, "harbour", &["--ip", "10.77.1.9", "--name", "quay"], ["tcp", "80", "quay"])?;
    let flags = ["--dns-search", "sea.example", "--dns-option", "timeout:2"];
    let run = on(case, "harbour", &flags, "cat /etc/resolv.conf; probe lookup quay");
    stop(server)?;
    run?.out_has("nameserver 127.0.0.11\nsearch sea.example\noptions")?
        .out_has("timeout:2")?
        .out_has("10.77.1.9")?;
    // Servers on the host's loopback are of no use inside; none is put in their place.
    let host = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let run = on(case, "bridge", &[], "grep nameserver /etc/resolv.conf")?;
    let foreign: Vec<&str> = run
        .out
        .lines()
        .filter(|line| !host.contains(*line) && !Path::new("/run/systemd/resolve/resolv.conf").exists())
        .collect();
    holds(foreign.is_empty(), "no name server that the host does not have", format!("{foreign:?}"))
}

pub fn the_resolver_answers_whatever_comes(case: &Case) -> Verdict {
    let _internet = Internet::plug_in()?;
    network(case, "harbour", 1, &[])?;
    let quay = serving(case, "harbour", &["--ip", "10.77.1.9", "--name", "quay"], ["tcp", "80", "quay"])?;
    // More questions than it serves at once, for a server that never answers; and junk of every length.
    let script = "i=0; while [ $i -lt 40 ]; do probe lookup n$i.example > /dev/null 2>&1 & i=$((i+1)); done; \
                  probe lookup --junk; probe lookup quay; kill $(jobs -p) 2> /dev/null; echo";
    let run = on(case, "harbour", &["--dns", "203.0.113.77"], script);
    stop(quay)?;
    run?.out_is("200 pieces\n10.77.1.9")?;
    Ok(())
}
