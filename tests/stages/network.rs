//! Stage 5: what is claimed of `network`, the runner of chapter 5: namespaces, files, cables and addresses. Ports and
//! names stand in `network_ports.rs` and `network_names.rs`, crashes in `network_crash.rs`.
//!
//! The lab's network namespace plays the host; where a test needs an outside, it is one more namespace at the end of
//! a cable ([`crate::stage::internet`]). The machine's own network is never touched.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use nix::sys::signal::Signal;

use super::network_crash::{what_a_killed_runner_leaves_is_removed, what_runners_left_makes_room};
use super::network_files::{
    files_of_the_image_are_left_alone, files_say_who_the_container_is, who_has_no_right_gets_a_clear_word,
};
use super::network_names::{
    names_are_forwarded_to_the_hosts_servers, neighbours_are_known_by_name,
    the_default_network_knows_no_names, the_resolver_answers_whatever_comes,
};
use super::network_ports::{
    a_flow_ends_with_its_container, a_port_can_be_any_of_a_range, a_port_that_is_taken_is_told,
    a_published_port_is_reached_from_everywhere, the_hosts_loopback_is_closed_to_containers,
    what_is_not_published_is_not_reached,
};
use super::network_world::{
    an_internal_network_has_no_way_out, networks_are_apart, the_world_sees_the_hosts_address,
};
use crate::lab::{HOME, PROBE};
use crate::stage::case::{Case, Run, Running, eventually};
use crate::stage::internet::{Internet, Server, by_host, command, has_ipv6};
use crate::stage::tests;
use crate::stage::verdict::{Trouble, Verdict, holds, same};
use crate::stage::wire;

tests![
    messages_are_what_the_kernel_reads,
    a_network_of_its_own_has_only_loopback,
    files_say_who_the_container_is,
    files_of_the_image_are_left_alone,
    who_has_no_right_gets_a_clear_word,
    a_cable_leads_to_the_network,
    a_container_shares_the_network_of_another,
    nothing_is_left_when_it_ends,
    wrong_use_is_told,
    addresses_are_used_again_last,
    a_full_network_says_so,
    many_at_once_share_nothing,
    the_world_sees_the_hosts_address,
    networks_are_apart,
    an_internal_network_has_no_way_out,
    what_runners_left_makes_room,
    a_published_port_is_reached_from_everywhere,
    what_is_not_published_is_not_reached,
    the_hosts_loopback_is_closed_to_containers,
    a_port_that_is_taken_is_told,
    a_flow_ends_with_its_container,
    a_port_can_be_any_of_a_range,
    what_a_killed_runner_leaves_is_removed,
    neighbours_are_known_by_name,
    names_are_forwarded_to_the_hosts_servers,
    the_default_network_knows_no_names,
    the_resolver_answers_whatever_comes,
];

/// Where the engine keeps its networks in a lab.
pub(super) const STATE: &str = "/tmp/gantry/networks";

/// Makes a network with these subnets, so that every test knows the addresses.
pub(super) fn network(case: &Case, name: &str, third: u8, flags: &[&str]) -> Verdict {
    let (four, six) = (format!("10.77.{third}.0/24"), format!("fd77:{third}::/64"));
    let words = [&["network", "create", name, "--subnet", &four, "--subnet6", &six], flags].concat();
    case.run(&words)?.code_is(0)?.out_is(name)?;
    Ok(())
}

/// Runs a script in a container with its own root, on a network.
pub(super) fn on(case: &Case, network: &str, flags: &[&str], script: &str) -> Result<Run, Trouble> {
    case.sh(&[&["--rootfs", "demo", "--network", network], flags].concat(), script)
}

/// Starts `probe serve tcp|udp PORT TEXT` in such a container, and returns when it is heard. `--init` passes the
/// signal on that ends it.
pub(super) fn serving(
    case: &Case,
    network: &str,
    flags: &[&str],
    [kind, port, text]: [&str; 3],
) -> Result<Running, Trouble> {
    let words = [&["run", "--init", "--rootfs", "demo", "--network", network], flags].concat();
    case.start(&[&words[..], &["--", "probe", "serve", kind, port, text]].concat())?.until_ready()
}

/// Ends a container and waits until its runner has cleaned up.
pub(super) fn stop(running: Running) -> Verdict {
    running.signal(Signal::SIGTERM)?;
    running.ends("a signal ends the container")?;
    Ok(())
}

/// Links of the lab's network namespace.
pub(super) fn links() -> Result<BTreeSet<String>, Trouble> {
    let listed = by_host(&["links"])?.unwrap_or_default();
    Ok(listed.lines().filter_map(|line| line.split(' ').next().map(str::to_owned)).collect())
}

