//! A shell on a terminal: a pseudo terminal stands in for the reader's.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, Termios, tcgetattr};
use nix::unistd::{Pid, setsid};
use workshop::vm::terminal::set_window_size;

use crate::Check;
use crate::starter::Reachable;

pub const CHECKS: &[Check] = &[
    ("a_shell_answers_and_its_exit_code_comes_back", a_shell_answers),
    ("ctrl_c_ends_the_command_and_not_the_shell", ctrl_c_ends_the_command),
    ("the_terminals_size_follows", the_terminals_size_follows),
    ("a_terminated_starter_restores_the_terminal", a_terminated_starter_restores_the_terminal),
    ("without_a_terminal_an_interactive_shell_is_refused", refused_without_a_terminal),
];

/// A shell of the lab, and a reader in front of it.
struct Desk {
    starter: Child,
    keys: File,
    screen: Receiver<Vec<u8>>,
    seen: String,
    terminal: OwnedFd,
    before: Termios,
    _programs: Reachable,
}

impl Desk {
    fn new(name: &str) -> Result<Desk> {
        let programs = Reachable::new(name)?;
        let pty = openpty(None, None)?;
        for end in [&pty.master, &pty.slave] {
            fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        }
        set_window_size(pty.master.as_fd(), 30, 90)?;
        let before = tcgetattr(&pty.slave)?;
        let mut command = programs.command("interactive", &["/bin/sh", "-i"]);
        command.stdin(pty.slave.try_clone()?).stdout(pty.slave.try_clone()?).stderr(pty.slave.try_clone()?);
        control(&mut command);
        let starter = command.spawn()?;
        let keys = File::from(pty.master.try_clone()?);
        let screen = watch(File::from(pty.master));
        let mut desk = Desk {
            starter,
            keys,
            screen,
            seen: String::new(),
            terminal: pty.slave,
            before,
            _programs: programs,
        };
        desk.expect("lab> ")?;
        Ok(desk)
    }

    fn type_in(&mut self, keys: &str) -> Result<()> {
        self.keys.write_all(keys.as_bytes()).context("type")
    }

    /// Waits until `text` shows, and forgets everything up to it.
    fn expect(&mut self, text: &str) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(at) = self.seen.find(text) {
                self.seen.drain(..at + text.len());
                return Ok(());
            }
            let Ok(bytes) = self.screen.recv_timeout(end.saturating_duration_since(Instant::now())) else {
                bail!("{text:?} did not show; on the screen is {:?}", self.seen);
            };
            self.seen.push_str(&String::from_utf8_lossy(&bytes));
        }
    }

    fn ended(&mut self) -> Result<ExitStatus> {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = self.starter.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > end {
                bail!("the starter did not end; on the screen is {:?}", self.seen);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn restored(&self) -> Result<bool> {
        Ok(tcgetattr(&self.terminal)? == self.before)
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = self.starter.kill();
        let _ = self.starter.wait();
    }
}

fn a_shell_answers() -> Result<()> {
    let mut desk = Desk::new("answers")?;
    assert!(
        !tcgetattr(&desk.terminal)?.local_flags.contains(LocalFlags::ECHO),
        "the terminal is not in raw mode"
    );
    desk.type_in("echo $((6*7)); tty\n")?;
    desk.expect("\r\n42\r\n")?;
    desk.expect("/dev/pts/")?;
    desk.type_in("exit 3\n")?;
    assert_eq!(desk.ended()?.code(), Some(3));
    assert!(desk.restored()?, "the terminal was not restored");
    Ok(())
}

fn ctrl_c_ends_the_command() -> Result<()> {
    let mut desk = Desk::new("interrupt")?;
    // The job says the word itself: it is in the foreground by then.
    desk.type_in("sh -c 'echo sleeping; sleep 1000; echo woken'\n")?;
    desk.expect("\r\nsleeping\r\n")?;
    desk.type_in("\x03")?;
    desk.expect("lab> ")?;
    desk.type_in("echo $((130 + 1)) still here; exit 0\n")?;
    desk.expect("131 still here")?;
    assert_eq!(desk.ended()?.code(), Some(0));
    Ok(())
}

fn the_terminals_size_follows() -> Result<()> {
    let mut desk = Desk::new("size")?;
    desk.type_in("stty size\n")?;
    desk.expect("\r\n30 90\r\n")?;
    set_window_size(desk.keys.as_fd(), 50, 120)?;
    // The size travels apart from the keys, so the shell may have to look more than once.
    desk.type_in("until stty size | grep '50 120'; do sleep 0.1; done; exit\n")?;
    desk.expect("50 120\r\n")?;
    assert_eq!(desk.ended()?.code(), Some(0));
    Ok(())
}

fn a_terminated_starter_restores_the_terminal() -> Result<()> {
    let mut desk = Desk::new("terminated")?;
    kill(Pid::from_raw(desk.starter.id() as i32), Signal::SIGTERM)?;
    let status = desk.ended()?;
    assert_eq!(status.code(), Some(143), "{:?}", status.signal());
    assert!(desk.restored()?, "the terminal was not restored");
    Ok(())
}

fn refused_without_a_terminal() -> Result<()> {
    let programs = Reachable::new("refused")?;
    let output = programs.command("interactive", &["/bin/sh"]).stdin(std::process::Stdio::null()).output()?;
    assert_eq!(output.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is standard input a terminal"));
    Ok(())
}

/// Reads the screen on a thread, until the terminal is gone.
fn watch(mut master: File) -> Receiver<Vec<u8>> {
    let (send, receive) = channel();
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = master.read(&mut bytes) {
            if send.send(bytes[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    receive
}

mod raw {
    nix::ioctl_write_int_bad!(tiocsctty, nix::libc::TIOCSCTTY);
}

/// Starts the command in a session of its own, with standard input as its terminal.
fn control(command: &mut std::process::Command) {
    let between = || {
        setsid()?;
        // SAFETY: the call takes a descriptor and a number.
        unsafe { raw::tiocsctty(0, 0) }?;
        Ok(())
    };
    // SAFETY: the closure makes two system calls and nothing else.
    unsafe { command.pre_exec(between) };
}
