//! Bytes that nobody can guess; see getrandom(2).

use nix::errno::Errno;
use process::{Context, Result};

/// `N` random bytes, at most 256: so many come in one piece.
///
/// # Errors
/// ENOSYS: the kernel is older than 3.17.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    // SAFETY: the kernel writes at most as many bytes as we name, and they live through the call.
    let done = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), N, 0) };
    Errno::result(done).during("getrandom", N)?;
    Ok(bytes)
}

/// Twelve random hexadecimal digits: the name of what its user gave none.
///
/// # Errors
/// As [`random`].
pub fn name() -> Result<String> {
    Ok(random::<6>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}
