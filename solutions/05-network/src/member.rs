//! The isolation of this chapter: a container as a member of a network.
//!
//! Before the birth it gets its place, an address and ports; from outside, the cable; inside, the files that tell
//! its programs about it. When it has ended, and the list of isolations is dropped, the place is given back.
//!
//! Invariant: the lease is written before anything is made in the kernel, and released after all of it is gone. So
//! whatever a crash leaves behind stands under the name of a runner that is gone, and is swept by the first one whom
//! it disturbs.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sched::CloneFlags;
use process::{Birth, Child, Context, Error, Isolation, Result};

use crate::allocation::{Held, Wish};
use crate::files::{self, EMBEDDED, ResolvConf};
use crate::identity::{Identity, Texts};
use crate::namespace::in_namespace;
use crate::netlink::Socket;
use crate::port::{self, Reserved};
use crate::resolver::{self, Zone};
use crate::{Lease, Network, Store, bridge, endpoint, link, routes};

/// The network that there is without being made; like Docker's, it knows no names.
pub const DEFAULT: &str = "bridge";

/// The largest packet where no way out says otherwise: Ethernet's.
const MTU: u32 = 1500;

/// A container's membership.
pub struct Member {
    store: Store,
    network: String,
    wish: Wish,
    ports: Vec<port::Wish>,
    identity: Option<Identity>,
    /// From `prepare` on.
    joined: Option<Joined>,
}

impl Member {
    /// A wish to be on a network of this name, with these published ports. `identity` is for the files; none where
    /// the container's `/etc` is the host's.
    pub fn new(
        store: Store,
        network: String,
        wish: Wish,
        ports: Vec<port::Wish>,
        identity: Option<Identity>,
    ) -> Member {
        Member { store, network, wish, ports, identity, joined: None }
    }
}

/// A place in a network.
struct Joined {
    network: Network,
    lease: Lease,
    upstream: Vec<SocketAddr>,
    texts: Option<Texts>,
    _reserved: Vec<Reserved>,
}

impl Isolation for Member {
    fn name(&self) -> &'static str {
        "network"
    }

    // ANCHOR: member
    fn prepare(&mut self, birth: &mut Birth) -> Result<()> {
        birth.in_new(CloneFlags::CLONE_NEWNET);
        let reserved = port::reserve(&self.ports)?;
        self.wish.ports = reserved.iter().map(|reserved| reserved.port).collect();
        let held = self.store.lock(&self.network)?;
        if held.network.internal && !self.ports.is_empty() {
            return Err(Error::refused(
                "publish ports on",
                &self.network,
                "an internal network has no way in",
            ));
        }
        bridge::ensure(&held.network)?;
        let lease = match held.allocate(&self.wish) {
            // A place that nobody uses may be in the way.
            Err(_) if sweep(&held)? > 0 => held.allocate(&self.wish)?,
            done => done?,
        };
        let network = held.network.clone();
        let joined = Joined { network, lease, upstream: Vec::new(), texts: None, _reserved: reserved };
        self.joined.insert(joined).learn(self.identity.as_ref())
    }

    fn outside(&mut self, child: &Child) -> Result<()> {
        let Some(joined) = &self.joined else { return Ok(()) };
        let path = format!("/proc/{}/ns/net", child.pid());
        let netns = File::open(&path).during("open", &path)?;
        endpoint::attach(&joined.network, &joined.lease, mtu()?, netns.as_fd())?;
        match endpoint::publish(&joined.lease) {
            Err(error) if error.errno == Errno::EEXIST && sweep_all(&self.store)? > 0 => {
                endpoint::publish(&joined.lease)?;
            }
            done => done?,
        }
        if joined.network.name == DEFAULT {
            return Ok(());
        }
        let (udp, tcp) = in_namespace(netns.as_fd(), sockets)?;
        let zone = Zone { network: self.network.clone(), folder: self.store.folder(&self.network) };
        resolver::serve(udp, tcp, zone, joined.upstream.clone())
    }

    fn inside(&mut self) -> Result<()> {
        match self.joined.as_ref().and_then(|joined| joined.texts.as_ref()) {
            Some(texts) => files::lay(texts),
            None => Ok(()),
        }
    }
    // ANCHOR_END: member
}

impl Joined {
    /// Whom to ask for names, and what the files say.
    fn learn(&mut self, identity: Option<&Identity>) -> Result<()> {
        let Some(identity) = identity else { return Ok(()) };
        let of_host = ResolvConf::of_host().with(&identity.dns);
        let resolv = if self.network.name == DEFAULT {
            ResolvConf::of_host_reachable().with(&identity.dns)
        } else {
            of_host.clone().embedded()
        };
        if !self.network.internal {
            self.upstream = of_host.servers.iter().map(|server| (*server, 53).into()).collect();
        }
        let gateway = (!self.network.internal).then(|| Network::gateway(self.network.subnet4));
        let addresses: Vec<_> = self.lease.addresses().collect();
        self.texts = Some(identity.texts(&addresses, gateway, &resolv)?);
        Ok(())
    }
}

// ANCHOR: leave
impl Drop for Member {
    /// Whatever fails here stays as a lease of a runner that is gone.
    fn drop(&mut self) {
        let Some(joined) = self.joined.take() else { return };
        let release = || -> Result<()> {
            endpoint::detach(&joined.lease)?;
            self.store.lock(&self.network)?.release(&joined.lease)
        };
        let _ = release();
    }
}

/// Removes what runners left that are gone: cables, published ports, and last the leases that name them.
///
/// # Errors
/// Those of the kernel.
pub fn sweep(held: &Held) -> Result<usize> {
    let stale: Vec<Lease> = held.leases()?.into_iter().filter(Lease::is_stale).collect();
    for lease in &stale {
        endpoint::detach(lease)?;
        held.release(lease)?;
    }
    Ok(stale.len())
}

/// The same in every network.
///
/// # Errors
/// As for [`sweep`].
pub fn sweep_all(store: &Store) -> Result<usize> {
    let mut swept = 0;
    for network in store.list()? {
        swept += sweep(&store.lock(&network.name)?)?;
    }
    Ok(swept)
}
// ANCHOR_END: leave

/// The resolver's sockets, in the container's network: they stay there, whoever uses them.
fn sockets() -> Result<(UdpSocket, TcpListener)> {
    let address = (EMBEDDED, 53);
    let udp = UdpSocket::bind(address).during("bind", "127.0.0.11:53")?;
    let tcp = TcpListener::bind(address).during("bind", "127.0.0.11:53")?;
    Ok((udp, tcp))
}

/// The largest packet on the host's way out.
fn mtu() -> Result<u32> {
    let routes = routes::read();
    match routes::way_out(&routes) {
        Some(name) => Ok(link::find(&mut Socket::route()?, name)?.mtu.unwrap_or(MTU)),
        None => Ok(MTU),
    }
}
