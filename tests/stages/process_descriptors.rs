//! Stage 1, descriptors: what the caller forgot to close must neither reach the program nor lead it anywhere.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::stage::case::Case;
use crate::stage::verdict::Verdict;

pub fn the_program_starts_clean(case: &Case) -> Verdict {
    // A descriptor that the caller forgot to close.
    let host = fs::File::open("/etc/passwd")?;
    let started = case.start_with(&["run", "-e", &lab_path(), "--", "probe", "fds"], |command| {
        leak_as_seven(command, host)
    })?;
    started.wait()?.code_is(0)?.out_is("0 1 2")?;
    let run = case.run(&["run", "--", "grep", "^Sig[BIC]", "/proc/self/status"])?;
    run.out_has("SigBlk:\t0000000000000000")?;
    let ignored =
        run.out.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:\t")?, 16).ok());
    run.claim(ignored.is_some_and(|set| set & (1 << 12) == 0), "SIGPIPE is not ignored")?;
    Ok(())
}

/// The container's PATH with the lab's own programs.
pub(super) fn lab_path() -> String {
    format!("PATH={}/bin:/usr/bin:/bin", crate::lab::HOME)
}

/// Gives the command `file` as descriptor 7, not close-on-exec.
pub(super) fn leak_as_seven(command: &mut Command, file: fs::File) {
    // SAFETY: dup2 is async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            nix::errno::Errno::result(libc::dup2(file.as_raw_fd(), 7)).map(drop).map_err(Into::into)
        })
    };
}

/// A name below /proc/self/fd leads through the open folder, whatever root the reader of the name has.
pub fn a_forgotten_descriptor_leads_nowhere(case: &Case) -> Verdict {
    for (asked, code) in [
        (&["--workdir", "/proc/self/fd/7", "--", "pwd"][..], 125),
        (&["--", "/proc/self/fd/7/bin/true"][..], 127),
    ] {
        let host = fs::File::open("/")?;
        let arguments = [&["run"][..], asked].concat();
        let run = case.start_with(&arguments, |command| leak_as_seven(command, host))?.wait()?;
        run.code_is(code)?.err_is_one_line()?;
    }
    // The same folder by its honest name.
    case.run(&["run", "--workdir", "/usr", "--", "pwd"])?.code_is(0)?.out_is("/usr")?;
    Ok(())
}
