//! Id maps: which ids outside the ids of a user namespace mean.
//!
//! A map is a list of ranges, and the kernel takes it as text, one range a line: inside, outside, count. It is
//! written once. Uids and gids have a map each. See user_namespaces(7), "User and group ID mappings".
//!
//! Invariant: a checked map has at least one range, none is empty or runs over the end, and no two overlap on
//! either side. The kernel would refuse it with EINVAL and no further word.

use std::fmt;
use std::str::FromStr;

use process::{Error, Result};

/// The most ranges of one map (since Linux 4.15).
const MOST_RANGES: usize = 340;

/// `count` ids from `inside` on mean those from `outside` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first id in the namespace.
    pub inside: u32,
    /// The first id in the namespace around it.
    pub outside: u32,
    /// How many, at least one.
    pub count: u32,
}

/// Both maps of a user namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maps {
    /// User ids.
    pub uids: Vec<Range>,
    /// Group ids.
    pub gids: Vec<Range>,
}

impl FromStr for Range {
    type Err = Error;

    /// Reads `0:100000:65536`.
    fn from_str(text: &str) -> Result<Range> {
        let numbers: Option<Vec<u32>> = text.split(':').map(|number| number.parse().ok()).collect();
        match numbers.as_deref() {
            Some(&[inside, outside, count]) => Ok(Range { inside, outside, count }),
            _ => Err(Error::refused("map ids", text, "write it as INSIDE:OUTSIDE:COUNT, 0:100000:65536")),
        }
    }
}

/// A line as the kernel takes it.
impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.inside, self.outside, self.count)
    }
}

// ANCHOR: check
/// Refuses what the kernel would refuse, and says why.
///
/// # Errors
/// The map is empty, or has too many ranges, an empty one, one that runs over the end, or two that overlap.
pub fn check(map: &[Range]) -> Result<()> {
    let refuse = |range: &Range, cause: &str| Err(Error::refused("map ids", range, cause));
    if map.is_empty() || map.len() > MOST_RANGES {
        return Err(Error::refused("map ids", "", format!("a map has 1 to {MOST_RANGES} ranges")));
    }
    for (index, range) in map.iter().enumerate() {
        let too_far = |first: u32| first.checked_add(range.count).is_none();
        if range.count == 0 || too_far(range.inside) || too_far(range.outside) {
            return refuse(range, "a range has at least one id, and none above 4294967294");
        }
        for other in &map[..index] {
            if overlap(range.inside, other.inside, range, other) {
                return refuse(range, "two ranges of one map overlap inside");
            }
            if overlap(range.outside, other.outside, range, other) {
                return refuse(range, "two ranges of one map overlap outside");
            }
        }
    }
    Ok(())
}
// ANCHOR_END: check

fn overlap(first: u32, other_first: u32, range: &Range, other: &Range) -> bool {
    first < other_first + other.count && other_first < first + range.count
}

/// The map in the kernel's words, one range a line.
pub fn text(map: &[Range]) -> String {
    map.iter().map(|range| format!("{range}\n")).collect()
}

/// What id 0 of a user namespace is outside, by the text of its `uid_map` or `gid_map`, as the kernel shows it here.
pub fn root_outside(text: &str) -> Option<u32> {
    let root = |line: &str| match line.split_whitespace().collect::<Vec<_>>()[..] {
        ["0", outside, _] => outside.parse().ok(),
        _ => None,
    };
    text.lines().find_map(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(text: &str) -> Result<Vec<Range>> {
        let map = text.split_whitespace().map(str::parse).collect::<Result<Vec<Range>>>()?;
        check(&map).map(|()| map)
    }

    #[test]
    fn a_map_is_read_and_written() {
        assert_eq!(text(&map("0:1000:1 1:100000:65536").unwrap()), "0 1000 1\n1 100000 65536\n");
        assert!(map("0:0:4294967295").is_ok());
        assert_eq!(root_outside("     5    7  1\n         0       1000          1\n"), Some(1000));
        assert_eq!(root_outside("1 100000 65536\n"), None);
    }

    #[test]
    fn what_the_kernel_would_refuse_is_refused_with_a_reason() {
        let said = |text: &str| map(text).unwrap_err().to_string();
        assert!(said("0:1000").contains("INSIDE:OUTSIDE:COUNT") && said("0:1:2:3").contains("INSIDE"));
        assert!(said("0:x:1").contains("INSIDE") && said("0:1:-1").contains("INSIDE"));
        assert!(said("").contains("1 to 340"));
        assert!(said("0:1000:0").contains("at least one"));
        assert!(said("5:0:4294967295").contains("none above"));
        assert!(said("0:1000:2 1:5000:1").contains("overlap inside"));
        assert!(said("0:1000:10 50:1009:1").contains("overlap outside"));
    }
}
