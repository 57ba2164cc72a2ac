//! Attending a running machine: one loop over everything that it says, until it ends.
//!
//! The loop passes output to its sinks, keeps the console's last lines for an error message, follows the messages of
//! process 1, and watches the clock. With a terminal it also carries the keyboard in, and resizing. It is one thread,
//! so the starter stays single-threaded, and the signal that ends the kernel with its starter is tied to the right one.
//!
//! Invariant: every byte that the guest wrote before it said `exit` reaches its sink.
//! Left out: starting and ending the kernel, see [`super::boot`].

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::boot::Booted;
use super::failure::Failure;
use super::link::Message;
use super::machine::{Outcome, Sink};
use super::order::Order;
use super::terminal::{Event, Terminal};

/// A machine that has not started its command after this time never will.
const BOOT_LIMIT: Duration = Duration::from_secs(120);
/// Time to power off once the exit code is known; nothing depends on it any more.
const OFF_LIMIT: Duration = Duration::from_secs(10);
/// How much of the console is kept.
const TAIL: usize = 4096;

/// Where the command's output goes.
#[derive(Debug)]
pub enum Screen {
    /// To two sinks.
    Streams {
        /// Standard output.
        out: Sink,
        /// Standard error.
        err: Sink,
    },
    /// To the starter's terminal.
    Terminal(Box<Terminal>),
}

/// Something that became ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ready {
    Ended,
    Log,
    Link,
    Out,
    Err,
    OutHasRoom,
    Keyboard,
    Signals,
}

/// A running machine and what is known of it.
#[derive(Debug)]
pub struct Attendance {
    booted: Booted,
    screen: Screen,
    order: Vec<u8>,
    limit: Option<Duration>,
    begin: Instant,
    started: Option<Duration>,
    result: Option<Result<u8, String>>,
    result_at: Instant,
    closed: Vec<Ready>,
    line: Vec<u8>,
    console: Vec<u8>,
    typed: Vec<u8>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Attendance {
    /// Gets ready to attend `booted`.
    pub fn new(
        booted: Booted,
        screen: Screen,
        order: &Order,
        limit: Option<Duration>,
        begin: Instant,
    ) -> Attendance {
        Attendance {
            booted,
            screen,
            order: order.encode(),
            limit,
            begin,
            started: None,
            result: None,
            result_at: begin,
            closed: Vec::new(),
            line: Vec::new(),
            console: Vec::new(),
            typed: Vec::new(),
            stdout: Vec::new(),
            stderr: Vec::new(),
        }
    }

    /// Attends the machine to its end.
    ///
    /// # Errors
    /// When no exit code came back.
    pub fn run(mut self) -> Result<Outcome, Failure> {
        let wires = &self.booted.wires;
        for wire in [&wires.log, &wires.out, &wires.err, &wires.link] {
            wire.set_nonblocking(true).context("set a console to non-blocking")?;
        }
        loop {
            let ready = self.wait()?;
            for one in &ready {
                self.serve(*one)?;
            }
            if ready.contains(&Ready::Ended) {
                break;
            }
            if self.overdue() {
                self.booted.stop();
                break;
            }
        }
        self.drain()?;
        self.outcome()
    }

    /// Waits until something is ready or the time is up; then the list is empty.
    fn wait(&self) -> Result<Vec<Ready>> {
        let sources = self.sources();
        let mut fds: Vec<_> = sources.iter().map(|(_, fd, flags)| PollFd::new(*fd, *flags)).collect();
        let left = self.deadline().saturating_duration_since(Instant::now()).as_millis();
        let timeout = PollTimeout::try_from(left.saturating_add(1).min(60_000)).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("poll the machine's consoles"),
        }
        let any = |fd: &PollFd| fd.revents().is_some_and(|flags| !flags.is_empty());
        Ok(sources.iter().zip(&fds).filter(|(_, fd)| any(fd)).map(|((ready, ..), _)| *ready).collect())
    }

    fn sources(&self) -> Vec<(Ready, BorrowedFd<'_>, PollFlags)> {
        let wires = &self.booted.wires;
        let mut sources = vec![
            (Ready::Log, wires.log.as_fd(), PollFlags::POLLIN),
            (Ready::Out, wires.out.as_fd(), PollFlags::POLLIN),
            (Ready::Err, wires.err.as_fd(), PollFlags::POLLIN),
            (Ready::Link, wires.link.as_fd(), PollFlags::POLLIN),
            (Ready::Ended, self.booted.pidfd.as_fd(), PollFlags::POLLIN),
        ];
        if let Screen::Terminal(terminal) = &self.screen {
            sources.push((Ready::Signals, terminal.signals(), PollFlags::POLLIN));
            if !self.typed.is_empty() {
                sources.push((Ready::OutHasRoom, wires.out.as_fd(), PollFlags::POLLOUT));
            } else if self.started.is_some() {
                sources.push((Ready::Keyboard, terminal.keyboard(), PollFlags::POLLIN));
            }
        }
        sources.retain(|(ready, ..)| !self.closed.contains(ready));
        sources
    }

    fn serve(&mut self, ready: Ready) -> Result<(), Failure> {
        match ready {
            Ready::Ended => {}
            Ready::Log | Ready::Link | Ready::Out | Ready::Err => {
                self.listen(ready)?;
            }
            Ready::Keyboard => self.keyboard()?,
            Ready::OutHasRoom => self.send_typed()?,
            Ready::Signals => self.signal()?,
        }
        Ok(())
    }

