//! Leases: a container's place in a network, as a file named after its address.
//!
//! The file says whose it is, by PID, start time and boot. A runner that crashes leaves one behind; who finds it
//! later and sees that this process is gone removes the rules and the link it names, and then the lease.
//! What a file does not say, or says wrong, is left out: it comes from another version, or from nobody.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use process::{Context, Result};

use crate::Published;
use crate::network::pairs;
use crate::runner::Runner;

// ANCHOR: lease
/// A container's place in a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Its IPv4 address, and the name of its file.
    pub address: Ipv4Addr,
    /// Its IPv6 address, with the same number in its subnet.
    pub address6: Option<Ipv6Addr>,
    /// The name it is known by; nobody else on the network has it.
    pub name: Option<String>,
    /// Other names, which several containers may have.
    pub aliases: Vec<String>,
    /// Its published ports.
    pub ports: Vec<Published>,
    /// Whose it is; none if that cannot be read, and then it is nobody's.
    pub runner: Option<Runner>,
}

impl Lease {
    /// The name of its link on the host, 10 bytes. No two networks share an address, so it is unique.
    pub fn link(&self) -> String {
        format!("gt{:08x}", u32::from(self.address))
    }

    /// Whether its runner is gone.
    pub fn is_stale(&self) -> bool {
        !self.runner.as_ref().is_some_and(Runner::is_alive)
    }

    /// All its names.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.name.iter().chain(&self.aliases)
    }

    /// All its addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        std::iter::once(self.address.into()).chain(self.address6.map(IpAddr::from))
    }

    /// The lease in a file's text. What it does not say, or says wrong, is left out.
    fn parse(address: Ipv4Addr, text: &str) -> Lease {
        let all = |key| pairs(text).filter(move |(found, _)| *found == key).map(|(_, value)| value);
        let one = |key| all(key).next();
        Lease {
            address,
            address6: one("address6").and_then(|text| text.parse().ok()),
            name: one("name").map(str::to_owned),
            aliases: all("alias").map(str::to_owned).collect(),
            ports: all("port").filter_map(|text| text.parse().ok()).collect(),
            runner: one("runner").and_then(Runner::parse),
        }
    }
}

/// As in its file. `link` is for people: it follows from the address.
impl fmt::Display for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "link {}", self.link())?;
        self.runner.iter().try_for_each(|runner| writeln!(f, "runner {runner}"))?;
        self.address6.iter().try_for_each(|address| writeln!(f, "address6 {address}"))?;
        self.name.iter().try_for_each(|name| writeln!(f, "name {name}"))?;
        self.aliases.iter().try_for_each(|alias| writeln!(f, "alias {alias}"))?;
        self.ports.iter().try_for_each(|port| writeln!(f, "port {port}"))
    }
}
// ANCHOR_END: lease

/// The leases in a network's folder, stale ones included, by address.
///
/// # Errors
/// EACCES: they are not ours to read.
pub fn read_all(folder: &Path) -> Result<Vec<Lease>> {
    let mut leases = Vec::new();
    for address in addresses_in(folder)? {
        let file = folder.join(address.to_string());
        match fs::read_to_string(&file) {
            // Released since we read the folder.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            text => leases.push(Lease::parse(address, &text.during("read", file.display())?)),
        }
    }
    leases.sort_by_key(|lease| lease.address);
    Ok(leases)
}

/// The addresses that are taken: names of files that are addresses.
pub(crate) fn addresses_in(folder: &Path) -> Result<HashSet<Ipv4Addr>> {
    let mut found = HashSet::new();
    for entry in fs::read_dir(folder).during("read", folder.display())? {
        let name = entry.during("read", folder.display())?.file_name();
        found.extend(name.to_str().and_then(|name| name.parse::<Ipv4Addr>().ok()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_written_and_read_and_a_broken_one_is_nobodys() {
        let lease = Lease {
            address: Ipv4Addr::new(10, 208, 0, 2),
            address6: Some("fd00::2".parse().unwrap()),
            name: Some("web".to_owned()),
            aliases: vec!["www".to_owned()],
            ports: vec!["[::1]:8080:80/tcp".parse().unwrap(), "53:53/udp".parse().unwrap()],
            runner: Some(Runner::myself().unwrap()),
        };
        let text = lease.to_string();
        assert!(text.starts_with("link gt0ad00002\n"));
        assert_eq!(Lease::parse(lease.address, &text), lease);
        assert!(!lease.is_stale());
        for broken in ["", "link gt", "runner 1", "name web\nrunner x y z\nport\nport 99999:1"] {
            assert!(Lease::parse(lease.address, broken).is_stale(), "{broken}");
        }
    }
}
