//! 5. What the engine writes below `/proc`, sent elsewhere.

use std::fs::{self, File};
use std::os::unix::fs::symlink;

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::Signal;

use super::{off, on, probe};
use crate::lab::Ground;
use crate::stage::case::Case;
use crate::stage::verdict::{Trouble, Verdict, fail};

pub fn redirected_write(case: &Case) -> Verdict {
    let victim = "/proc/sys/net/core/somaxconn";
    fs::create_dir_all("/tmp/false/sys/net/ipv4")?;
    symlink(victim, "/tmp/false/sys/net/ipv4/ip_forward")?;
    let script = format!("cat {victim}");
    let run =
        probe(case).run(&["careless", "write", "demo", "/tmp/false/sys/net/ipv4", "sh", "-c", &script])?;
    off(
        &run,
        run.out.trim() == "1",
        "the engine's `1` in another switch, and the one that was meant not set",
    )?;

    let engine = |flags: &[&str]| {
        let rest = ["--sysctl", "net.ipv4.ip_forward=1", "--", "sh", "-c", &script];
        case.run(&[&["run", "--rootfs", "demo", "--network", "none"], flags, &rest].concat())
    };
    let run = engine(&["-v", "/tmp/false/sys/net/ipv4:/proc/sys/net/ipv4"])?;
    on(&run, run.out.trim() == "1", "it leads into /proc")?;
    let run = engine(&["-v", "/tmp/false:/proc"])?;
    on(&run, run.out.trim() == "1", "it leads into /proc")?;
    // With no /proc of the engine's own there is the attacker's. The engine does not ask it, but mounts one for itself.
    let flags =
        ["run", "--init", "--rootfs", "demo", "--network", "none", "--bare", "-v", "/tmp/false:/proc"];
    let rest = ["--pid-file", "/tmp/pid", "--sysctl", "net.ipv4.ip_forward=1", "--"];
    let script = "echo ready; exec sleep 1000";
    if case.ground == Ground::User {
        // Whoever sees no /proc in full may mount none, if he is root in a user namespace only.
        let run = case.run(&[&flags[..], &rest, &["true"]].concat())?;
        return on(&run, run.code == 0, "mount proc: EPERM");
    }
    let running = case.start(&[&flags[..], &rest, &["sh", "-c", script]].concat())?.until_ready()?;
    let (meant, other) = switches_of(fs::read_to_string("/tmp/pid")?.trim())?;
    running.signal(Signal::SIGTERM)?;
    let mut run = running.wait()?;
    run.out = format!("ip_forward is {meant} in the container's network, and somaxconn {other}");
    on(&run, other == "1", "ip_forward is 1 in")
}

/// What ip_forward and somaxconn are in the network namespace of a process.
fn switches_of(pid: &str) -> Result<(String, String), Trouble> {
    let namespace = File::open(format!("/proc/{pid}/ns/net"))?;
    let look = || -> Result<(String, String), Trouble> {
        setns(&namespace, CloneFlags::CLONE_NEWNET)?;
        let read = |name: &str| {
            fs::read_to_string(format!("/proc/sys/net/{name}")).map(|text| text.trim().to_owned())
        };
        Ok((read("ipv4/ip_forward")?, read("core/somaxconn")?))
    };
    // On a thread that ends there: this one stays in the lab's network.
    std::thread::scope(|scope| {
        scope.spawn(look).join().map_err(|_| fail("a look into the container", "it panicked"))?
    })
}
