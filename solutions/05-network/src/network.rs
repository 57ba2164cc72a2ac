//! A network, as data and as the file that says it: one `key value` a line.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use process::{Error, Result};

use crate::Subnet;

/// A bridge and the subnets of whoever is connected to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// What the user calls it.
    pub name: String,
    /// What the kernel calls its bridge; at most 15 bytes.
    pub bridge: String,
    /// Its IPv4 addresses.
    pub subnet4: Subnet,
    /// Its IPv6 addresses; none where the kernel has no IPv6.
    pub subnet6: Option<Subnet>,
    /// Whether there is no way out of it.
    pub internal: bool,
}

impl Network {
    /// The bridge's address in one of the subnets: where a container sends what is for the world.
    pub fn gateway(subnet: Subnet) -> IpAddr {
        subnet.host(1)
    }

    /// Its subnets, IPv4 first.
    pub fn subnets(&self) -> impl Iterator<Item = Subnet> {
        [Some(self.subnet4), self.subnet6].into_iter().flatten()
    }
}

/// The pairs of a text of `key value` lines; lines without a value are passed over.
pub(crate) fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| line.split_once(' '))
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Network { name, bridge, subnet4, subnet6, internal } = self;
        writeln!(f, "name {name}\nbridge {bridge}\nsubnet4 {subnet4}")?;
        if let Some(subnet6) = subnet6 {
            writeln!(f, "subnet6 {subnet6}")?;
        }
        writeln!(f, "internal {internal}")
    }
}

impl FromStr for Network {
    type Err = Error;

    fn from_str(text: &str) -> Result<Network> {
        let value = |key| pairs(text).find(|(found, _)| *found == key).map(|(_, value)| value);
        let must = |key| value(key).ok_or_else(|| Error::refused("read the network", key, "it is missing"));
        Ok(Network {
            name: must("name")?.to_owned(),
            bridge: must("bridge")?.to_owned(),
            subnet4: must("subnet4")?.parse()?,
            subnet6: value("subnet6").map(str::parse).transpose()?,
            internal: must("internal")? == "true",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_written_and_read() {
        let text =
            "name harbour\nbridge gt-harbour\nsubnet4 10.208.0.0/24\nsubnet6 fd00::/64\ninternal true\n";
        assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
        assert!("name harbour\n".parse::<Network>().unwrap_err().to_string().contains("bridge"));
    }
}
