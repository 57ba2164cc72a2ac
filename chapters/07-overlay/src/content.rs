//! What a tar says is in a file, written to the disk.
//!
//! Blocks of zeroes become holes: a tar does not say where they were.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use process::{Context, Error, Result};

// ANCHOR: holes
/// The unit in which holes are made, and in which content is read, in bytes.
const PAGE: usize = 4096;
const PIECE: usize = 64 * PAGE;

/// Writes a new file of `size` bytes; blocks of zeroes are left out, and become holes.
///
/// # Errors
/// The content ends early. EEXIST: there is a file of that name.
pub fn write(parent: BorrowedFd<'_>, name: &OsStr, size: u64, content: &mut impl Read) -> Result<File> {
    let new = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = File::from(openat(parent, name, new, Mode::S_IRUSR | Mode::S_IWUSR).during("create", "")?);
    let (mut offset, mut written, mut piece) = (0, 0, vec![0; PIECE.min(size as usize)]);
    while offset < size {
        let most = piece.len().min((size - offset) as usize);
        let length = content.read(&mut piece[..most]).during("read", "")?;
        if length == 0 {
            return Err(Error::refused("read", "", "the tar ends in the middle of it"));
        }
        for (start, data) in runs(&piece[..length], (offset % PAGE as u64) as usize) {
            file.write_all_at(data, offset + start as u64).during("write", "")?;
            written = offset + (start + data.len()) as u64;
        }
        offset += length as u64;
    }
    // It may end in a hole.
    if written < size {
        file.set_len(size).during("write", "")?;
    }
    Ok(file)
}

/// The parts of a piece that must be written: runs of blocks that are not all zeroes. `phase` is where in a block it
/// begins.
fn runs(piece: &[u8], phase: usize) -> Vec<(usize, &[u8])> {
    let (mut found, mut begin, mut at) = (Vec::new(), None, 0);
    while at < piece.len() {
        let end = piece.len().min(at + PAGE - (phase + at) % PAGE);
        match (piece[at..end] == [0; PAGE][..end - at], begin) {
            (true, Some(first)) => {
                found.push((first, &piece[first..at]));
                begin = None;
            }
            (false, None) => begin = Some(at),
            _ => {}
        }
        at = end;
    }
    found.extend(begin.map(|first| (first, &piece[first..])));
    found
}
// ANCHOR_END: holes

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeroes_become_holes() {
        let mut piece = vec![0; 3 * PAGE];
        assert_eq!(runs(&piece, 0), []);
        piece[PAGE] = 1;
        assert_eq!(runs(&piece, 0), [(PAGE, &piece[PAGE..2 * PAGE])]);
        assert_eq!(runs(&piece, PAGE - 1), [(1, &piece[1..PAGE + 1])]);
        piece[0] = 1;
        assert_eq!(runs(&piece, 0), [(0, &piece[..2 * PAGE])]);
        assert_eq!(runs(&piece[..PAGE + 1], 0), [(0, &piece[..PAGE + 1])]);
    }
}
