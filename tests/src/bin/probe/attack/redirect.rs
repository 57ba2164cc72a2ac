//! Writes below `/proc`: one that is made, and one that only asks whether it could be.

use std::fs::{self, File};

use crate::told;

/// `FILE TEXT`: the write itself, for files that are the container's own.
pub fn write(words: &[String]) -> Result<String, String> {
    let [file, text] = words else { return Err("FILE TEXT are needed".into()) };
    told(&format!("write {file}"), fs::write(file, text))?;
    Ok(format!("{file} is now {}", told("read it back", fs::read_to_string(file))?.trim()))
}

// ANCHOR: may_write
/// `FILE`: opens it for writing and closes it again. Of a file that belongs to the whole machine, that is as far as
/// a test on somebody's machine may go.
pub fn may_write(words: &[String]) -> Result<String, String> {
    let file = words.first().ok_or("FILE is needed")?;
    told(&format!("open {file} for writing"), File::options().write(true).open(file))?;
    Ok(format!("{file} could be written"))
}
// ANCHOR_END: may_write
