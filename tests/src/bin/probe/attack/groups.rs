//! CVE-2014-8989: a group that takes a right away, left by leaving all groups.

use std::fs;

use nix::unistd::setgroups;

use crate::told;

// ANCHOR: attack
/// Mode 604 with the group `guests` means: everybody may read, but no guest. So a group can take a right away, and
/// leaving it must not be everybody's choice. In a user namespace of his own, a guest has CAP_SETGID.
pub fn leave(words: &[String]) -> Result<String, String> {
    let file = words.first().ok_or("FILE is needed")?;
    if fs::read_to_string(file).is_ok() {
        return Err(format!("{file} was never closed to us"));
    }
    told("setgroups", setgroups(&[]))?;
    let text = told(&format!("open {file}"), fs::read_to_string(file))?;
    Ok(format!("no guest any more: {}", text.trim()))
}
// ANCHOR_END: attack