    /// Reads once from a console; false when nothing came.
    fn listen(&mut self, from: Ready) -> Result<bool, Failure> {
        let wires = &mut self.booted.wires;
        let wire = match from {
            Ready::Log => &mut wires.log,
            Ready::Link => &mut wires.link,
            Ready::Out => &mut wires.out,
            _ => &mut wires.err,
        };
        let mut bytes = [0; 64 << 10];
        let bytes = match wire.read(&mut bytes) {
            Ok(0) => &[],
            Ok(count) => &bytes[..count],
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(false);
            }
            // The kernel ended with something of ours unread.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => &[],
            Err(error) => {
                return Err(anyhow::Error::new(error).context("read a console of the machine").into());
            }
        };
        if bytes.is_empty() {
            self.closed.push(from);
            return Ok(false);
        }
        match from {
            Ready::Log => self.remember(bytes),
            Ready::Link => self.hear(bytes)?,
            _ => self.show(from, bytes).context("pass on the command's output")?,
        }
        Ok(true)
    }

    fn remember(&mut self, bytes: &[u8]) {
        self.console.extend_from_slice(bytes);
        let surplus = self.console.len().saturating_sub(TAIL);
        self.console.drain(..surplus);
    }

    fn show(&mut self, from: Ready, bytes: &[u8]) -> io::Result<()> {
        let (sink, own, kept): (_, &mut dyn Write, _) = match (&mut self.screen, from) {
            (Screen::Terminal(_), Ready::Err) => return Ok(()),
            (Screen::Terminal(_), _) => (&mut Sink::Inherit, &mut io::stdout(), &mut self.stdout),
            (Screen::Streams { err, .. }, Ready::Err) => (err, &mut io::stderr(), &mut self.stderr),
            (Screen::Streams { out, .. }, _) => (out, &mut io::stdout(), &mut self.stdout),
        };
        match sink {
            Sink::Null => Ok(()),
            Sink::Capture => kept.write_all(bytes),
            Sink::File(file) => file.write_all(bytes),
            Sink::Inherit => own.write_all(bytes).and_then(|()| own.flush()),
        }
    }

    fn hear(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.line.extend_from_slice(bytes);
        while let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.line.drain(..=end).collect();
            match Message::parse(String::from_utf8_lossy(&line[..end]).trim_end())? {
                Message::Hello if self.order.is_empty() => {
                    self.result = Some(Err("the machine was rebooted; it ends here".into()));
                    self.booted.stop();
                }
                Message::Hello => self.send_order()?,
                Message::Started => self.started = Some(self.begin.elapsed()),
                Message::Exit(code) => self.result = Some(Ok(code)),
                Message::Error(text) => self.result = Some(Err(text)),
            }
            self.result_at = Instant::now();
        }
        Ok(())
    }

    fn send_order(&mut self) -> Result<()> {
        let mut bytes = format!("{}\n", self.order.len()).into_bytes();
        bytes.append(&mut self.order);
        self.say(&bytes).context("send the order into the machine")
    }

    /// Writes to process 1, which reads as fast as it can.
    fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        let link: &mut UnixStream = &mut self.booted.wires.link;
        link.set_nonblocking(false)?;
        link.set_write_timeout(Some(OFF_LIMIT))?;
        link.write_all(bytes)?;
        link.set_nonblocking(true)
    }

    fn keyboard(&mut self) -> Result<()> {
        let Screen::Terminal(terminal) = &self.screen else { return Ok(()) };
        self.typed = terminal.read().context("read the keyboard")?;
        if self.typed.is_empty() {
            self.closed.push(Ready::Keyboard);
        }
        Ok(())
    }

    fn send_typed(&mut self) -> Result<()> {
        match self.booted.wires.out.write(&self.typed) {
            Ok(count) => drop(self.typed.drain(..count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            // The machine ends; the loop is about to see it.
            Err(_) => self.typed.clear(),
        }
        Ok(())
    }

    fn signal(&mut self) -> Result<(), Failure> {
        let Screen::Terminal(terminal) = &mut self.screen else { return Ok(()) };
        match terminal.event()? {
            Some(Event::End(number)) => Err(Failure::Signal(number)),
            Some(Event::Resized(rows, columns)) if self.started.is_some() => Ok(self
                .say(format!("size {rows} {columns}\n").as_bytes())
                .context("pass on the terminal's size")?),
            _ => Ok(()),
        }
    }

    fn deadline(&self) -> Instant {
        if self.result.is_some() {
            return self.result_at + OFF_LIMIT;
        }
        let boot = self.started.is_none().then_some(BOOT_LIMIT);
        let limit = self.limit.into_iter().chain(boot).min();
        self.begin + limit.unwrap_or(Duration::from_secs(60 * 60 * 24 * 365))
    }

    fn overdue(&self) -> bool {
        Instant::now() >= self.deadline()
    }

    /// Takes what is still in the pairs after the kernel has ended.
    fn drain(&mut self) -> Result<(), Failure> {
        for from in [Ready::Log, Ready::Link, Ready::Out, Ready::Err] {
            while !self.closed.contains(&from) && self.listen(from)? {}
        }
        Ok(())
    }

    fn outcome(mut self) -> Result<Outcome, Failure> {
        let console = || String::from_utf8_lossy(&self.console).into_owned();
        let code = match self.result.take() {
            Some(Ok(code)) => code,
            Some(Err(text)) => return Err(Failure::Guest(text)),
            None if self.overdue() => {
                let limit = self.deadline() - self.begin;
                return Err(Failure::Time { limit, started: self.started.is_some(), console: console() });
            }
            None => {
                let console = console();
                return Err(Failure::Died { status: self.booted.status()?, console });
            }
        };
        self.booted.status()?;
        let boot = self.started.unwrap_or_default();
        Ok(Outcome { code, stdout: self.stdout, stderr: self.stderr, boot, total: self.begin.elapsed() })
    }
}
