//! Stage 5: what leaves a network, and what does not.

use std::fs::{self, File};
use std::path::Path;

use super::network::{network, on, serving, stop};
use super::user::{become_ordinary, has_many_ids, ordinary_id, own_demo};
use crate::stage::case::{Case, Run};
use crate::stage::internet::{HOST, Internet, NEIGHBOUR, has_ipv6};
use crate::stage::verdict::{Trouble, Verdict, holds};

pub fn the_world_sees_the_hosts_address(case: &Case) -> Verdict {
    let internet = Internet::plug_in()?;
    network(case, "harbour", 1, &[])?;
    let _tcp = internet.serve("tcp", "80")?;
    let _udp = internet.serve("udp", "53")?;
    let families = if has_ipv6() { 2 } else { 1 };
    for (neighbour, host) in NEIGHBOUR.iter().zip(HOST).take(families) {
        let script = format!("probe ask tcp {neighbour} 80; probe ask udp {neighbour} 53");
        let expected = format!("neighbour sees {host}");
        on(case, "harbour", &[], &script)?.code_is(0)?.out_is(&format!("{expected}\n{expected}"))?;
    }
    Ok(())
}

pub fn networks_are_apart(case: &Case) -> Verdict {
    network(case, "harbour", 1, &[])?;
    network(case, "quay", 2, &[])?;
    let server = serving(case, "harbour", &["--ip", "10.77.1.9"], ["tcp", "80", "harbour"])?;
    let same_network = on(case, "harbour", &[], "probe ask tcp 10.77.1.9 80");
    let other = on(case, "quay", &[], "probe ask tcp 10.77.1.9 80; probe ask tcp fd77:1::9 80");
    stop(server)?;
    other?.out_lacks("harbour sees")?;
    let answer = same_network?;
    answer.code_is(0)?.claim(answer.out.starts_with("harbour sees 10.77.1."), "a neighbour is reached")?;
    Ok(())
}

pub fn an_internal_network_has_no_way_out(case: &Case) -> Verdict {
    let internet = Internet::plug_in()?;
    network(case, "harbour", 1, &["--internal"])?;
    on(case, "harbour", &["-p", "8080:80"], "true")?.code_is(125)?.err_has("no way in")?.err_is_one_line()?;
    let _neighbour = internet.serve("tcp", "80")?;
    let server = serving(case, "harbour", &["--ip", "10.77.1.9"], ["tcp", "80", "harbour"])?;
    let out = "probe ask tcp 203.0.113.1 80; probe ask tcp 2001:db8::1 80";
    let run = on(case, "harbour", &[], &format!("{out}; probe ask tcp 10.77.1.9 80"));
    // A route of its own does not help who is root inside.
    let script = format!("ip route add default via 10.77.1.1 2>/dev/null; {out}");
    let stubborn = on(case, "harbour", &[], &script);
    internet.knows_the_way_to("10.77.1.0", 24)?;
    let into = internet.probe(&["ask", "tcp", "10.77.1.9", "80"])?;
    stop(server)?;
    run?.out_lacks("neighbour sees")?.out_has("harbour sees 10.77.1.")?;
    stubborn?.out_lacks("neighbour sees")?;
    holds(into.is_err(), "nobody comes in from outside", format!("{into:?}"))
}

pub(super) fn who_has_no_right_is_connected_by_a_helper(case: &Case) -> Verdict {
    let internet = Internet::plug_in()?;
    let _neighbour = internet.serve("tcp", "80")?;
    let tools: Vec<&str> = ["pasta", "slirp4netns"].into_iter().filter(|tool| is_installed(tool)).collect();
    for tool in &tools {
        // It takes whoever has uid 0 for root, and the ordinary user of a lab with one id has no other.
        if *tool == "slirp4netns" && !has_many_ids(case) {
            continue;
        }
        let run = helped(case, tool, "probe ask tcp 203.0.113.1 80; probe links")?;
        // They need a device that some machines give to root only; that must be told.
        if File::options().read(true).write(true).open("/dev/net/tun").is_err() || !may_open_tun() {
            run.code_is(125)?.err_has("/dev/net/tun")?.err_is_one_line()?;
        } else {
            run.code_is(0)?.out_has("neighbour sees 203.0.113.2")?.out_has("eth0 up")?;
        }
    }
    let all = ["pasta", "slirp4netns"];
    all.into_iter().filter(|tool| !is_installed(tool)).try_for_each(|tool| {
        helped(case, tool, "true")?.code_is(125)?.err_has("ENOENT")?.err_is_one_line()?;
        Ok(())
    })
}

fn is_installed(tool: &str) -> bool {
    ["/usr/bin", "/bin", "/usr/local/bin"].iter().any(|folder| Path::new(folder).join(tool).exists())
}

/// Whether the ordinary user of this lab may open the device.
fn may_open_tun() -> bool {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata("/dev/net/tun").map_or(0, |found| found.permissions().mode());
    mode & 0o006 == 0o006
}

/// Runs a script as an ordinary user, connected by one of the helpers.
fn helped(case: &Case, tool: &str, script: &str) -> Result<Run, Trouble> {
    own_demo(case, ordinary_id(case))?;
    let words = ["run", "--rootfs", "demo", "--network", tool, "-p", "8080:80", "--", "sh", "-c", script];
    let change = |command: &mut std::process::Command| {
        // Debian's are in /usr/bin; a user's own programs are none of this test's business.
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin");
        become_ordinary(case, command, &[]);
    };
    case.start_with(&words, change)?.wait()
}
