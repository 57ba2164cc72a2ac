//! The kernel's switches for the network: files below `/proc/sys/net`, one set a network namespace.
//!
//! What a thread sees there are those of the namespace in which it is. A switch that stands right is not
//! touched, so a `/proc/sys` that is read-only, as in most containers, is no obstacle to who set them before.
//! See the kernel's Documentation/networking/ip-sysctl.rst.

use std::fs;
use std::io;

use nix::errno::Errno;
use process::{Context, Result};

const ROOT: &str = "/proc/sys/net";

// ANCHOR: sysctl
/// Sets `ipv4/ip_forward` to a value.
///
/// # Errors
/// There is no such switch, or it is not ours to set.
pub fn set(name: &str, value: &str) -> Result<()> {
    let path = format!("{ROOT}/{name}");
    if read(name).during("read", &path)? == value {
        return Ok(());
    }
    fs::write(&path, value).during("write", &path).map_err(|error| match error.errno {
        Errno::EROFS => error.because("as in a container; set it outside, then we need not"),
        Errno::EACCES | Errno::EPERM => error.because("it needs CAP_NET_ADMIN in the network namespace"),
        _ => error,
    })
}

/// Readies a link of ours for IPv6, before it is switched on. Nobody else gives out addresses in our networks: so
/// nobody need ask for a second whether an address is taken (until then a router could not even ask where a
/// container is), and who announces routes is an intruder (CVE-2020-13401).
///
/// # Errors
/// As for [`set`].
pub fn quiet_ipv6(link: &str) -> Result<()> {
    if has_ipv6() {
        set(&format!("ipv6/conf/{link}/accept_dad"), "0")?;
        set(&format!("ipv6/conf/{link}/accept_ra"), "0")?;
    }
    Ok(())
}

/// Whether new links can have IPv6 addresses: the kernel may lack it, or be told to do without.
pub fn has_ipv6() -> bool {
    read("ipv6/conf/default/disable_ipv6").is_ok_and(|value| value == "0")
}

/// Lets the host pass on IPv4 packets that are for others, as a router does.
///
/// # Errors
/// As for [`set`].
pub fn forward4() -> Result<()> {
    set("ipv4/ip_forward", "1")
}

/// The same for IPv6.
///
/// # Errors
/// As for [`set`].
pub fn forward6() -> Result<()> {
    if read("ipv6/conf/all/forwarding").is_ok_and(|value| value == "0") {
        keep_own_routes()?;
    }
    set("ipv6/conf/all/forwarding", "1")
}

/// A router does not listen to other routers: the host would lose the way out that it learned from one. With
/// 2 instead of 1, a link goes on listening. Links to come shall not: they may be ours.
fn keep_own_routes() -> Result<()> {
    let links = fs::read_dir(format!("{ROOT}/ipv6/conf")).during("read", "ipv6/conf")?.flatten();
    for link in links.map(|entry| entry.file_name()).filter(|name| name != "all" && name != "default") {
        let name = format!("ipv6/conf/{}/accept_ra", link.to_string_lossy());
        if read(&name).is_ok_and(|value| value == "1") {
            set(&name, "2")?;
        }
    }
    Ok(())
}
// ANCHOR_END: sysctl

fn read(name: &str) -> io::Result<String> {
    fs::read_to_string(format!("{ROOT}/{name}")).map(|value| value.trim().to_owned())
}
