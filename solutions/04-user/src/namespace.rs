//! The isolation of this chapter: a user namespace whose maps are written from outside.
//!
//! It is made by the same `clone3` call as all the others, and the kernel makes it first: so it owns them, and
//! the capabilities that the child has in it count for them. The child waits at the gate until its parent has
//! written the maps: before that, every id is the overflow id, and it can become nobody.

use std::fs;

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use process::{Birth, Child, Context, Error, Isolation, Result};

use crate::caller::{self, Capability};
use crate::map::{self, Maps, Range};
use crate::{helper, switches};

/// A user namespace of its own.
#[derive(Debug)]
pub struct UserNamespace {
    /// What its ids mean outside.
    pub maps: Maps,
}

impl Isolation for UserNamespace {
    fn name(&self) -> &'static str {
        "user namespace"
    }

    // ANCHOR: namespace
    fn prepare(&mut self, birth: &mut Birth) -> Result<()> {
        switches::must_allow(caller::has(Capability::SysAdmin))?;
        map::check(&self.maps.uids)?;
        map::check(&self.maps.gids)?;
        birth.in_new(CloneFlags::CLONE_NEWUSER);
        Ok(())
    }

    fn outside(&mut self, child: &Child) -> Result<()> {
        let (uid, gid) = caller::ids();
        if caller::may_map() {
            write(child, "gid_map", &map::text(&self.maps.gids))?;
            write(child, "uid_map", &map::text(&self.maps.uids))
        } else if is_only(&self.maps.uids, uid) && is_only(&self.maps.gids, gid) {
            // Or a group that takes rights away could be left by leaving all groups.
            write(child, "setgroups", "deny")?;
            write(child, "gid_map", &map::text(&self.maps.gids))?;
            write(child, "uid_map", &map::text(&self.maps.uids))
        } else {
            helper::write_map("newgidmap", child.pid(), &self.maps.gids)?;
            helper::write_map("newuidmap", child.pid(), &self.maps.uids)
        }
    }

    fn inside(&mut self) -> Result<()> {
        let (root, group) = (Uid::from_raw(0), Gid::from_raw(0));
        match setgroups(&[]) {
            // Denied where the map is our own id only.
            Ok(()) | Err(Errno::EPERM) => {}
            Err(errno) => return Err(errno).during("setgroups", "none"),
        }
        setresgid(group, group, group).map_err(|errno| powerless("setresgid", errno))?;
        setresuid(root, root, root).map_err(|errno| powerless("setresuid", errno))
    }
    // ANCHOR_END: namespace
}

/// Whether a map has one id only, and that is `own`.
fn is_only(map: &[Range], own: u32) -> bool {
    matches!(map, [Range { outside, count: 1, .. }] if *outside == own)
}

/// Writes one of the files of a user namespace; the kernel wants a map in a single write.
fn write(child: &Child, file: &str, text: &str) -> Result<()> {
    let path = format!("/proc/{}/{file}", child.pid());
    fs::write(&path, text).during("write", &path).map_err(|error| {
        let cause = switches::why_powerless().unwrap_or(match error.errno {
            Errno::EPERM if caller::may_map() => {
                "an id on the right is none of yours: /proc/self/uid_map shows those that there are"
            }
            Errno::EPERM => {
                "without CAP_SETUID only your own id can be mapped, and 0 only with CAP_SETFCAP; a map is written once"
            }
            _ => "",
        });
        error.because(cause)
    })
}

fn powerless(operation: &str, errno: Errno) -> Error {
    let cause = switches::why_powerless().unwrap_or(match errno {
        Errno::EINVAL => {
            "id 0 is not in the map, or no map was written: the container needs a root to be set up"
        }
        _ => "",
    });
    Error::new(operation, 0, errno).because(cause)
}
