//! The ways in which a machine fails, as opposed to the command in it.
//!
//! A command that fails is an exit code in an [`super::Outcome`]. A [`Failure`] means that no such code exists.
//! Each kind has the exit code that `timeout` or a shell would use, so that the two are never confused in a script.

use std::fmt;
use std::process::ExitStatus;
use std::time::Duration;

/// No exit code came back.
#[derive(Debug)]
pub enum Failure {
    /// The host's side failed: the kernel did not start, or its output could not be passed on.
    Host(anyhow::Error),
    /// Process 1 of the machine could not build the world that was ordered.
    Guest(String),
    /// Time ran out and the machine was stopped.
    Time {
        /// The limit that was set.
        limit: Duration,
        /// Whether the command had been started by then.
        started: bool,
        /// The last lines of the machine's console.
        console: String,
    },
    /// The machine ended before its command did.
    Died {
        /// How the kernel's process ended.
        status: ExitStatus,
        /// The last lines of the machine's console.
        console: String,
    },
    /// The starter was asked to end (SIGTERM, SIGHUP …) while it held the terminal. The terminal is restored.
    Signal(i32),
}

impl Failure {
    /// 124 when time ran out, 128 + n after signal n, else 125.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Time { .. } => 124,
            Failure::Signal(number) => 128u8.wrapping_add(*number as u8),
            _ => 125,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Host(error) => write!(f, "kernel lab: {error:#}"),
            Failure::Guest(text) => write!(f, "kernel lab: inside the machine: {text}"),
            Failure::Time { limit, started, console } => {
                let what = if *started { "the command did not end" } else { "the machine did not boot" };
                write!(f, "kernel lab: {what} within {} s{}", limit.as_secs_f32(), quoted(console))
            }
            Failure::Died { status, console } => {
                write!(
                    f,
                    "kernel lab: the machine ended before its command did ({status}){}",
                    quoted(console)
                )
            }
            Failure::Signal(number) => write!(f, "kernel lab: ended by signal {number}"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::Host(error)
    }
}

/// The console without the call traces of a panic, which are indented. The field still has them.
fn quoted(console: &str) -> String {
    let told =
        console.lines().filter(|line| !line.starts_with(' ') && !["Stack:", "Call Trace:"].contains(line));
    let lines: Vec<_> = told.map(|line| format!("\n  | {}", line.trim_end())).collect();
    if lines.is_empty() { String::new() } else { format!("; its last words:{}", lines.concat()) }
}
