//! Allocation: who gets which address of a network.
//!
//! Making a lease's file *is* the allocation: link(2) gives a name to a finished file and fails where the name exists.
//! So no two containers get one address, and nobody ever reads a half-written lease.
//!
//! Addresses are given in a circle, from the one after the last on. So one that was released comes back as late
//! as possible, when no neighbour remembers it any more.
//!
//! Invariant: whoever has a [`Held`] has the network's lock, and is the only one who adds or removes leases.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use nix::fcntl::Flock;
use process::{Context, Error, Result};

use crate::lease::{addresses_in, read_all};
use crate::runner::Runner;
use crate::store::{self, check_name};
use crate::{Lease, Network, Published, Subnet};

/// What a container wants of a network.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// The name it is to be known by.
    pub name: Option<String>,
    /// Other names.
    pub aliases: Vec<String>,
    /// Ports that are held for it.
    pub ports: Vec<Published>,
    /// This very address.
    pub address: Option<Ipv4Addr>,
}

/// A network whose lock we have.
#[derive(Debug)]
pub struct Held {
    /// Which one.
    pub network: Network,
    pub(crate) folder: PathBuf,
    pub(crate) _lock: Flock<File>,
}

impl Held {
    // ANCHOR: allocate
    /// Gives an address to the calling process.
    ///
    /// # Errors
    /// All addresses are taken, or the one that was wished for; a name is wrong, or a live container's.
    pub fn allocate(&self, wish: &Wish) -> Result<Lease> {
        self.check(wish)?;
        let taken = addresses_in(&self.folder)?;
        let address = match wish.address {
            Some(address) => Some(address).filter(|address| !taken.contains(address)),
            None => next(self.network.subnet4, self.last(), &taken),
        };
        let Some(address) = address else { return Err(self.nothing_left(wish)) };
        let lease = Lease {
            address,
            address6: self.address6(address),
            name: wish.name.clone(),
            aliases: wish.aliases.clone(),
            ports: wish.ports.clone(),
            runner: Some(Runner::myself()?),
        };
        if self.write(&lease)? { Ok(lease) } else { Err(self.nothing_left(wish)) }
    }

    /// Writes the file beside its place and then links it there; false if the address is another's.
    fn write(&self, lease: &Lease) -> Result<bool> {
        let (new, place) = (self.folder.join(".new"), self.folder.join(lease.address.to_string()));
        // Removed, not overwritten: if we crashed behind the link, it is a lease under another name.
        let _ = fs::remove_file(&new);
        fs::write(&new, lease.to_string()).during("write", new.display())?;
        let linked = fs::hard_link(&new, &place);
        fs::remove_file(&new).during("remove", new.display())?;
        match linked {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
            linked => linked.during("link", place.display())?,
        }
        fs::write(self.folder.join("last"), lease.address.to_string()).during("write", "last")?;
        Ok(true)
    }

    /// Gives the address back. Its rules and its link must be gone, or the next owner finds them.
    ///
    /// # Errors
    /// EACCES: it is not ours.
    pub fn release(&self, lease: &Lease) -> Result<()> {
        let file = self.folder.join(lease.address.to_string());
        match fs::remove_file(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            done => done.during("remove", file.display()),
        }
    }
    // ANCHOR_END: allocate

    /// All leases, stale ones included, by address.
    ///
    /// # Errors
    /// As [`read_all`].
    pub fn leases(&self) -> Result<Vec<Lease>> {
        read_all(&self.folder)
    }

    /// Whether it can be removed.
    ///
    /// # Errors
    /// It has leases.
    pub fn refuse_if_used(&self) -> Result<()> {
        let who: Vec<String> = self.leases()?.iter().map(|lease| lease.address.to_string()).collect();
        if who.is_empty() {
            return Ok(());
        }
        let cause = format!("containers are connected: {}", who.join(", "));
        Err(Error::refused("remove the network", &self.network.name, cause))
    }

