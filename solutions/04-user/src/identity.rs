//! The program's user: the last step before it runs.
//!
//! Everything before needs root's capabilities in the container; taking another user id drops them. So this
//! isolation comes last.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use mount::resolve::{self, Links};
use mount::root::Root;
use nix::errno::Errno;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use process::{Context, Error, Isolation, Result};

use crate::accounts::Account;

/// The most that is read of one file of the image.
const LONGEST_FILE: u64 = 1 << 20;

/// Takes an account's ids.
#[derive(Debug)]
pub struct Identity(pub Account);

impl Isolation for Identity {
    fn name(&self) -> &'static str {
        "identity"
    }

    // ANCHOR: identity
    fn inside(&mut self) -> Result<()> {
        let Account { uid, gid, ref groups, .. } = self.0;
        let ids: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
        match setgroups(&ids) {
            Ok(()) => {}
            // In a user namespace with a single id nobody may change groups.
            Err(Errno::EPERM) if may_not_set_groups() => {}
            Err(errno) => return Err(cannot("setgroups", format!("{groups:?}"), errno)),
        }
        let (gid, uid) = (Gid::from_raw(gid), Uid::from_raw(uid));
        setresgid(gid, gid, gid).map_err(|errno| cannot("setresgid", gid, errno))?;
        setresuid(uid, uid, uid).map_err(|errno| cannot("setresuid", uid, errno))
    }
    // ANCHOR_END: identity
}

/// Whether this process cannot set groups: it is denied for the namespace, or the capability is not there.
fn may_not_set_groups() -> bool {
    fs::read_to_string("/proc/self/setgroups").map_or(true, |word| word.trim() == "deny")
}

fn cannot(operation: &str, id: impl std::fmt::Display, errno: Errno) -> Error {
    let cause = match errno {
        Errno::EINVAL => {
            "the container's map does not have this id; ranges come from --uid-map or /etc/subuid"
        }
        _ => "",
    };
    Error::new(operation, id, errno).because(cause)
}

/// A text file of the root file system, found inside it; empty if there is none.
///
/// # Errors
/// It is no regular file, or longer than 1 MiB, or cannot be read.
pub fn read_inside(rootfs: Option<&Path>, file: &str) -> Result<String> {
    let root = rootfs.map_or_else(Root::current, Root::open)?;
    let found = match resolve::open(root.as_fd(), Path::new(file), Links::Follow) {
        Err(Errno::ENOENT) => return Ok(String::new()),
        found => found.during("open", file)?,
    };
    let kind = nix::sys::stat::fstat(&found).during("stat", file)?.st_mode & libc::S_IFMT;
    if kind != libc::S_IFREG {
        return Err(Error::refused("read", file, "it is no regular file"));
    }
    // Through /proc, an O_PATH descriptor can be opened again for reading: the very same file.
    let opened = File::open(format!("/proc/self/fd/{}", found.as_raw_fd())).during("open", file)?;
    let mut bytes = Vec::new();
    opened.take(LONGEST_FILE + 1).read_to_end(&mut bytes).during("read", file)?;
    if bytes.len() as u64 > LONGEST_FILE {
        return Err(Error::refused("read", file, "it is longer than 1 MiB"));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
