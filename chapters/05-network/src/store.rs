//! Networks on disk: one folder each, in it the file `network` and a file for every lease.
//!
//! ```text
//! STATE/networks/harbour/network        what it is, `key value` lines
//!                        last           the address that was given last
//!                        10.208.0.2     a lease: who has this address (see `lease`)
//! ```
//!
//! Invariants: a folder has its name only when it is complete; no two networks share an address or a bridge.
//! The lock on the folder `networks` is held while a network is made, the lock on its own folder while leases
//! come and go. A name that begins with a dot is no network.
//!
//! Left out: bridges and rules, which whoever holds the lock makes and removes.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use process::{Context, Error, Result};

use crate::allocation::Held;
use crate::random::random;
use crate::{Network, Subnet};

/// All networks of a state directory.
#[derive(Debug, Clone)]
pub struct Store(PathBuf);

/// A network that is to be made.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// How it is to be called.
    pub name: String,
    /// Its IPv4 subnet; a free one if not given.
    pub subnet4: Option<Subnet>,
    /// Its IPv6 subnet; a random one if not given.
    pub subnet6: Option<Subnet>,
    /// Whether there is to be no way out of it.
    pub internal: bool,
}

impl Store {
    /// The store in a state directory; made where there is none.
    ///
    /// # Errors
    /// EACCES, EROFS: the state directory is not ours.
    pub fn open(state: &Path) -> Result<Store> {
        let folder = state.join("networks");
        fs::create_dir_all(&folder).during("create", folder.display())?;
        Ok(Store(folder))
    }

    // ANCHOR: create
    /// Makes a network: chooses what was not wished for, and writes it down. `routes` are the host's.
    ///
    /// # Errors
    /// The name is wrong or taken, the subnet is another's, or none is free.
    pub fn create(&self, wish: &Wish, routes: &[Subnet]) -> Result<Network> {
        check_name(&wish.name)?;
        if MODES.contains(&wish.name.as_str()) {
            return Err(Error::refused("use the name", &wish.name, "`--network` means something else by it"));
        }
        let _lock = lock(&self.0)?;
        let others = self.list()?;
        if others.iter().any(|other| other.name == wish.name) {
            return Err(Error::refused("create the network", &wish.name, "there is one of that name"));
        }
        let bridges: Vec<&str> = others.iter().map(|other| other.bridge.as_str()).collect();
        let network = Network {
            name: wish.name.clone(),
            bridge: bridge_name(&wish.name, &bridges),
            subnet4: subnet4(wish, &others, routes)?,
            subnet6: subnet6(wish, &others)?,
            internal: wish.internal,
        };
        check_sizes(&network)?;
        self.write(&network)?;
        Ok(network)
    }
    // ANCHOR_END: create

    /// All networks, by name.
    ///
    /// # Errors
    /// A file that we did not write.
    pub fn list(&self) -> Result<Vec<Network>> {
        let mut networks = Vec::new();
        for entry in fs::read_dir(&self.0).during("read", self.0.display())? {
            let name = entry.during("read", self.0.display())?.file_name();
            match name.to_str() {
                Some(name) if !name.starts_with('.') => networks.extend(self.find(name)?),
                _ => continue,
            }
        }
        networks.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(networks)
    }

    /// A network by its name.
    ///
    /// # Errors
    /// There is none.
    pub fn load(&self, name: &str) -> Result<Network> {
        check_name(name)?;
        let none = || Error::refused("find the network", name, "there is none; `network ls` lists all");
        self.find(name)?.ok_or_else(none)
    }

    /// A network that nobody else changes until the lock is dropped.
    ///
    /// # Errors
    /// As [`Store::load`].
    pub fn lock(&self, name: &str) -> Result<Held> {
        self.load(name)?;
        let folder = self.folder(name);
        let lock = lock(&folder)?;
        // While we waited, it may have been removed.
        Ok(Held { network: self.load(name)?, folder, _lock: lock })
    }