    /// Removes the network. Its bridge must be gone.
    ///
    /// # Errors
    /// It has leases.
    pub fn remove(self) -> Result<()> {
        self.refuse_if_used()?;
        let old = self.folder.with_file_name(format!(".old-{}", self.network.name));
        store::remove(&old)?;
        fs::rename(&self.folder, &old).during("rename", self.folder.display())?;
        store::remove(&old)
    }

    fn check(&self, wish: &Wish) -> Result<()> {
        wish.name.iter().chain(&wish.aliases).try_for_each(|name| check_name(name))?;
        if let Some(address) = wish.address {
            let subnet = self.network.subnet4;
            let is_containers = (2..=subnet.hosts()).contains(&subnet.index(address.into()));
            if !(subnet.contains(address.into()) && is_containers) {
                let cause = format!("it is no container's address in {subnet}");
                return Err(Error::refused("use the address", address, cause));
            }
        }
        let Some(name) = &wish.name else { return Ok(()) };
        // As DNS compares: without regard to case.
        let called =
            |lease: &Lease| lease.name.as_ref().is_some_and(|other| other.eq_ignore_ascii_case(name));
        let same = |lease: &Lease| called(lease) && !lease.is_stale();
        match self.leases()?.into_iter().find(same) {
            None => Ok(()),
            Some(lease) => {
                let cause = format!("the container at {} has it in this network", lease.address);
                Err(Error::refused("use the name", name, cause))
            }
        }
    }

    fn nothing_left(&self, wish: &Wish) -> Error {
        match wish.address {
            Some(address) => Error::refused("use the address", address, "another container has it"),
            None => {
                let cause = format!("all {} are taken", self.network.subnet4.hosts() - 1);
                Error::refused("find an address in network", &self.network.name, cause)
            }
        }
    }

    fn last(&self) -> Option<Ipv4Addr> {
        fs::read_to_string(self.folder.join("last")).ok()?.trim().parse().ok()
    }

    fn address6(&self, address: Ipv4Addr) -> Option<Ipv6Addr> {
        let number = self.network.subnet4.index(address.into());
        match self.network.subnet6?.host(number) {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        }
    }
}