/// The names of the lease files of a network.
pub(super) fn leases(network: &str) -> Vec<String> {
    let entries = fs::read_dir(Path::new(STATE).join(network)).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut leases: Vec<String> = names.filter(|name| name.parse::<std::net::Ipv4Addr>().is_ok()).collect();
    leases.sort_unstable();
    leases
}

pub fn messages_are_what_the_kernel_reads(case: &Case) -> Verdict {
    let run = case.run(&["message"])?;
    let seen: String = run.out.split_whitespace().collect();
    // The same message, by the test's own means.
    let mut info = Vec::new();
    wire::attribute(&mut info, libc::IFLA_INFO_KIND, b"bridge\0");
    wire::attribute(&mut info, libc::IFLA_INFO_DATA | libc::NLA_F_NESTED as u16, &[]);
    let mut body = wire::link_header(0, 0);
    wire::attribute(&mut body, libc::IFLA_IFNAME, b"harbour\0");
    wire::attribute(&mut body, libc::IFLA_ADDRESS, &[2, 0x42, 10, 77, 0, 1]);
    wire::attribute(&mut body, libc::IFLA_LINKINFO | libc::NLA_F_NESTED as u16, &info);
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE;
    let mut message = (16 + body.len() as u32).to_ne_bytes().to_vec();
    message.extend([libc::RTM_NEWLINK.to_ne_bytes(), (flags as u16).to_ne_bytes()].concat());
    message.extend([1_u32.to_ne_bytes(), [0; 4]].concat());
    message.extend(body);
    let expected: String = message.iter().map(|byte| format!("{byte:02x}")).collect();
    run.code_is(0)?;
    holds(
        seen == expected,
        format!("the message that makes a bridge `harbour` is\n{}", in_words(&expected)),
        in_words(&seen),
    )
}

/// Four bytes a group, eight groups a line.
fn in_words(hex: &str) -> String {
    let words: Vec<&str> =
        hex.as_bytes().chunks(8).filter_map(|word| std::str::from_utf8(word).ok()).collect();
    words.chunks(8).map(|line| line.join(" ")).collect::<Vec<_>>().join("\n")
}

pub fn a_network_of_its_own_has_only_loopback(case: &Case) -> Verdict {
    let probe = format!("{HOME}/bin/{PROBE}");
    let _server = Server::start(command(None, &["serve", "tcp", "4711", "host"]))?;
    let own = fs::read_link("/proc/self/ns/net")?.display().to_string();
    let script = format!("readlink /proc/self/ns/net; {probe} links; {probe} ask tcp 127.0.0.1 4711");
    let run = case.sh(&["--network", "none"], &script)?;
    run.claim(!run.out.contains("host sees"), "the host's 127.0.0.1 is not the container's")?;
    let six = if has_ipv6() { " ::1/128" } else { "" };
    // Some kernels put tunnels that are down into every new namespace.
    let up: Vec<&str> = run.out.lines().skip(1).filter(|line| !line.ends_with(" down")).collect();
    run.out_has("net:[")?.out_lacks(&own)?.claim(
        up == [format!("lo up 127.0.0.1/8{six}")],
        "one link is up, the loopback, and has its addresses",
    )?;
    // It works: somebody can be reached at it.
    let script = format!(
        "{probe} serve tcp 80 itself & n=0; until {probe} ask tcp 127.0.0.1 80 2>/dev/null || [ $n -gt 100 ]; \
         do n=$((n+1)); sleep 0.02; done; kill $!"
    );
    case.sh(&["--network", "none", "--init"], &script)?.out_has("itself sees 127.0.0.1")?;
    let shared = case.sh(&["--network", "host"], &format!("{probe} ask tcp 127.0.0.1 4711"))?;
    shared.code_is(0)?.out_is("host sees 127.0.0.1")?;
    Ok(())
}

pub fn a_cable_leads_to_the_network(case: &Case) -> Verdict {
    let _internet = Internet::plug_in()?;
    // No packet may be larger than the host's way out takes.
    wire::largest_packet("wan", 1400)?;
    network(case, "harbour", 1, &[])?;
    let flags = ["--ip", "10.77.1.9"];
    let run = on(
        case,
        "harbour",
        &flags,
        "probe links; cat /sys/class/net/eth0/mtu; cat /sys/class/net/eth0/address; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; cat /proc/sys/net/ipv6/conf/eth0/accept_ra",
    )?;
    let six = if has_ipv6() { " fd77:1::9/64" } else { "" };
    run.code_is(0)?.claim(
        run.out.lines().next() == Some(&format!("eth0 up 10.77.1.9/24{six}")),
        format!("a link eth0 that is up, with the address that was asked for: 10.77.1.9/24{six}"),
    )?;
    run.out_has("\n1400\n")?.out_has("02:42:0a:4d:01:09")?;
    if has_ipv6() {
        run.claim(run.out.trim_end().ends_with("\n0"), "it believes no router that announces itself")?;
    }
    where_it_leads(case, &flags)?;
    // A link that is there already is left alone, and named.
    let elsewhere = wire::new_namespace()?;
    wire::cable("gt0a4d0109", "far", elsewhere.as_fd())?;
    let taken = on(case, "harbour", &flags, "true")?;
    taken.code_is(125)?.err_has("create veth gt0a4d0109: EEXIST")?.err_is_one_line()?;
    // An address is given once, and to containers only.
    on(case, "harbour", &["--ip", "10.77.1.1"], "true")?.code_is(125)?.err_has("10.77.1.0/24")?;
    on(case, "harbour", &["--ip", "10.77.2.2"], "true")?.code_is(125)?.err_has("10.77.1.0/24")?;
    Ok(())
}

