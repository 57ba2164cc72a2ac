//! Process 1's end of the line to the starter, and raw consoles in general.
//!
//! A console in raw mode passes every byte as it is; without it the kernel would turn `\n` into `\r\n` and echo
//! what the starter sends.
//!
//! Left out: the messages themselves, see [`crate::vm::link`].

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;

use anyhow::{Context, Result};
use nix::sys::termios::{SetArg, cfmakeraw, tcdrain, tcgetattr, tcsetattr};

use crate::vm::link::{Message, TTY_LINK};
use crate::vm::order::Order;

/// The line to the starter.
#[derive(Debug)]
pub struct Line {
    out: File,
    input: BufReader<File>,
}

impl Line {
    /// Opens it.
    ///
    /// # Errors
    /// When the console is not there.
    pub fn open() -> Result<Line> {
        let out = raw_console(TTY_LINK)?;
        let input = BufReader::new(out.try_clone().context("duplicate the line")?);
        Ok(Line { out, input })
    }

    /// Sends a message and waits until it has left the machine.
    ///
    /// # Errors
    /// When the console fails.
    pub fn say(&mut self, message: &Message) -> Result<()> {
        self.out.write_all(message.to_line().as_bytes()).context("write to the starter")?;
        tcdrain(&self.out).context("drain the line to the starter")
    }

    /// The starter's order.
    ///
    /// # Errors
    /// When something else comes.
    pub fn order(&mut self) -> Result<Order> {
        let length = self.text()?.trim().parse().context("the order's length")?;
        let mut bytes = vec![0; length];
        self.input.read_exact(&mut bytes).context("read the order")?;
        Order::decode(&bytes)
    }

    /// The next line from the starter; empty when it is gone.
    ///
    /// # Errors
    /// When the console fails.
    pub fn text(&mut self) -> Result<String> {
        let mut text = String::new();
        self.input.read_line(&mut text).context("read from the starter")?;
        Ok(text)
    }

    /// A second owner of the line, for reading on another thread.
    ///
    /// # Errors
    /// When the descriptor cannot be duplicated.
    pub fn reader(&self) -> Result<Line> {
        let out = self.out.try_clone().context("duplicate the line")?;
        let input = BufReader::new(out.try_clone().context("duplicate the line")?);
        Ok(Line { out, input })
    }
}

/// Opens a console, in raw mode, not as a controlling terminal.
///
/// # Errors
/// When it is not there.
pub fn raw_console(path: &str) -> Result<File> {
    let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open(path);
    let file = file.with_context(|| format!("open console {path}"))?;
    let mut mode = tcgetattr(&file).with_context(|| format!("read the mode of {path}"))?;
    cfmakeraw(&mut mode);
    tcsetattr(&file, SetArg::TCSANOW, &mode).with_context(|| format!("set {path} to raw mode"))?;
    Ok(file)
}
