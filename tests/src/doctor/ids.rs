//! Subordinate ids: the ranges of uids and gids that an ordinary user may map into a container.
//!
//! Without them one id can be mapped, one's own; with them a container can hold a whole `/etc/passwd`.

use nix::unistd::{User, geteuid};

use super::place::{Place, read};
use super::probe::{Gap, Probe};
use crate::rootfs::find_program;

/// What is known about subordinate ids.
#[derive(Debug, Clone, Copy, Default)]
struct Facts<'a> {
    name: &'a str,
    uid: u32,
    subuid: &'a str,
    subgid: &'a str,
    helpers: bool,
}

/// Looks for ranges and for the helpers that map them.
pub fn probe(place: &Place) -> Probe {
    let uid = geteuid();
    let name = User::from_uid(uid).ok().flatten().map(|user| user.name).unwrap_or_default();
    let (subuid, subgid) = (read("/etc/subuid"), read("/etc/subgid"));
    let helpers = ["newuidmap", "newgidmap"].iter().all(|helper| find_program(helper).is_some());
    let facts = Facts { name: &name, uid: uid.as_raw(), subuid: &subuid, subgid: &subgid, helpers };
    judge(facts, place).for_chapters([4])
}

fn judge(facts: Facts<'_>, place: &Place) -> Probe {
    let name = "subordinate ids";
    if place.root {
        return Probe::ok(name, "root may map any id");
    }
    let means = "Chapter 4 can then map one id only, your own.";
    let uids = range(facts.subuid, facts.name, facts.uid);
    if uids == 0 || range(facts.subgid, facts.name, facts.uid) == 0 {
        let user = if facts.name.is_empty() { facts.uid.to_string() } else { facts.name.to_owned() };
        let fix = format!("sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}");
        return Probe::partly(name, "no range in /etc/subuid and /etc/subgid", Gap::new(means, fix));
    }
    if !facts.helpers {
        let fix = place.install(["uidmap", "shadow-utils", "shadow", "shadow-uidmap"]);
        return Probe::partly(name, "newuidmap or newgidmap is missing", Gap::new(means, fix));
    }
    Probe::ok(name, format!("{uids} uids"))
}

/// How many ids a user has in `/etc/subuid` or `/etc/subgid`, by name or by number.
fn range(text: &str, name: &str, uid: u32) -> u64 {
    let uid = uid.to_string();
    let lines = text.lines().filter_map(|line| {
        let mut parts = line.trim().split(':');
        let owner = parts.next()?;
        let count = parts.nth(1)?.parse::<u64>().ok()?;
        ((owner == name && !name.is_empty()) || owner == uid).then_some(count)
    });
    lines.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::probe::Outcome;

    #[test]
    fn ranges_are_found_by_name_and_number() {
        let text = "# none\nanna:100000:65536\n1001:165536:1000\nannabel:1:1\n";
        assert_eq!(range(text, "anna", 1000), 65536);
        assert_eq!(range(text, "ben", 1001), 1000);
        assert_eq!(range(text, "", 1002), 0);
    }

    #[test]
    fn each_gap_has_its_fix_and_none_blocks() {
        let place = Place { family: "debian".into(), ..Place::default() };
        let all = "anna:100000:65536\n";
        let facts = Facts { name: "anna", uid: 1000, subuid: all, subgid: all, helpers: true };
        assert_eq!(judge(facts, &place).outcome, Outcome::Ok);
        let no_range = judge(Facts { subgid: "", ..facts }, &place);
        assert_eq!(no_range.outcome, Outcome::Partly);
        assert!(no_range.fix.contains("usermod") && no_range.fix.ends_with("anna"));
        assert!(judge(Facts { helpers: false, ..facts }, &place).fix.contains("apt install uidmap"));
    }
}
