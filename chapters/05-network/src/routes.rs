//! The host's own IPv4 routes, as `/proc/net/route` lists them: whose addresses are in use, and which way is out.
//!
//! The file shows the network namespace of whoever reads it. Numbers are hexadecimal, in the machine's byte order as
//! they stand in memory. See proc(5).

use std::fs;
use std::net::Ipv4Addr;

use crate::Subnet;

/// One route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Through which link.
    pub link: String,
    /// To whom; `0.0.0.0/0` is everybody.
    pub to: Subnet,
}

// ANCHOR: routes
/// The routes of the network namespace in which we are.
pub fn read() -> Vec<Route> {
    parse(&fs::read_to_string("/proc/thread-self/net/route").unwrap_or_default())
}

/// Reads what can be understood; the first line is a heading.
fn parse(text: &str) -> Vec<Route> {
    let address = |word: &str| u32::from_str_radix(word, 16).ok().map(|n| Ipv4Addr::from(n.to_ne_bytes()));
    let route = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (link, to, mask) = (words.first()?, address(words.get(1)?)?, address(words.get(7)?)?);
        let to = Subnet { address: to.into(), prefix: mask.to_bits().count_ones() as u8 };
        Some(Route { link: (*link).to_owned(), to })
    };
    text.lines().skip(1).filter_map(route).collect()
}

/// Whom the host reaches.
pub fn subnets() -> Vec<Subnet> {
    read().into_iter().map(|route| route.to).collect()
}

/// The link through which everything goes that has no better way, if there is one.
pub fn way_out(routes: &[Route]) -> Option<&str> {
    routes.iter().find(|route| route.to.prefix == 0).map(|route| route.link.as_str())
}
// ANCHOR_END: routes

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_read() {
        let text = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                    wan\t00000000\t017100CB\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                    gt-quay\t0000D00A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\nbroken\n";
        let routes = parse(text);
        assert_eq!(
            routes.iter().map(|route| route.to.to_string()).collect::<Vec<_>>(),
            ["0.0.0.0/0", "10.208.0.0/24"]
        );
        assert_eq!(way_out(&routes), Some("wan"));
        assert_eq!(way_out(&routes[1..]), None);
    }
}
