//! Subnets: the addresses that share their first bits.
//!
//! `172.30.0.0/16` are those that start with the 16 bits of 172.30. The first address of an IPv4 subnet names the
//! subnet and the last reaches everybody in it; hosts have those between. IPv6 has no broadcast, only the first is
//! special (RFC 4291, 2.6.1). Both families are computed as one 128-bit number. Pure.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use process::{Error, Result};

/// An address whose host bits are zero, and the number of its network bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Subnet {
    /// Its first address.
    pub address: IpAddr,
    /// The number of leading bits that all its addresses share: at most 32, or 128 for IPv6.
    pub prefix: u8,
}

// ANCHOR: subnet
impl Subnet {
    /// The subnet in which `address` lies.
    pub fn around(address: IpAddr, prefix: u8) -> Subnet {
        let subnet = Subnet { address, prefix };
        Subnet { address: subnet.at(number(address) & !subnet.host_bits()), prefix }
    }

    /// Whether `address` is one of its addresses.
    pub fn contains(&self, address: IpAddr) -> bool {
        Subnet::around(address, self.prefix) == *self
    }

    /// Whether any address is in both.
    pub fn overlaps(&self, other: &Subnet) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }

    /// How many addresses hosts can have.
    pub fn hosts(&self) -> u128 {
        let special = if self.address.is_ipv4() { 1 } else { 0 };
        self.host_bits().saturating_sub(special)
    }

    /// The address of a host, from 1 to [`Subnet::hosts`].
    pub fn host(&self, number_of_host: u128) -> IpAddr {
        self.at(number(self.address) | (number_of_host & self.host_bits()))
    }

    /// The number of the host that has an address of this subnet.
    pub fn index(&self, address: IpAddr) -> u128 {
        number(address) & self.host_bits()
    }

    /// The last address, which in IPv4 means everybody.
    pub fn broadcast(&self) -> IpAddr {
        self.at(number(self.address) | self.host_bits())
    }

    /// A number with all bits of a host set, and none of the network.
    fn host_bits(&self) -> u128 {
        let (all, width) = if self.address.is_ipv4() { (u32::MAX.into(), 32) } else { (u128::MAX, 128) };
        if self.prefix >= width { 0 } else { all >> self.prefix }
    }

    /// A number as an address of this family.
    fn at(&self, number: u128) -> IpAddr {
        match self.address {
            IpAddr::V4(_) => Ipv4Addr::from_bits(number as u32).into(),
            IpAddr::V6(_) => Ipv6Addr::from_bits(number).into(),
        }
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}
// ANCHOR_END: subnet

impl FromStr for Subnet {
    type Err = Error;

    /// Reads `172.30.0.0/16` and `fd00:7::/64`.
    fn from_str(text: &str) -> Result<Subnet> {
        let refuse = |cause: String| Error::refused("read subnet", text, cause);
        let parts = text.split_once('/').and_then(|(address, prefix)| {
            Some((address.parse::<IpAddr>().ok()?, prefix.parse::<u8>().ok()?))
        });
        let (address, prefix) =
            parts.ok_or_else(|| refuse("write it as ADDRESS/BITS, 172.30.0.0/16".to_owned()))?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        if prefix > most {
            return Err(refuse(format!("an address has {most} bits")));
        }
        let subnet = Subnet::around(address, prefix);
        if subnet.address != address {
            return Err(refuse(format!("the bits of the host must be zero; did you mean {subnet}?")));
        }
        Ok(subnet)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn it_is_read_and_written() {
        for text in ["172.30.0.0/16", "10.0.0.4/30", "0.0.0.0/0", "fd00:7::/64", "::/0", "10.1.2.3/32"] {
            assert_eq!(subnet(text).to_string(), text);
        }
    }

    #[test]
    fn a_wrong_one_is_refused_with_a_reason() {
        let said = |text: &str| text.parse::<Subnet>().unwrap_err().to_string();
        assert!(said("172.30.0.1/16").contains("172.30.0.0/16?"));
        assert!(said("10.0.0.0/33").contains("32 bits") && said("::/129").contains("128 bits"));
        for text in ["", "10.0.0.0", "10.0.0.0/", "10.0.0/8", "10.0.0.0/-1", "/8"] {
            assert!(said(text).contains("ADDRESS/BITS"), "{text}");
        }
    }

    #[test]
    fn it_contains_its_own_and_no_others() {
        let harbour = subnet("172.30.0.0/16");
        assert!(harbour.contains("172.30.255.255".parse().unwrap()));
        assert!(!harbour.contains("172.31.0.0".parse().unwrap()));
        assert!(!harbour.contains("::ac1e:1".parse().unwrap()), "another family");
        assert!(subnet("::/0").contains("fd00::1".parse().unwrap()));
    }

    #[test]
    fn one_in_the_other_overlap_and_neighbours_do_not() {
        let overlap = |a: &str, b: &str| {
            assert_eq!(subnet(a).overlaps(&subnet(b)), subnet(b).overlaps(&subnet(a)));
            subnet(a).overlaps(&subnet(b))
        };
        assert!(overlap("10.0.0.0/8", "10.9.0.0/16") && overlap("10.0.0.0/8", "10.0.0.0/8"));
        assert!(!overlap("10.0.0.0/16", "10.1.0.0/16") && !overlap("0.0.0.0/0", "::/0"));
    }

    #[test]
    fn hosts_are_those_between_the_special_ones() {
        let small = subnet("10.0.0.4/30");
        assert_eq!((small.hosts(), small.host(1), small.host(2)), (2, ip("10.0.0.5"), ip("10.0.0.6")));
        assert_eq!(small.broadcast(), ip("10.0.0.7"));
        assert_eq!(subnet("172.30.0.0/16").host(65_534), ip("172.30.255.254"));
        assert_eq!(subnet("fd00:7::/64").hosts(), u128::from(u64::MAX));
        assert_eq!(subnet("fd00:7::/64").host(256), ip("fd00:7::100"));
        assert_eq!((subnet("10.0.0.0/31").hosts(), subnet("10.0.0.0/32").hosts()), (0, 0));
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }
}
