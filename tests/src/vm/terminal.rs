//! The starter's terminal while a shell of the machine has it.
//!
//! In raw mode every key goes into the machine: line editing, echo and Ctrl-C happen there. The signals that would
//! end the starter are blocked and read from a descriptor instead, so that the terminal is always put back first.
//!
//! Invariant: dropping a [`Terminal`] restores mode and signal mask, also while a panic unwinds.
//! Left out: SIGKILL of the starter. Then `reset` helps.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The terminal has now so many rows and columns.
    Resized(u16, u16),
    /// This signal would have ended the starter.
    End(i32),
}

/// Standard input in raw mode.
#[derive(Debug)]
pub struct Terminal {
    keyboard: OwnedFd,
    before: Termios,
    mask_before: SigSet,
    signals: SignalFd,
}

impl Terminal {
    /// Puts standard input into raw mode.
    ///
    /// # Errors
    /// When it is no terminal.
    pub fn enter() -> Result<Terminal> {
        let keyboard = io::stdin().as_fd().try_clone_to_owned().context("duplicate standard input")?;
        let before =
            tcgetattr(&keyboard).context("read the terminal's mode (is standard input a terminal?)")?;
        let watched: SigSet =
            [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGWINCH]
                .into_iter()
                .collect();
        let signals = SignalFd::with_flags(&watched, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .context("make a descriptor for signals")?;
        let mut mask_before = SigSet::empty();
        pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&watched), Some(&mut mask_before))
            .context("block signals")?;
        let terminal = Terminal { keyboard, before, mask_before, signals };
        let mut raw = terminal.before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(&terminal.keyboard, SetArg::TCSANOW, &raw).context("put the terminal into raw mode")?;
        Ok(terminal)
    }

    /// Rows and columns of standard input.
    ///
    /// # Errors
    /// When it is no terminal.
    pub fn size() -> Result<(u16, u16)> {
        let size = window_size(io::stdin().as_fd())
            .context("read the terminal's size (is standard input a terminal?)")?;
        Ok((size.ws_row, size.ws_col))
    }

    /// Readable when a key was pressed.
    pub fn keyboard(&self) -> BorrowedFd<'_> {
        self.keyboard.as_fd()
    }

    /// Readable when [`Terminal::event`] has something.
    pub fn signals(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }

    /// What was typed; empty when the terminal is gone.
    ///
    /// # Errors
    /// Whatever `read(2)` says, but EIO: that is how a terminal says that it is gone.
    pub fn read(&self) -> Result<Vec<u8>, nix::Error> {
        let mut bytes = [0; 4096];
        match nix::unistd::read(&self.keyboard, &mut bytes) {
            Ok(count) => Ok(bytes[..count].to_vec()),
            Err(nix::Error::EIO) => Ok(Vec::new()),
            Err(errno) => Err(errno),
        }
    }

    /// The next signal that came in, if any.
    ///
    /// # Errors
    /// When the descriptor cannot be read.
    pub fn event(&mut self) -> Result<Option<Event>> {
        let Some(signal) = self.signals.read_signal().context("read a signal")? else { return Ok(None) };
        let number = signal.ssi_signo as i32;
        if number != Signal::SIGWINCH as i32 {
            return Ok(Some(Event::End(number)));
        }
        let (rows, columns) = Terminal::size()?;
        Ok(Some(Event::Resized(rows, columns)))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.keyboard, SetArg::TCSANOW, &self.before);
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.mask_before), None);
    }
}

mod raw {
    nix::ioctl_read_bad!(tiocgwinsz, libc::TIOCGWINSZ, libc::winsize);
    nix::ioctl_write_ptr_bad!(tiocswinsz, libc::TIOCSWINSZ, libc::winsize);
}

/// The size of the terminal behind `fd`.
///
/// # Errors
/// ENOTTY when it is none.
pub fn window_size(fd: BorrowedFd<'_>) -> nix::Result<libc::winsize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: `size` is a winsize, what this call fills, and outlives it.
    unsafe { raw::tiocgwinsz(std::os::fd::AsRawFd::as_raw_fd(&fd), &mut size) }?;
    Ok(size)
}

/// Sets the size of the terminal behind `fd`; its foreground job gets SIGWINCH.
///
/// # Errors
/// ENOTTY when it is none.
pub fn set_window_size(fd: BorrowedFd<'_>, rows: u16, columns: u16) -> nix::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: `size` is a winsize, what this call reads, and outlives it.
    unsafe { raw::tiocswinsz(std::os::fd::AsRawFd::as_raw_fd(&fd), &size) }.map(drop)
}