/// To the host, which is the gateway, and to a neighbour.
fn where_it_leads(case: &Case, flags: &[&str]) -> Verdict {
    let _server = Server::start(command(None, &["serve", "tcp", "4711", "host"]))?;
    on(case, "harbour", flags, "probe ask tcp 10.77.1.1 4711")?.out_is("host sees 10.77.1.9")?;
    if has_ipv6() {
        on(case, "harbour", flags, "probe ask tcp fd77:1::1 4711")?.out_is("host sees fd77:1::9")?;
    }
    // A neighbour as well, both ways.
    let server = serving(case, "harbour", &["--ip", "10.77.1.20"], ["tcp", "80", "quay"])?;
    let run = on(case, "harbour", flags, "probe ask tcp 10.77.1.20 80")?;
    let host = by_host(&["ask", "tcp", "10.77.1.20", "80"])?;
    stop(server)?;
    run.code_is(0)?.out_is("quay sees 10.77.1.9")?;
    same("what the host hears from the container", Ok("quay sees 10.77.1.1".to_owned()), host)
}

pub fn a_container_shares_the_network_of_another(case: &Case) -> Verdict {
    network(case, "harbour", 1, &[])?;
    let first =
        serving(case, "harbour", &["--ip", "10.77.1.9", "--hostname", "quay"], ["tcp", "80", "quay"])?;
    let pid = crate::stage::case::children_of(first.pid()).first().copied().unwrap_or_default();
    let mode = format!("container:{pid}");
    let run = on(case, &mode, &[], "probe links; probe ask tcp 127.0.0.1 80; grep quay /etc/hosts");
    let taken = on(case, "harbour", &["--ip", "10.77.1.9"], "true");
    stop(first)?;
    let run = run?;
    run.code_is(0)?.out_has("10.77.1.9/24")?.out_has("quay sees 127.0.0.1")?.out_has("10.77.1.9\tquay")?;
    taken?.code_is(125)?.err_has("another container has it")?.err_is_one_line()?;
    on(case, "container:4194304", &[], "true")?.code_is(125)?.err_is_one_line()?;
    on(case, &mode, &["--ip", "10.77.1.8"], "true")?.code_is(125)?.err_has("--ip")?.err_is_one_line()?;
    Ok(())
}

pub fn nothing_is_left_when_it_ends(case: &Case) -> Verdict {
    network(case, "harbour", 1, &[])?;
    on(case, "harbour", &["--ip", "10.77.1.9"], "true")?.code_is(0)?;
    let before = links()?;
    for script in ["exit 3", "kill -9 $$", "nothing-like-that"] {
        on(case, "harbour", &["--ip", "10.77.1.9"], script)?;
        same("links of the host after the container", before.clone(), links()?)?;
        same("leases after the container", Vec::<String>::new(), leases("harbour"))?;
    }
    // A birth that fails after the cable was made.
    case.run(&[
        "run",
        "--rootfs",
        "demo",
        "--network",
        "harbour",
        "--ip",
        "10.77.1.9",
        "--",
        "/no/such/program",
    ])?
    .code_is(127)?;
    same("links of the host after a failed birth", before, links()?)?;
    case.run(&["network", "rm", "harbour"])?.code_is(0)?;
    let left = links()?;
    holds(!left.contains("gt-harbour"), "the bridge goes with its network", format!("{left:?}"))?;
    eventually("the network's folder goes with it", || Ok(!Path::new(STATE).join("harbour").exists()))
}

