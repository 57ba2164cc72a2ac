//! The kernel's keyring: secrets that belong to a session, which a container inherits.

use std::ffi::{CString, c_long};

use nix::errno::Errno;
use nix::unistd::execvp;

use crate::told;

/// keyctl(2): the operations, and the number that stands for the session's own keyring; `<linux/keyctl.h>`.
const JOIN_SESSION_KEYRING: c_long = 1;
const SEARCH: c_long = 10;
const READ: c_long = 11;
const SESSION: c_long = -3;

// ANCHOR: attack
/// A process keeps its session's keyring over fork, exec and every clone flag: no namespace stands between. Who has
/// the keyring *possesses* the keys in it, and may read them.
pub fn read(_: &[String]) -> Result<String, String> {
    let (kind, name) = (c"user".as_ptr() as c_long, c"harbour".as_ptr() as c_long);
    let key = told("search the keyring", keyctl([SEARCH, SESSION, kind, name, 0]))?;
    let mut secret = [0_u8; 64];
    let length = told("read the key", keyctl([READ, key, secret.as_mut_ptr() as c_long, 64, 0]))?;
    Ok(format!("the key: {}", String::from_utf8_lossy(&secret[..(length as usize).min(64)])))
}
// ANCHOR_END: attack

/// `COMMAND..`: as somebody's login session with a key in it.
pub fn host(words: &[String]) -> Result<String, String> {
    told("join a new session keyring", keyctl([JOIN_SESSION_KEYRING, 0, 0, 0, 0]))?;
    let secret = b"the host's key";
    // SAFETY: the strings and the secret outlive the call.
    let added = unsafe {
        libc::syscall(
            libc::SYS_add_key,
            c"user".as_ptr(),
            c"harbour".as_ptr(),
            secret.as_ptr(),
            secret.len(),
            SESSION,
        )
    };
    told("add_key", Errno::result(added))?;
    let words = words.iter().map(|word| CString::new(word.as_str())).collect::<Result<Vec<_>, _>>();
    let words = told("read COMMAND", words)?;
    let Err(errno) = execvp(words.first().ok_or("COMMAND is needed")?, &words);
    Err(format!("exec: {errno}"))
}

fn keyctl(words: [c_long; 5]) -> nix::Result<c_long> {
    let [operation, a, b, c, d] = words;
    // SAFETY: the callers pass numbers, or pointers to what outlives the call.
    Errno::result(unsafe { libc::syscall(libc::SYS_keyctl, operation, a, b, c, d) })
}
