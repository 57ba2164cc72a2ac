//! Propagation: whether a mount made here also appears there.
//!
//! A new mount namespace starts as a copy, and copies of a *shared* mount stay tied: what is mounted or
//! unmounted below one appears or vanishes below the other. On most machines `/` is shared. So the first
//! act inside is to cut the tie. See mount_namespaces(7), "shared subtrees".

use nix::mount::{MsFlags, mount};
use process::{Context, Result};

/// No file system, no source: the call changes what is mounted already.
const NONE: Option<&str> = None;

// ANCHOR: private
/// Makes every mount of this namespace private: nothing goes out to the host, nothing comes in.
///
/// # Errors
/// EPERM: the mount namespace is not ours. EINVAL: `/` is no mount, as inside a plain chroot.
pub fn make_private() -> Result<()> {
    todo!("2.1 Cut the tie to the host")
}
// ANCHOR_END: private
