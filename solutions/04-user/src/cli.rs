//! The flags of this floor, which acts at two places: first of all, and last of all.

use clap::{ArgMatches, Command, arg};
use process::cli::{self, Floor, Isolations};
use process::{Error, Isolation, Program, Result};

use crate::caller::{self, Capability};
use crate::identity::read_inside;
use crate::{Identity, IdmappedVolume, Maps, Range, UserNamespace, accounts, helper, subid};

/// First: the maps must be written, and the child must be root, before anything else is set up.
pub const NAMESPACE: Floor = Floor { flags, isolations: namespace };

/// Last: whoever is not root any more can set nothing up.
pub const IDENTITY: Floor = Floor { flags: |command| command, isolations: identity };

fn flags(command: Command) -> Command {
    command.args([
        arg!(--userns <MODE> "Users: auto, private or host").default_value("auto"),
        arg!(--"uid-map" <"INSIDE:OUTSIDE:COUNT"> ... "What user ids mean outside"),
        arg!(--"gid-map" <"INSIDE:OUTSIDE:COUNT"> ... "What group ids mean outside; as --uid-map if not given"),
        arg!(-u --user <"USER[:GROUP]"> "Run the program as this user of the container"),
        arg!(--"idmap-volume" <"SOURCE:TARGET[:ro]"> ... "A volume whose files have the container's ids"),
    ])
}

fn namespace(given: &ArgMatches, _program: &mut Program) -> Result<Isolations> {
    let isolation = |maps| -> Box<dyn Isolation> { Box::new(UserNamespace { maps }) };
    Ok(maps(given)?.map(isolation).into_iter().collect())
}

/// The maps of the user namespace that the flags ask for; none where the container has the caller's.
///
/// # Errors
/// They are written wrong, or contradict each other.
pub fn maps(given: &ArgMatches) -> Result<Option<Maps>> {
    if !is_private(given)? {
        return Ok(None);
    }
    if has_map(given) { maps_given(given) } else { maps_of_caller() }.map(Some)
}

fn has_map(given: &ArgMatches) -> bool {
    ["uid-map", "gid-map"].iter().any(|name| given.contains_id(name))
}

/// Whether these flags give the container users of its own, and so a root with all capabilities in there.
///
/// # Errors
/// There is no such `--userns`, or it contradicts a map.
pub fn is_private(given: &ArgMatches) -> Result<bool> {
    match given.get_one::<String>("userns").map_or("auto", String::as_str) {
        "private" => Ok(true),
        "host" if has_map(given) => {
            Err(Error::refused("--userns", "host", "the host's user namespace has its map"))
        }
        "host" => Ok(false),
        "auto" => Ok(has_map(given) || !caller::has(Capability::SysAdmin)),
        other => Err(Error::refused("--userns", other, "there are auto, private and host")),
    }
}

/// The maps that the flags spell out.
fn maps_given(given: &ArgMatches) -> Result<Maps> {
    let ranges = |name| -> Result<Vec<Range>> {
        given.get_many::<String>(name).into_iter().flatten().map(|text| text.parse()).collect()
    };
    let (uids, gids) = (ranges("uid-map")?, ranges("gid-map")?);
    let gids = if gids.is_empty() { uids.clone() } else { gids };
    Ok(Maps { uids, gids })
}

// ANCHOR: maps
/// Root inside is the caller outside; further ids are what the administrator gave to the caller, if anything.
///
/// # Errors
/// Root has no such ids: who may map everything must say what.
pub fn maps_of_caller() -> Result<Maps> {
    let ((uid, gid), name) = (caller::ids(), caller::name());
    if caller::may_map() {
        let cause = "root says itself what ids mean: --uid-map 0:100000:65536";
        return Err(Error::refused("--userns", "private", cause));
    }
    let (uids, gids) = (subid::read("/etc/subuid", &name, uid), subid::read("/etc/subgid", &name, uid));
    let helped = helper::find("newuidmap").is_some() && helper::find("newgidmap").is_some();
    let ranged = helped && !uids.is_empty() && !gids.is_empty();
    let map = |own, ranges: &[_]| subid::map_of(own, if ranged { ranges } else { &[] });
    Ok(Maps { uids: map(uid, &uids), gids: map(gid, &gids) })
}
// ANCHOR_END: maps

fn identity(given: &ArgMatches, program: &mut Program) -> Result<Isolations> {
    let root = program.root.clone();
    identity_with(given, program, |file| read_inside(root.as_deref(), file))
}

/// The isolations of [`IDENTITY`]; `read` returns the text of a file of the container's root, empty where there is none.
///
/// # Errors
/// There is no such user, or a volume is written wrong.
pub fn identity_with(
    given: &ArgMatches,
    program: &mut Program,
    read: impl Fn(&str) -> Result<String>,
) -> Result<Isolations> {
    let mut list: Isolations = Vec::new();
    for text in given.get_many::<String>("idmap-volume").into_iter().flatten() {
        list.push(Box::new(IdmappedVolume::new(text)?));
    }
    if let Some(wish) = given.get_one::<String>("user") {
        let account = accounts::lookup(wish, &read("/etc/passwd")?, &read("/etc/group")?)?;
        if !cli::asks_for(given, "HOME") {
            program.set_variable("HOME", account.home.as_deref().unwrap_or("/"));
        }
        list.push(Box::new(Identity(account)));
    }
    Ok(list)
}
