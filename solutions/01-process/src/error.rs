//! The one error of all floors: what was done, to what, what the kernel said, and why that may be.
//!
//! It can be written into a message and read back, because half of a container's set-up happens in the
//! child, which has no other way to tell its parent what went wrong.

use std::fmt;
use std::io;

use nix::errno::Errno;

/// What every function of the engine returns.
pub type Result<T> = std::result::Result<T, Error>;

// ANCHOR: fields
/// A failed step of a container's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The isolation that failed, `mount`; empty outside of any.
    pub isolation: String,
    /// What was asked of the kernel, `pivot_root`.
    pub operation: String,
    /// To what, `/srv/demo`.
    pub subject: String,
    /// What the kernel answered; `UnknownErrno` where we refused before asking.
    pub errno: Errno,
    /// The likely cause, for a person; may be empty.
    pub cause: String,
    /// The exit code for the runner: 125, or 126 and 127 as in a shell.
    pub code: u8,
}

/// Subjects longer than this are cut in messages: the user wants one line.
const LONGEST_SUBJECT: usize = 200;
// ANCHOR_END: fields

impl Error {
    /// The runner's own failure, as `docker run` reports it.
    pub const RUNNER_FAILED: u8 = 125;

    /// The kernel refused `operation` on `subject`.
    pub fn new(operation: &str, subject: impl fmt::Display, errno: Errno) -> Error {
        Error {
            isolation: String::new(),
            operation: operation.to_owned(),
            subject: subject.to_string(),
            errno,
            cause: String::new(),
            code: Error::RUNNER_FAILED,
        }
    }

    /// We refuse `operation` on `subject` ourselves, because of `cause`.
    pub fn refused(operation: &str, subject: impl fmt::Display, cause: impl fmt::Display) -> Error {
        Error::new(operation, subject, Errno::UnknownErrno).because(cause)
    }

    /// The same error with its likely cause.
    pub fn because(self, cause: impl fmt::Display) -> Error {
        Error { cause: cause.to_string(), ..self }
    }

    /// The same error, from inside `isolation`; the innermost name stays.
    pub fn within(mut self, isolation: &str) -> Error {
        if self.isolation.is_empty() {
            self.isolation = isolation.to_owned();
        }
        self
    }

    /// The error as one message for the gate: its fields, separated by zero bytes.
    pub fn encode(&self) -> Vec<u8> {
        let errno = (self.errno as i32).to_string();
        let code = self.code.to_string();
        [&self.isolation, &self.operation, &self.subject, &errno, &self.cause, &code]
            .map(|f| f.replace('\0', "?"))
            .join("\0")
            .into()
    }

    /// The error in a message that [`Error::encode`] wrote.
    pub fn decode(message: &[u8]) -> Error {
        let text = String::from_utf8_lossy(message);
        let mut fields = text.split('\0');
        let mut next = || fields.next().unwrap_or_default();
        Error {
            isolation: next().to_owned(),
            operation: next().to_owned(),
            subject: next().to_owned(),
            errno: Errno::from_raw(next().parse().unwrap_or(0)),
            cause: next().to_owned(),
            code: next().parse().unwrap_or(Error::RUNNER_FAILED),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.isolation.is_empty() {
            write!(f, "{}: ", self.isolation)?;
        }
        write!(f, "{}", self.operation)?;
        if !self.subject.is_empty() {
            write!(f, " {}", shorten(&self.subject))?;
        }
        if self.errno != Errno::UnknownErrno {
            write!(f, ": {:?} ({})", self.errno, self.errno.desc())?;
        }
        if !self.cause.is_empty() {
            write!(f, ": {}", self.cause)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// `subject` on one line, its middle left out where it is too long.
fn shorten(subject: &str) -> String {
    let clean: Vec<char> = subject.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    if clean.len() <= LONGEST_SUBJECT {
        return clean.iter().collect();
    }
    let (head, tail) = (&clean[..LONGEST_SUBJECT / 2], &clean[clean.len() - LONGEST_SUBJECT / 4..]);
    format!("{}…{} ({} characters)", String::from_iter(head), String::from_iter(tail), clean.len())
}

/// Gives a kernel's answer its operation and subject.
pub trait Context<T> {
    /// `open("/x").during("open", "/x")?`
    ///
    /// # Errors
    /// The one that was there, as an [`Error`].
    fn during(self, operation: &str, subject: impl fmt::Display) -> Result<T>;
}

impl<T> Context<T> for nix::Result<T> {
    fn during(self, operation: &str, subject: impl fmt::Display) -> Result<T> {
        self.map_err(|errno| Error::new(operation, subject, errno))
    }
}

impl<T> Context<T> for io::Result<T> {
    fn during(self, operation: &str, subject: impl fmt::Display) -> Result<T> {
        self.map_err(|error| match error.raw_os_error() {
            Some(errno) => Error::new(operation, subject, Errno::from_raw(errno)),
            None => Error::refused(operation, subject, error),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_the_gate() {
        let error =
            Error { code: 127, ..Error::new("execve", "/bin/nothing", Errno::ENOENT).because("not here") }
                .within("exec");
        assert_eq!(Error::decode(&error.encode()), error);
    }

    #[test]
    fn the_message_is_one_line_whatever_the_path() {
        let line = Error::new("openat2", "a\n".repeat(5000), Errno::ENAMETOOLONG).to_string();
        assert!(!line.contains('\n') && line.len() < 400, "{line}");
    }
}
