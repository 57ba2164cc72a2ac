//! Subordinate ids: ranges that the administrator gave to a user, in `/etc/subuid` and `/etc/subgid`.
//!
//! A line is `reader:100000:65536`: name or number, first id, count. See subuid(5).

use std::fs;

use crate::map::Range;

// ANCHOR: subid
/// The ranges of a user in the text of such a file: first id and count.
pub fn ranges_of(text: &str, name: &str, uid: u32) -> Vec<(u32, u32)> {
    let mut ranges = Vec::new();
    for line in text.lines() {
        let [owner, first, count] = line.split(':').map(str::trim).collect::<Vec<_>>()[..] else { continue };
        let (Ok(first), Ok(count)) = (first.parse(), count.parse()) else { continue };
        if count > 0 && (owner == name || owner == uid.to_string()) {
            ranges.push((first, count));
        }
    }
    ranges
}

/// A map with `own` as 0, and the ranges behind it, one after the other.
pub fn map_of(own: u32, ranges: &[(u32, u32)]) -> Vec<Range> {
    let mut map = vec![Range { inside: 0, outside: own, count: 1 }];
    for &(outside, count) in ranges {
        let inside = map.last().map_or(0, |range| range.inside + range.count);
        map.push(Range { inside, outside, count });
    }
    map
}
// ANCHOR_END: subid

/// The ranges that `/etc/subuid` or `/etc/subgid` gives to a user; none where there is no such file.
pub fn read(file: &str, name: &str, uid: u32) -> Vec<(u32, u32)> {
    ranges_of(&fs::read_to_string(file).unwrap_or_default(), name, uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str =
        "# given by hand\nother:100000:65536\nreader:165536:65536\n1000:300000:10\nreader:x:1\n";

    #[test]
    fn a_user_has_the_lines_with_her_name_and_with_her_number() {
        assert_eq!(ranges_of(FILE, "reader", 1000), [(165_536, 65_536), (300_000, 10)]);
        assert_eq!(ranges_of(FILE, "nobody", 65_534), []);
    }

    #[test]
    fn her_own_id_is_root_and_the_ranges_follow() {
        let map: Vec<String> =
            map_of(1000, &[(165_536, 65_536), (300_000, 10)]).iter().map(Range::to_string).collect();
        assert_eq!(map, ["0 1000 1", "1 165536 65536", "65537 300000 10"]);
    }
}
