//! The one command of the machine: its start, its output, its end.
//!
//! It gets pipes (or, interactive, a pseudo terminal), as it would on a host; threads carry them to the raw consoles.
//! The consoles themselves would look like terminals to it. When it has ended, all others are killed, so that the
//! pipes end too; then the output is drained before the exit code is said.
//!
//! Invariant: process 1 reaps every orphan meanwhile.
//! Left out: standard input other than a terminal; the command reads an empty one.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::tcdrain;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Gid, Pid, Uid, fchown, pipe2, setsid};

use super::line::{Line, raw_console};
use crate::vm::link::{Message, TTY_ERR, TTY_OUT};
use crate::vm::order::{self, Order};
use crate::vm::terminal::set_window_size;

/// How long killed processes may take to end, and their output to leave.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs the order's command; returns its exit code once all its output is out.
///
/// # Errors
/// When the consoles fail or the working directory is not there.
pub fn run(order: &Order, line: &mut Line) -> Result<u8> {
    ensure!(order.cwd.is_dir(), "working directory {}: not there, or not shared", order.cwd.display());
    let out = raw_console(TTY_OUT)?;
    let err = raw_console(TTY_ERR)?;
    let (code, carriers) = match order.terminal {
        Some(size) => on_terminal(order, size, out, line)?,
        None => on_pipes(order, out, err, line)?,
    };
    for carrier in carriers {
        let _ = carrier.recv_timeout(PATIENCE);
    }
    Ok(code)
}

/// An exit code, and the threads that still carry output.
type Ended = (u8, Vec<Receiver<()>>);

fn on_pipes(order: &Order, out: File, err: File, line: &mut Line) -> Result<Ended> {
    let (out_read, out_write) = pipe2(OFlag::O_CLOEXEC).context("make a pipe")?;
    let (err_read, err_write) = pipe2(OFlag::O_CLOEXEC).context("make a pipe")?;
    // The command must be able to open /dev/stdout again.
    own(&out_write, order.uid)?;
    own(&err_write, order.uid)?;
    let mut command = command(order);
    command.stdin(Stdio::null()).stdout(out_write).stderr(err_write);
    let job = start(command, line, &err)?;
    let carriers = vec![carry(out_read, out), carry(err_read, err)];
    Ok((job.finish(), carriers))
}

fn on_terminal(order: &Order, (rows, columns): (u16, u16), out: File, line: &mut Line) -> Result<Ended> {
    let pty = openpty(None, None).context("open a pseudo terminal")?;
    fcntl(&pty.master, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))
        .context("keep the terminal's far end to ourselves")?;
    fcntl(&pty.slave, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).context("keep the terminal to the command")?;
    set_window_size(pty.master.as_fd(), rows, columns).context("set the terminal's size")?;
    own(&pty.slave, order.uid)?;
    let mut command = command(order);
    let copy = |fd: &OwnedFd| fd.try_clone().context("duplicate the terminal");
    command.stdin(copy(&pty.slave)?).stdout(copy(&pty.slave)?).stderr(pty.slave);
    let job = start(command, line, &out)?;
    let keys = out.try_clone().context("duplicate a console")?;
    carry(keys.into(), copy(&pty.master)?.into());
    follow_size(line.reader()?, copy(&pty.master)?);
    let carriers = vec![carry(pty.master, out)];
    Ok((job.finish(), carriers))
}

/// The command, leading a session of its own; with a terminal as its standard input, in control of it.
fn command(order: &Order) -> Command {
    let mut command = Command::new(&order.command[0]);
    command.args(&order.command[1..]).current_dir(&order.cwd);
    command.env_clear().envs(order.env.iter().map(|(name, value)| (name, value)));
    if order.uid != 0 {
        // Standard library: as root this also drops all other groups.
        command.gid(order.uid).uid(order.uid);
    }
    let terminal = order.terminal.is_some();
    let between = move || {
        setsid()?;
        if terminal { Ok(take_terminal()?) } else { Ok(()) }
    };
    // SAFETY: the closure makes two system calls and nothing else.
    unsafe { command.pre_exec(between) };
    command
}

mod raw {
    nix::ioctl_write_int_bad!(tiocsctty, libc::TIOCSCTTY);
}

/// Makes standard input the controlling terminal of this session.
fn take_terminal() -> nix::Result<()> {
    // SAFETY: the call takes a descriptor and a number.
    unsafe { raw::tiocsctty(libc::STDIN_FILENO, 0) }.map(drop)
}

fn own(end: &OwnedFd, uid: u32) -> Result<()> {
    fchown(end, Some(Uid::from_raw(uid)), Some(Gid::from_raw(uid))).context("give the command its output")
}

/// A started command, or the code of one that could not start.
enum Job {
    Runs(Pid),
    Refused(u8),
}

/// Starts the command and closes our copies of its ends. One that cannot start says why, where its errors go.
fn start(mut command: Command, line: &mut Line, mut said: &File) -> Result<Job> {
    let child = command.spawn();
    line.say(&Message::Started)?;
    match child {
        Ok(child) => Ok(Job::Runs(Pid::from_raw(child.id() as i32))),
        Err(error) => {
            let program = command.get_program().to_string_lossy();
            writeln!(said, "kernel lab: run {program}: {error}").context("write to a console")?;
            Ok(Job::Refused(if error.kind() == ErrorKind::NotFound { 127 } else { 126 }))
        }
    }
}

impl Job {
    /// Waits for the command, then ends every other process.
    fn finish(self) -> u8 {
        let main = match self {
            Job::Runs(pid) => pid,
            Job::Refused(code) => return code,
        };
        let code = loop {
            match waitpid(None, None) {
                Ok(WaitStatus::Exited(pid, code)) if pid == main => break code as u8,
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == main => break 128 + signal as u8,
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => break 125,
            }
        };
        let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
        reap_all();
        code
    }
}

fn reap_all() {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => thread::sleep(Duration::from_millis(2)),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return,
        }
    }
}

/// Carries bytes on a thread until `from` ends; the receiver hears when all are out.
fn carry(from: OwnedFd, mut to: File) -> Receiver<()> {
    let (done, ended) = channel();
    let mut from = File::from(from);
    thread::spawn(move || {
        let mut bytes = vec![0; 64 << 10];
        loop {
            match from.read(&mut bytes) {
                // A terminal whose last user has gone gives EIO.
                Ok(0) => break,
                Err(error) if error.kind() != ErrorKind::Interrupted => break,
                Err(_) => {}
                Ok(count) if to.write_all(&bytes[..count]).is_err() => break,
                Ok(_) => {}
            }
        }
        let _ = tcdrain(&to);
        let _ = done.send(());
    });
    ended
}

/// Gives the terminal the size that the starter's terminal has, whenever that changes.
fn follow_size(mut line: Line, terminal: OwnedFd) {
    thread::spawn(move || {
        while let Ok(text) = line.text() {
            let Some(size) = text.trim().strip_prefix("size ") else { break };
            if let Ok((rows, columns)) = order::size(size) {
                let _ = set_window_size(terminal.as_fd(), rows, columns);
            }
        }
    });
}
