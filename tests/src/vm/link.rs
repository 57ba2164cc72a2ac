//! The private line between the starter and process 1 of the machine.
//!
//! It is the guest's `/dev/tty3`, in raw mode, and on the host one end of a socket pair:
//!
//! ```text
//! starter                         process 1
//!    ◀────────────── hello ─────────── the line is raw, nothing gets lost from here on
//!    ─── length, newline, order ─────▶ builds the world
//!    ◀───────────── started ────────── the command runs
//!    ───────── size 24 80 ───────────▶ the terminal changed (interactive only)
//!    ◀───── exit 3 │ error text ────── all output is out; power off follows
//! ```
//!
//! Because everything passes here, there is no run folder that a killed starter could leave behind.

use anyhow::{Context, Result};

/// The guest's console devices: output (or the whole terminal), errors, and this line.
pub const TTY_OUT: &str = "/dev/tty1";
/// See [`TTY_OUT`].
pub const TTY_ERR: &str = "/dev/tty2";
/// See [`TTY_OUT`].
pub const TTY_LINK: &str = "/dev/tty3";

/// The hidden subcommand that is process 1.
pub const INIT: &str = "vm-init";
/// The hidden subcommand that is the kernel's keeper.
pub const KEEP: &str = "vm-keep";
/// The variable by which process 1 knows that the starter, and nobody else, has started it.
pub const MARK: &str = "GANTRY_LAB_INIT";

/// What process 1 says, one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The line is ready for the order.
    Hello,
    /// The command runs.
    Started,
    /// The command ended with this exit code (128 + n after signal n), and its output is out.
    Exit(u8),
    /// The world could not be built.
    Error(String),
}

impl Message {
    /// The line, with its newline.
    pub fn to_line(&self) -> String {
        match self {
            Message::Hello => "hello\n".into(),
            Message::Started => "started\n".into(),
            Message::Exit(code) => format!("exit {code}\n"),
            Message::Error(text) => format!("error {}\n", text.replace('\n', "; ")),
        }
    }

    /// The message of a line without its newline.
    ///
    /// # Errors
    /// When the line is none of [`Message::to_line`]'s.
    pub fn parse(line: &str) -> Result<Message> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "hello" => Ok(Message::Hello),
            "started" => Ok(Message::Started),
            "exit" => Ok(Message::Exit(rest.parse().with_context(|| format!("exit code {rest:?}"))?)),
            "error" => Ok(Message::Error(rest.to_owned())),
            _ => anyhow::bail!("unknown message {line:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_the_wire() {
        let error = Message::Error("mount: no such device; is it built?".into());
        for message in [Message::Hello, Message::Started, Message::Exit(143), error] {
            assert_eq!(Message::parse(message.to_line().trim_end_matches('\n')).unwrap(), message);
        }
        assert!(Message::parse("exit 300").is_err());
        assert!(Message::parse("harbour").is_err());
    }
}
