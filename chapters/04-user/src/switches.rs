//! The switches with which a system forbids user namespaces. Each has a name and a fix, and `clone3` tells
//! neither: it says ENOSPC or EPERM.

use std::fs;

use process::{Error, Result};

/// Refuses what is known to fail.
///
/// # Errors
/// A switch forbids it; which one, and how to set it.
pub fn must_allow(privileged: bool) -> Result<()> {
    let refuse = |cause: &str| Err(Error::refused("make a user namespace", "", cause));
    if setting("user/max_user_namespaces") == Some(0) {
        return refuse(
            "user.max_user_namespaces is 0; `sudo sysctl user.max_user_namespaces=15000` allows them",
        );
    }
    if !privileged && setting("kernel/unprivileged_userns_clone") == Some(0) {
        return refuse(
            "kernel.unprivileged_userns_clone is 0; `sudo sysctl kernel.unprivileged_userns_clone=1` allows them",
        );
    }
    Ok(())
}

/// Why a user namespace that was made gives no rights, if a switch does that.
pub fn why_powerless() -> Option<&'static str> {
    let restricted = setting("kernel/apparmor_restrict_unprivileged_userns") == Some(1);
    restricted.then_some(
        "AppArmor takes the rights away; `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0` leaves them",
    )
}

fn setting(name: &str) -> Option<i64> {
    fs::read_to_string(format!("/proc/sys/{name}")).ok()?.trim().parse().ok()
}
