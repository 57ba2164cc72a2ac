//! Extended attributes: names and values beside a file's content, one small wrapper per system call.
//!
//! They are asked for through `/proc/self/fd`, since the calls take no `O_PATH` descriptor: that way they reach the
//! very object that we opened, also a device or a symbolic link, and whoever renames it meanwhile changes nothing.
//! See xattr(7).

use std::ffi::{CString, c_void};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// Name and value.
pub type Attribute = (String, Vec<u8>);

/// The most that the kernel gives: names of one file, or a value.
const LONGEST: usize = 1 << 16;

fn path(object: BorrowedFd<'_>) -> CString {
    CString::new(format!("/proc/self/fd/{}", object.as_raw_fd())).unwrap_or_default()
}

fn c_name(name: &str) -> nix::Result<CString> {
    CString::new(name).map_err(|_| Errno::EINVAL)
}

/// The names of all, a zero behind each.
fn names(object: BorrowedFd<'_>) -> nix::Result<Vec<u8>> {
    let (path, mut names) = (path(object), vec![0_u8; LONGEST]);
    // SAFETY: the kernel writes at most as many bytes as we name, and path and buffer live through the call.
    let length = unsafe { libc::listxattr(path.as_ptr(), names.as_mut_ptr().cast(), LONGEST) };
    match Errno::result(length) {
        Ok(length) => names.truncate(length as usize),
        Err(Errno::ENOTSUP) => return Ok(Vec::new()),
        Err(errno) => return Err(errno),
    }
    Ok(names)
}

/// All of an object, by name. Names that are no UTF-8 are left out.
///
/// # Errors
/// EACCES: they are not ours to read.
pub fn all(object: BorrowedFd<'_>) -> nix::Result<Vec<Attribute>> {
    let names = names(object)?;
    let names = names.split(|byte| *byte == 0).filter_map(|name| str::from_utf8(name).ok());
    let mut found = Vec::new();
    for name in names.filter(|name| !name.is_empty()) {
        found.extend(get(object, name)?.map(|value| (name.to_owned(), value)));
    }
    found.sort();
    Ok(found)
}

/// How many of an object have names that a tar cannot say: a record ends its key at `=`, and is UTF-8.
///
/// # Errors
/// EACCES: they are not ours to read.
pub fn unspeakable(object: BorrowedFd<'_>) -> nix::Result<usize> {
    let names = names(object)?;
    Ok(names
        .split(|byte| *byte == 0)
        .filter(|name| name.contains(&b'=') || str::from_utf8(name).is_err())
        .count())
}

/// The value of one; none where there is no such attribute.
///
/// # Errors
/// EACCES: it is not ours to read.
pub fn get(object: BorrowedFd<'_>, name: &str) -> nix::Result<Option<Vec<u8>>> {
    let (path, name, mut value) = (path(object), c_name(name)?, vec![0_u8; LONGEST]);
    // SAFETY: the kernel writes at most as many bytes as we name, and all three live through the call.
    let length =
        unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast::<c_void>(), LONGEST) };
    match Errno::result(length) {
        Ok(length) => value.truncate(length as usize),
        Err(Errno::ENODATA | Errno::ENOTSUP) => return Ok(None),
        Err(errno) => return Err(errno),
    }
    Ok(Some(value))
}

/// Removes one.
///
/// # Errors
/// EPERM: such a name is not for us.
pub fn remove(object: BorrowedFd<'_>, name: &str) -> nix::Result<()> {
    let (path, name) = (path(object), c_name(name)?);
    // SAFETY: both live through the call.
    Errno::result(unsafe { libc::removexattr(path.as_ptr(), name.as_ptr()) }).map(drop)
}

/// Sets one.
///
/// # Errors
/// EPERM: such a name is not for us. ENOTSUP: this file system keeps none of that kind.
pub fn set(object: BorrowedFd<'_>, name: &str, value: &[u8]) -> nix::Result<()> {
    let (path, name) = (path(object), c_name(name)?);
    // SAFETY: the kernel reads as many bytes as the value has; all three live through the call.
    let done = unsafe {
        libc::setxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast::<c_void>(), value.len(), 0)
    };
    Errno::result(done).map(drop)
}
