//! TIOCSTI: typing on a terminal that one shares with a person.

use std::ffi::CString;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::pty::{OpenptyResult, openpty};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, dup2_stderr, dup2_stdin, dup2_stdout, execvp, fork, setsid};

use crate::told;

// ANCHOR: attack
/// The call puts a byte into the terminal's input, as if it had been typed. Allowed on one's own controlling
/// terminal: and that is the one of the shell from which the container was started. The container ends, and the
/// shell reads the line.
pub fn type_in(words: &[String]) -> Result<String, String> {
    let text = words.first().ok_or("TEXT is needed")?;
    for byte in text.bytes().chain([b'\n']) {
        // SAFETY: the call reads one byte, which outlives it.
        let typed = Errno::result(unsafe { libc::ioctl(0, libc::TIOCSTI, &raw const byte) });
        typed.map_err(|errno| format!("TIOCSTI: {errno:?}"))?;
    }
    Ok(format!("typed: {text}"))
}
// ANCHOR_END: attack

/// `COMMAND..`: a terminal of its own, a session on it, and the command as a shell would start it; then, as that
/// shell, what waits to be read.
pub fn host(words: &[String]) -> Result<String, String> {
    let words = words.iter().map(|word| CString::new(word.as_str())).collect::<Result<Vec<_>, _>>();
    let words = told("read COMMAND", words)?;
    let OpenptyResult { master, slave } = told("openpty", openpty(None, None))?;
    // SAFETY: this process has one thread.
    match told("fork the session", unsafe { fork() })? {
        ForkResult::Child => {
            drop(master);
            told("setsid", setsid())?;
            // SAFETY: the request takes a number.
            told("TIOCSCTTY", Errno::result(unsafe { libc::ioctl(slave.as_raw_fd(), libc::TIOCSCTTY, 0) }))?;
            session(&slave, &words)
        }
        ForkResult::Parent { child } => {
            drop(slave);
            // What is shown on the screen, echo and all; it ends when the session does.
            let (mut screen, mut shown) = (std::fs::File::from(master), Vec::new());
            let _ = screen.read_to_end(&mut shown);
            told("wait", waitpid(child, None))?;
            let shown = String::from_utf8_lossy(&shown).replace('\r', "");
            match shown.split_once("the shell reads: ") {
                Some((before, line)) if !line.trim().is_empty() => {
                    Ok(format!("{}the shell reads: {}", before.replace("the shell", ""), line.trim()))
                }
                _ => Err(format!("nothing was typed: {}", shown.trim())),
            }
        }
    }
}

/// The shell: runs the command, then reads a line if there is one.
fn session(slave: &impl AsFd, words: &[CString]) -> Result<String, String> {
    // SAFETY: this process has one thread.
    match told("fork the command", unsafe { fork() })? {
        ForkResult::Child => {
            told("dup2", dup2_stdin(slave))?;
            told("dup2", dup2_stdout(slave))?;
            told("dup2", dup2_stderr(slave))?;
            let Err(errno) = execvp(words.first().ok_or("COMMAND is needed")?, words);
            Err(format!("exec: {errno}"))
        }
        ForkResult::Parent { child } => {
            told("wait", waitpid(child, None))?;
            let mut line = [0; 256];
            let waiting =
                told("poll", poll(&mut [PollFd::new(slave.as_fd(), PollFlags::POLLIN)], 100u16))? > 0;
            let length = if waiting { told("read", nix::unistd::read(slave, &mut line))? } else { 0 };
            let text = format!("the shell reads: {}", String::from_utf8_lossy(&line[..length]));
            told("write", nix::unistd::write(slave, text.as_bytes()))?;
            std::process::exit(0)
        }
    }
}
