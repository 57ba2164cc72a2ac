//! Who is calling: ids and capabilities of this process, in the user namespace in which it is.

use std::fs;

use nix::unistd::{User, getegid, geteuid};

/// Numbers of `<linux/capability.h>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// May write any gid map of a child's user namespace.
    SetGid = 6,
    /// May write any uid map of a child's user namespace.
    SetUid = 7,
    /// May administer links and firewalls (chapter 5).
    NetAdmin = 12,
    /// May make namespaces and mounts.
    SysAdmin = 21,
}

/// Whether this process has a capability now (`CapEff`); see capabilities(7).
pub fn has(capability: Capability) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let set =
        status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok());
    set.is_some_and(|set| set & (1 << capability as u64) != 0)
}

/// Whether this process may write any map.
pub fn may_map() -> bool {
    has(Capability::SetUid) && has(Capability::SetGid)
}

/// The caller's user and group id.
pub fn ids() -> (u32, u32) {
    (geteuid().as_raw(), getegid().as_raw())
}

/// The caller's name, or the number where there is none.
pub fn name() -> String {
    let uid = geteuid();
    User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}