pub fn wrong_use_is_told(case: &Case) -> Verdict {
    network(case, "harbour", 1, &[])?;
    on(case, "harbour", &["--ip", "10.77.1.9"], "true")?.code_is(0)?;
    let table: [(&[&str], &str); 13] = [
        (&["network", "create", "harbour"], "there is one of that name"),
        (&["network", "create", "../x"], "letters, digits"),
        (&["network", "create", "pier", "--subnet", "10.77.1.128/25"], "10.77.1.0/24"),
        (&["network", "create", "pier", "--subnet", "10.9.0.1/24"], "did you mean 10.9.0.0/24"),
        (&["network", "create", "pier", "--subnet", "10.9.0.0/31"], "/30"),
        (&["network", "create", "host"], "something else"),
        (&["network", "create", "pier..quay"], "letters, digits"),
        (&["network", "create", "pier", "--subnet", "127.0.0.0/24"], "127.0.0.0/8"),
        (&["network", "create", "pier", "--subnet", "224.1.0.0/24"], "224.0.0.0/3"),
        (&["network", "rm", "pier"], "network ls"),
        (&["network", "inspect", "pier"], "network ls"),
        (&["run", "--network", "pier", "--", "true"], "network ls"),
        (&["run", "--network", "ns:pier", "--", "true"], "container:PID"),
    ];
    for (words, expected) in table {
        let run = case.run(words)?;
        run.code_is(125)?.err_has(expected)?.err_is_one_line()?;
    }
    // Somebody else's link that is called like a bridge of ours is left alone.
    network(case, "other", 3, &[])?;
    let elsewhere = wire::new_namespace()?;
    wire::cable("gt-other", "far", elsewhere.as_fd())?;
    wire::raise("gt-other")?;
    let foreign = on(case, "other", &["--ip", "10.77.3.9"], "true")?;
    foreign.code_is(125)?.err_has("create bridge gt-other: EOPNOTSUPP")?.err_is_one_line()?;
    let running = serving(case, "harbour", &["--ip", "10.77.1.9"], ["tcp", "80", "quay"])?;
    let used = case.run(&["network", "rm", "harbour"]);
    stop(running)?;
    used?.code_is(125)?.err_has("10.77.1.9")?.err_is_one_line()?;
    case.run(&["network", "ls"])?.out_has("harbour")?.out_has("10.77.1.0/24")?;
    Ok(())
}

pub fn addresses_are_used_again_last(case: &Case) -> Verdict {
    network(case, "harbour", 1, &[])?;
    let address = || -> Result<String, Trouble> {
        let run = on(case, "harbour", &[], "probe links")?;
        run.code_is(0)?;
        Ok(run.out.split_whitespace().nth(2).unwrap_or_default().to_owned())
    };
    for expected in ["10.77.1.2/24", "10.77.1.3/24"] {
        same("the next address, though the one before is free again", expected.to_owned(), address()?)?;
    }
    fs::write(Path::new(STATE).join("harbour/last"), "192.0.2.200")?;
    same("the first, if the last one was of another subnet", "10.77.1.2/24".to_owned(), address()?)?;
    // Around, past those that are in use.
    let last = serving(case, "harbour", &["--ip", "10.77.1.254"], ["tcp", "80", "quay"])?;
    let second = serving(case, "harbour", &["--ip", "10.77.1.2"], ["tcp", "80", "quay"])?;
    fs::write(Path::new(STATE).join("harbour/last"), "10.77.1.253")?;
    let around = address();
    stop(last)?;
    stop(second)?;
    same("behind the end, past two that are in use", "10.77.1.3/24".to_owned(), around?)
}

pub fn a_full_network_says_so(case: &Case) -> Verdict {
    case.run(&["network", "create", "quay", "--subnet", "10.77.9.0/29"])?.code_is(0)?;
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(serving(case, "quay", &[], ["tcp", "80", "quay"])?);
    }
    same("as many leases as there are addresses", 5, leases("quay").len())?;
    let run = on(case, "quay", &[], "true");
    let freed = all.pop();
    freed.map_or(Ok(()), stop)?;
    let again = on(case, "quay", &[], "true");
    all.into_iter().try_for_each(stop)?;
    run?.code_is(125)?.err_has("all 5 are taken")?.err_is_one_line()?;
    again?.code_is(0)?;
    Ok(())
}

pub fn many_at_once_share_nothing(case: &Case) -> Verdict {
    const MANY: usize = 100;
    on(case, "bridge", &[], "true")?.code_is(0)?;
    let before = links()?;
    let words = ["run", "--network", "bridge", "--", &format!("{HOME}/bin/{PROBE}"), "links"];
    let all = (0..MANY).map(|_| case.start(&words)).collect::<Result<Vec<_>, _>>()?;
    let mut addresses = BTreeSet::new();
    for running in all {
        let run = running.wait()?;
        run.code_is(0)?;
        addresses.insert(run.out.split_whitespace().nth(2).unwrap_or_default().to_owned());
    }
    same("different addresses", MANY, addresses.len())?;
    same("links afterwards", before, links()?)?;
    same("leases afterwards", Vec::<String>::new(), leases("bridge"))
}
