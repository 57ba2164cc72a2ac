//! The runner's own file, out of the container's reach.
//!
//! Until it executes the program, the container's first process runs our file, and so does the init of `--init`, and whoever
//! says `/proc/self/exe` where a program is asked for. `/proc/PID/exe` is no name but the open file itself: from inside a
//! container it leads to the host, and root may write there (CVE-2019-5736). So before we make a container we execute
//! ourselves once more, from a mount of our file that nobody can write through and that has no place anywhere. Who may
//! make no mounts takes a copy in memory, sealed.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;

use mount::detached::{Detached, restrict};
use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl, open};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl::set_name;
use nix::sys::stat::Mode;
use nix::unistd::fexecve;
use process::{Context, Error, Result};

/// Says that it is done, and of which file. It is the caller's own environment: nobody in a container can set it.
const MARK: &str = "GANTRY_SEALED";

// ANCHOR: sealed
/// Goes on as a process whose file cannot be written; returns in that process.
///
/// # Errors
/// Neither a mount nor a copy can be made.
pub fn ensure() -> Result<()> {
    if std::env::var_os(MARK).is_some() {
        // The name that tools show would be the number of a descriptor.
        return set_name(&own_name()).during("prctl", "our name");
    }
    Err(execute(&mounted().or_else(|_| copied())?))
}

/// Which file we were started from: device, inode, size, and when it was changed last. The copy in memory has others.
pub fn identity() -> String {
    let of_file = || {
        let found = fs::metadata("/proc/self/exe").ok()?;
        let (time, part) = (found.mtime(), found.mtime_nsec());
        Some(format!("{}:{}:{}:{time}.{part:09}", found.dev(), found.ino(), found.size()))
    };
    std::env::var(MARK).ok().or_else(of_file).unwrap_or_default()
}

/// A read-only mount of our file, without a place.
fn mounted() -> Result<OwnedFd> {
    let file = open("/proc/self/exe", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
        .during("open", "our own file")?;
    let copy = Detached::copy_of(file.as_fd()).during("open_tree", "our own file")?;
    restrict(copy.as_fd(), libc::MOUNT_ATTR_RDONLY)?;
    copy.as_fd().try_clone_to_owned().during("dup", "our own file")
}

/// A copy of our file in memory that nobody can change.
fn copied() -> Result<OwnedFd> {
    // Since Linux 6.3 a file in memory says whether it is a program; before, each one may be.
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let memory = memfd_create(c"gantry", flags | MFdFlags::from_bits_retain(libc::MFD_EXEC))
        .or_else(|_| memfd_create(c"gantry", flags))
        .during("memfd_create", "")?;
    let (mut from, mut to) =
        (File::open("/proc/self/exe").during("open", "our own file")?, File::from(memory));
    io::copy(&mut from, &mut to).during("copy", "our own file")?;
    let seals =
        SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL;
    fcntl(&to, FcntlArg::F_ADD_SEALS(seals)).during("seal", "our own file")?;
    // A program that is open for writing cannot be executed.
    File::open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&to)))
        .map(OwnedFd::from)
        .during("open", "our own file")
}
// ANCHOR_END: sealed

/// Executes a file as ourselves: the same arguments, the same environment, and the mark.
fn execute(file: &OwnedFd) -> Error {
    let c_string = |bytes: Vec<u8>| CString::new(bytes).unwrap_or_default();
    let words: Vec<CString> = std::env::args_os().map(|word| c_string(word.into_vec())).collect();
    let pairs = std::env::vars_os().chain([(MARK.into(), identity().into())]);
    let variables: Vec<CString> =
        pairs.map(|(name, value)| c_string([name.into_vec(), value.into_vec()].join(&b'='))).collect();
    let Err(errno) = fexecve(file, &words, &variables);
    Error::new("execute", "our own file", errno)
}

/// The last part of what we were called by, as the kernel keeps it: 15 bytes.
fn own_name() -> CString {
    let path = std::env::args_os().next().unwrap_or_default().into_vec();
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    CString::new(&name[..name.len().min(15)]).unwrap_or_default()
}