// ANCHOR: turn
/// The first free address of a container behind `last`, and around; hosts 0 and 1 are none.
fn next(subnet: Subnet, last: Option<Ipv4Addr>, taken: &HashSet<Ipv4Addr>) -> Option<Ipv4Addr> {
    todo!("5.4 Give addresses in turn")
}
// ANCHOR_END: turn

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::random::random;
    use crate::store::Store;

    /// A folder that goes away with the test.
    pub(crate) struct Temporary(pub(crate) PathBuf);

    impl Drop for Temporary {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    pub(crate) fn temporary() -> Temporary {
        let path =
            std::env::temp_dir().join(format!("gantry-{:x?}", random::<8>().unwrap()).replace(", ", ""));
        fs::create_dir(&path).unwrap();
        Temporary(path)
    }

    fn store(subnet: &str) -> (Temporary, Store) {
        let state = temporary();
        let store = Store::open(&state.0).unwrap();
        let wish = store::Wish {
            name: "harbour".to_owned(),
            subnet4: Some(subnet.parse().unwrap()),
            ..store::Wish::default()
        };
        store.create(&wish, &[]).unwrap();
        (state, store)
    }

    fn named(name: &str) -> Wish {
        Wish { name: Some(name.to_owned()), ..Wish::default() }
    }

    #[test]
    fn addresses_go_around() {
        let subnet: Subnet = "10.208.0.0/29".parse().unwrap();
        let address = |host: u8| Ipv4Addr::new(10, 208, 0, host);
        let turn = |last: Option<Ipv4Addr>| -> Vec<u8> {
            let mut taken = HashSet::new();
            std::iter::from_fn(|| {
                let found = next(subnet, last, &taken)?;
                taken.insert(found).then_some(found.octets()[3])
            })
            .collect()
        };
        assert_eq!(turn(None), [2, 3, 4, 5, 6]);
        assert_eq!(turn(Some(address(4))), [5, 6, 2, 3, 4]);
        for last in [address(6), address(7), address(1), address(0), Ipv4Addr::new(192, 0, 2, 1)] {
            assert_eq!(turn(Some(last)), [2, 3, 4, 5, 6]);
        }
    }

    #[test]
    fn a_released_address_is_reused_last() {
        let (_state, store) = store("10.208.0.0/28");
        let held = store.lock("harbour").unwrap();
        let mut leases: Vec<Lease> = (0..3).map(|_| held.allocate(&Wish::default()).unwrap()).collect();
        let released = leases.remove(1);
        held.release(&released).unwrap();
        drop(held);
        // As after a restart: nothing is remembered but the files.
        let held = store.lock("harbour").unwrap();
        for _ in 0..10 {
            assert_ne!(held.allocate(&Wish::default()).unwrap().address, released.address);
        }
        assert_eq!(held.allocate(&Wish::default()).unwrap().address, released.address);
        let full = held.allocate(&Wish::default()).unwrap_err().to_string();
        assert!(full.contains("all 13 are taken"), "{full}");
    }

    #[test]
    fn a_hundred_at_once_get_a_hundred_addresses() {
        let (_state, store) = store("10.208.0.0/24");
        let all: HashSet<Lease> = std::thread::scope(|scope| {
            let one = || store.lock("harbour").unwrap().allocate(&Wish::default()).unwrap();
            let threads: Vec<_> = (0..100).map(|_| scope.spawn(one)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(all.len(), 100);
        assert_eq!(read_all(&store.folder("harbour")).unwrap().len(), 100);
    }

    impl std::hash::Hash for Lease {
        fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
            self.address.hash(state);
        }
    }

    #[test]
    fn the_file_is_the_allocation_even_without_the_lock() {
        let (_state, store) = store("10.208.0.0/29");
        let held = store.lock("harbour").unwrap();
        let first = held.allocate(&Wish::default()).unwrap();
        assert!(!held.write(&Lease { name: Some("thief".to_owned()), ..first.clone() }).unwrap());
        // A crash between link and remove leaves a second name of the lease: it must not be written through.
        fs::hard_link(held.folder.join(first.address.to_string()), held.folder.join(".new")).unwrap();
        held.allocate(&Wish::default()).unwrap();
        assert_eq!(held.leases().unwrap()[0], first);
    }

    #[test]
    fn names_and_addresses_can_be_wished_for_once() {
        let (_state, store) = store("10.208.0.0/24");
        let held = store.lock("harbour").unwrap();
        let web = held.allocate(&named("web")).unwrap();
        assert!(held.allocate(&named("web")).unwrap_err().to_string().contains("10.208.0.2"));
        assert!(held.allocate(&named("a b")).is_err());
        // A name of one that is gone is free again.
        let gone = Lease { runner: None, ..web.clone() };
        held.release(&web).unwrap();
        held.write(&gone).unwrap();
        held.allocate(&named("web")).unwrap();

        let at = |address: [u8; 4]| Wish { address: Some(address.into()), ..Wish::default() };
        assert_eq!(held.allocate(&at([10, 208, 0, 77])).unwrap().address.octets()[3], 77);
        assert!(held.allocate(&at([10, 208, 0, 77])).unwrap_err().to_string().contains("another container"));
        for address in
            [[10, 208, 0, 0], [10, 208, 0, 1], [10, 208, 0, 255], [10, 208, 1, 2], [10, 207, 255, 255]]
        {
            assert!(held.allocate(&at(address)).unwrap_err().to_string().contains("10.208.0.0/24"));
        }
        let error = held.remove().unwrap_err().to_string();
        assert!(error.contains("10.208.0.2, 10.208.0.3, 10.208.0.77"), "{error}");
    }
}
