//! Becoming root in a user namespace, from any user.
//!
//! One unprivileged id is mapped to 0 inside. Real root first gives up its own id for that of `nobody`, so
//! that nothing in the lab owns anything of the host's.

use std::fs;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_dumpable;
use nix::unistd::{Gid, Uid, getegid, geteuid, setgroups, setresgid, setresuid};

/// The id that real root takes: `nobody` on every distribution.
pub const NOBODY: u32 = 65534;

/// Gives up real root, for good.
///
/// # Errors
/// EPERM: we were not root.
pub fn drop_root() -> Result<()> {
    let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    setgroups(&[]).context("setgroups")?;
    setresgid(gid, gid, gid).context("setresgid")?;
    setresuid(uid, uid, uid).context("setresuid")?;
    // Without this our files in /proc would still belong to root, and the maps could not be written.
    set_dumpable(true).context("prctl(PR_SET_DUMPABLE)")
}

/// Enters a new user namespace in which the current user is root.
///
/// # Errors
/// The machine forbids user namespaces; the message names the switch.
pub fn become_root_in_user_namespace() -> Result<()> {
    let (uid, gid) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER).map_err(explain)?;
    fs::write("/proc/self/setgroups", "deny").context("write /proc/self/setgroups")?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1"))
        .map_err(|e| map_error(&e))
        .context("write /proc/self/uid_map")?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1")).context("write /proc/self/gid_map")
}

fn explain(errno: Errno) -> anyhow::Error {
    let cause = match errno {
        Errno::ENOSPC => "user.max_user_namespaces is 0 or used up",
        Errno::EPERM => "kernel.unprivileged_userns_clone is 0, or a container around us forbids it",
        _ => "this kernel has no user namespaces",
    };
    anyhow::anyhow!(
        "unshare user namespace: {errno}: {cause}. `cargo workshop doctor` tells the fix; `--ground kernel` needs none"
    )
}

fn map_error(error: &std::io::Error) -> anyhow::Error {
    let cause = "AppArmor may restrict user namespaces (kernel.apparmor_restrict_unprivileged_userns)";
    anyhow::anyhow!("{error}: {cause}. `cargo workshop doctor` tells the fix; `--ground kernel` needs none")
}

/// Whether we are the real root of this machine (or of the container that it lends us).
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Refuses the ground of real root to those who are not.
///
/// # Errors
/// We are not root.
pub fn require_root() -> Result<()> {
    if !is_root() {
        bail!("the ground `root` needs real root; `--ground user` does not");
    }
    Ok(())
}
