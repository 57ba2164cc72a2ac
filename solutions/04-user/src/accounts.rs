//! Users and groups of an image, from its own `/etc/passwd` and `/etc/group`.
//!
//! The C library would ask NSS, which may load plug-ins and ask the network, and would read the files of the
//! *host*. We read two text files, inside the root. See passwd(5), group(5).

use process::{Error, Result};

/// Who a program runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// The home folder, if `/etc/passwd` has the user.
    pub home: Option<String>,
}

/// A line of `/etc/passwd`.
struct User<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

/// A line of `/etc/group`.
struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

// ANCHOR: accounts
/// The account that `USER[:GROUP]` means, each a name or a number, in these two files.
///
/// # Errors
/// There is no such name.
pub fn lookup(wish: &str, passwd: &str, group: &str) -> Result<Account> {
    let (user_wish, group_wish) = match wish.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (wish, None),
    };
    let user = users(passwd).find(|user| user.name == user_wish || user.uid.to_string() == user_wish);
    let uid = user.as_ref().map(|user| user.uid).or(user_wish.parse().ok());
    let uid = uid.ok_or_else(|| unknown("user", user_wish, "/etc/passwd"))?;
    let named = |wish: &str| {
        let known = groups(group).find(|group| group.name == wish).map(|group| group.gid);
        known.or(wish.parse().ok()).ok_or_else(|| unknown("group", wish, "/etc/group"))
    };
    // Who names a group gets that one and no others, as with Docker.
    let (gid, more) = match (group_wish, &user) {
        (Some(wish), _) => (named(wish)?, Vec::new()),
        (None, Some(user)) => (user.gid, groups_of(user.name, group)),
        (None, None) => (0, Vec::new()),
    };
    Ok(Account { uid, gid, groups: more, home: user.map(|user| user.home.to_owned()) })
}

/// The groups that have `name` among their members.
fn groups_of(name: &str, group: &str) -> Vec<u32> {
    let is_member = |group: &Group| group.members.split(',').any(|member| member.trim() == name);
    groups(group).filter(is_member).map(|group| group.gid).collect()
}
// ANCHOR_END: accounts

fn unknown(what: &str, name: &str, file: &str) -> Error {
    Error::refused("find", name, format!("there is no such {what} in the container's {file}"))
}

/// The lines that can be understood; others are passed over, as the C library does.
fn users(passwd: &str) -> impl Iterator<Item = User<'_>> {
    passwd.lines().filter_map(|line| match line.split(':').collect::<Vec<_>>()[..] {
        [name, _, uid, gid, _, home, ..] => {
            Some(User { name, uid: uid.parse().ok()?, gid: gid.parse().ok()?, home })
        }
        _ => None,
    })
}

fn groups(group: &str) -> impl Iterator<Item = Group<'_>> {
    group.lines().filter_map(|line| match line.split(':').collect::<Vec<_>>()[..] {
        [name, _, gid, members, ..] => Some(Group { name, gid: gid.parse().ok()?, members }),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nbroken\nmate:x:1000:1000::/home/mate:/bin/sh\n7:x:70:70::/:\n";
    const GROUP: &str = "root:x:0:\nmate:x:1000:\ndeck:x:20:mate,root\nhold:x:21:mate\nnone:x:22:matey\n";

    fn found(wish: &str) -> (u32, u32, Vec<u32>, Option<String>) {
        let account = lookup(wish, PASSWD, GROUP).unwrap();
        (account.uid, account.gid, account.groups, account.home)
    }

    #[test]
    fn names_and_numbers_mean_the_images_own() {
        assert_eq!(found("mate"), (1000, 1000, vec![20, 21], Some("/home/mate".into())));
        assert_eq!(found("1000"), found("mate"));
        assert_eq!(found("root"), (0, 0, vec![20], Some("/root".into())));
        assert_eq!(found("5"), (5, 0, vec![], None), "a number needs no line");
        assert_eq!(found("7").0, 70, "a name of digits is a name");
    }

    #[test]
    fn a_group_that_is_named_is_the_only_one() {
        assert_eq!(found("mate:hold"), (1000, 21, vec![], Some("/home/mate".into())));
        assert_eq!(found("5:6"), (5, 6, vec![], None));
    }

    #[test]
    fn an_unknown_name_is_told() {
        for (wish, file) in [("pilot", "/etc/passwd"), ("mate:pilot", "/etc/group"), ("", "/etc/passwd")] {
            assert!(lookup(wish, PASSWD, GROUP).unwrap_err().to_string().contains(file), "{wish}");
        }
    }
}