    /// Where the leases of a network are.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn find(&self, name: &str) -> Result<Option<Network>> {
        let file = self.folder(name).join("network");
        match fs::read_to_string(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            text => text.during("read", file.display())?.parse().map(Some),
        }
    }

    /// In another folder first: by its rename the network is there, complete.
    fn write(&self, network: &Network) -> Result<()> {
        let (new, folder) = (self.0.join(".new"), self.folder(&network.name));
        remove(&new)?;
        fs::create_dir(&new).during("create", new.display())?;
        fs::write(new.join("network"), network.to_string()).during("write", new.display())?;
        fs::rename(&new, &folder).during("rename", folder.display())
    }
}

/// Removes a folder and what is in it; it need not be there.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done.during("remove", folder.display()),
    }
}

/// Waits until nobody else has this folder, and has it until the lock is dropped. See flock(2).
fn lock(folder: &Path) -> Result<Flock<File>> {
    let identity = |found: fs::Metadata| (found.dev(), found.ino());
    loop {
        let opened = File::open(folder).during("open", folder.display())?;
        let lock = Flock::lock(opened, FlockArg::LockExclusive).map_err(|(_, errno)| errno);
        let lock = lock.during("lock", folder.display())?;
        // Another folder may have taken its name while we waited.
        let ours = lock.metadata().map(identity).during("stat", folder.display())?;
        if fs::metadata(folder).map(identity).during("stat", folder.display())? == ours {
            return Ok(lock);
        }
    }
}

/// Words of `--network` that are no networks.
const MODES: [&str; 6] = ["auto", "none", "host", "container", "pasta", "slirp4netns"];

/// A DNS label holds 63 bytes, and names are asked for by DNS.
const LONGEST_NAME: usize = 63;

/// Refuses what is no name of a network or container: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`, at most 63 bytes.
///
/// # Errors
/// It is none.
pub fn check_name(name: &str) -> Result<()> {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    // Dots part labels, and no label is empty.
    let labels = name.split('.').all(|label| !label.is_empty());
    if first && labels && name.bytes().all(inner) && name.len() <= LONGEST_NAME {
        return Ok(());
    }
    let cause =
        "a name is letters, digits, `_`, `.` and `-`, begins with a letter or digit, at most 63 bytes";
    Err(Error::refused("use the name", name, cause))
}

/// `IFNAMSIZ` of `<linux/if.h>`, less the prefix and the zero byte at the end.
const LONGEST_SUFFIX: usize = 12;

/// `gt-harbour`; where that is too long or taken, cut and numbered.
fn bridge_name(name: &str, taken: &[&str]) -> String {
    let numbered = |n: u32| {
        let number = if n == 0 { String::new() } else { n.to_string() };
        format!("gt-{name:.*}{number}", LONGEST_SUFFIX - number.len())
    };
    let mut names = (0..).map(numbered).filter(|name| !taken.contains(&name.as_str()));
    names.next().unwrap_or_default()
}

// ANCHOR: subnets
/// Private addresses (RFC 1918) that routers and other engines use seldom. Each network gets a /24.
const POOLS: [(Ipv4, u8); 3] = [([10, 208, 0, 0], 12), ([172, 24, 0, 0], 13), ([192, 168, 192, 0], 18)];
type Ipv4 = [u8; 4];
const PREFIX: u8 = 24;

/// A route as wide as this is the way to the world (a VPN's 0.0.0.0/1), not a network that could collide.
const WIDE: u8 = 7;

