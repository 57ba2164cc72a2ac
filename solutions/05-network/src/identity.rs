//! Who a container is in its network, and what its three files say about that: as data, then as texts.

use std::net::IpAddr;

use process::{Isolation, Result};

use crate::files::{self, ResolvConf};

/// What the user says about a container's names and name servers.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// Its host name.
    pub hostname: String,
    /// What others on its network call it.
    pub name: Option<String>,
    /// `--add-host`, as it was written.
    pub add_host: Vec<String>,
    /// `--dns`, `--dns-search`, `--dns-option`.
    pub dns: ResolvConf,
}

/// Name and text of each file in `/etc`.
pub type Texts = Vec<(&'static str, String)>;

impl Identity {
    // ANCHOR: texts
    /// The three files of a container with these addresses, whose name servers are those of `resolv`.
    ///
    /// # Errors
    /// A host that is to be added is written wrong, or means a gateway that there is not.
    pub fn texts(&self, addresses: &[IpAddr], gateway: Option<IpAddr>, resolv: &ResolvConf) -> Result<Texts> {
        let more = self.add_host.iter().map(|text| files::add_host(text, gateway));
        let mut names = vec![self.hostname.clone()];
        names.extend(self.name.clone().filter(|name| *name != self.hostname));
        Ok(vec![
            ("hosts", files::hosts(addresses, &names, &more.collect::<Result<Vec<_>>>()?)),
            ("hostname", format!("{}\n", self.hostname)),
            ("resolv.conf", resolv.to_string()),
        ])
    }
    // ANCHOR_END: texts
}

/// Files that are known before the birth.
#[derive(Debug)]
pub struct EtcFiles(pub Texts);

impl Isolation for EtcFiles {
    fn name(&self) -> &'static str {
        "files of the network"
    }

    fn inside(&mut self) -> Result<()> {
        files::lay(&self.0)
    }
}