fn subnet4(wish: &Wish, others: &[Network], routes: &[Subnet]) -> Result<Subnet> {
    let mut taken: Vec<Subnet> = others.iter().map(|other| other.subnet4).collect();
    // Whoever names a subnet may lay it into a wider route of the host on purpose.
    if let Some(subnet) = wish.subnet4 {
        taken.extend(routes.iter().filter(|route| route.prefix >= subnet.prefix));
        return must_be_private(subnet).and_then(|()| not_taken(subnet, &taken));
    }
    taken.extend(routes);
    let pools = POOLS.map(|(address, prefix)| Subnet { address: address.into(), prefix });
    pools.iter().find_map(|pool| free_in(pool, PREFIX, &taken)).ok_or_else(|| {
        Error::refused("choose a subnet", &wish.name, "all private ones are in use; give one with --subnet")
    })
}

/// The first subnet of `pool` that shares no address with any that is taken.
pub fn free_in(pool: &Subnet, prefix: u8, taken: &[Subnet]) -> Option<Subnet> {
    let size = 1_u128 << (32 - prefix);
    let all = (0..1_u128 << (prefix - pool.prefix)).map(|n| Subnet { address: pool.host(n * size), prefix });
    let free = |subnet: &Subnet| !taken.iter().any(|other| other.prefix > WIDE && other.overlaps(subnet));
    all.into_iter().find(free)
}

/// A unique-local /64 (RFC 4193): `fd`, 40 random bits, and subnet 0 of those that they give us.
fn subnet6(wish: &Wish, others: &[Network]) -> Result<Option<Subnet>> {
    let taken: Vec<Subnet> = others.iter().filter_map(|other| other.subnet6).collect();
    if let Some(subnet) = wish.subnet6 {
        return not_taken(subnet, &taken).map(Some);
    }
    if !Path::new("/proc/sys/net/ipv6").exists() {
        return Ok(None);
    }
    let mut bytes = [0; 16];
    bytes[0] = 0xfd;
    bytes[1..6].copy_from_slice(&random::<5>()?);
    Ok(Some(Subnet { address: bytes.into(), prefix: 64 }))
}
// ANCHOR_END: subnets

/// Addresses that mean something else to every host: this one, loopback, the link, groups, and those never given out.
const SPECIAL: [(Ipv4, u8); 4] =
    [([0, 0, 0, 0], 8), ([127, 0, 0, 0], 8), ([169, 254, 0, 0], 16), ([224, 0, 0, 0], 3)];

fn must_be_private(subnet: Subnet) -> Result<()> {
    let special = SPECIAL.map(|(address, prefix)| Subnet { address: address.into(), prefix });
    match special.iter().find(|special| special.overlaps(&subnet)) {
        None => Ok(()),
        Some(special) => {
            Err(Error::refused("use the subnet", subnet, format!("{special} has a meaning of its own")))
        }
    }
}

fn not_taken(subnet: Subnet, taken: &[Subnet]) -> Result<Subnet> {
    match taken.iter().find(|other| other.overlaps(&subnet)) {
        None => Ok(subnet),
        Some(other) => {
            let cause = format!("another network, or a route of the host, has {other}");
            Err(Error::refused("use the subnet", subnet, cause))
        }
    }
}

/// Every container has the same number in both subnets: so the second must be as large as the first.
fn check_sizes(network: &Network) -> Result<()> {
    let refuse = |subnet: &Subnet, cause| Err(Error::refused("use the subnet", subnet, cause));
    let four = &network.subnet4;
    if !four.address.is_ipv4() || four.hosts() < 2 {
        return refuse(four, "--subnet is an IPv4 subnet of /30 or wider: a gateway and a container");
    }
    match &network.subnet6 {
        Some(six) if !six.address.is_ipv6() || six.hosts() < four.hosts() => {
            refuse(six, "--subnet6 is an IPv6 subnet with as much room as the IPv4 one, such as a /64")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allocation::tests::temporary;

    fn subnets(list: &[&str]) -> Vec<Subnet> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn wish(name: &str) -> Wish {
        Wish { name: name.to_owned(), ..Wish::default() }
    }

    #[test]
    fn names_are_checked() {
        for name in ["a", "Harbour_1.x-y", "0"] {
            check_name(name).unwrap();
        }
        for name in ["", ".", "..", ".new", "-a", "_a", "a b", "a/b", "a\n", "ä", &"x".repeat(64)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_bridge_has_a_name_of_its_own_that_the_kernel_takes() {
        assert_eq!(bridge_name("harbour", &[]), "gt-harbour");
        assert_eq!(bridge_name("harbour-of-hamburg", &[]), "gt-harbour-of-h");
        assert_eq!(bridge_name("harbour-of-hull", &["gt-harbour-of-h"]), "gt-harbour-of-1");
        assert_eq!(bridge_name("a", &["gt-a", "gt-a1"]), "gt-a2");
        assert!(bridge_name(&"x".repeat(63), &[]).len() <= 15);
    }

    #[test]
    fn a_free_subnet_is_nobody_elses() {
        let pool = "10.208.0.0/12".parse().unwrap();
        let free = |taken: &[&str]| free_in(&pool, 24, &subnets(taken)).map(|subnet| subnet.to_string());
        assert_eq!(free(&[]).unwrap(), "10.208.0.0/24");
        assert_eq!(free(&["10.208.0.0/24", "10.208.1.128/25", "0.0.0.0/0"]).unwrap(), "10.208.2.0/24");
        assert_eq!(free(&["0.0.0.0/1", "128.0.0.0/1"]).unwrap(), "10.208.0.0/24", "a VPN's default route");
        assert_eq!(free(&["10.0.0.0/8"]), None);
    }

    #[test]
    fn networks_are_made_listed_and_removed() {
        let state = temporary();
        let store = Store::open(&state.0).unwrap();
        let harbour = store.create(&wish("harbour"), &subnets(&["10.0.0.0/8"])).unwrap();
        assert_eq!(harbour.subnet4.to_string(), "172.24.0.0/24");
        let quay = store.create(&Wish { internal: true, ..wish("quay") }, &[]).unwrap();
        assert_ne!(harbour.subnet6, quay.subnet6);
        assert!(quay.subnet6.unwrap().to_string().starts_with("fd"));
        fs::create_dir(state.0.join("networks/.new")).unwrap();
        assert_eq!(Store::open(&state.0).unwrap().list().unwrap(), [harbour.clone(), quay]);

        let said = |wish: &Wish| store.create(wish, &[]).unwrap_err().to_string();
        assert!(said(&wish("harbour")).contains("of that name"));
        let of = |four: &str, six: Option<&str>| Wish {
            subnet4: Some(four.parse().unwrap()),
            subnet6: six.map(|six| six.parse().unwrap()),
            ..wish("pier")
        };
        assert!(said(&of("172.24.0.0/16", None)).contains("172.24.0.0/24"));
        assert!(said(&of("10.1.1.0/31", None)).contains("/30"));
        assert!(said(&of("fd01::/64", None)).contains("IPv4"));
        assert!(said(&of("10.1.1.0/24", Some("fd00::/121"))).contains("/64"));

        store.lock("harbour").unwrap().remove().unwrap();
        assert!(store.load("harbour").unwrap_err().to_string().contains("network ls"));
        assert!(store.load("../networks").is_err());
        assert_eq!(store.list().unwrap().len(), 1);
    }

    #[test]
    fn networks_made_at_once_share_nothing() {
        let state = temporary();
        let store = Store::open(&state.0).unwrap();
        std::thread::scope(|scope| {
            for n in 0..30 {
                let store = &store;
                scope.spawn(move || store.create(&wish(&format!("harbour-of-town-{n}")), &[]).unwrap());
            }
        });
        let networks = store.list().unwrap();
        assert_eq!(networks.len(), 30);
        for (index, one) in networks.iter().enumerate() {
            for other in &networks[..index] {
                assert!(!one.subnet4.overlaps(&other.subnet4) && one.bridge != other.bridge);
            }
        }
    }
}
