//! What a test of a stage says: passed, skipped and why, or what was seen against what was expected.

use std::fmt::{Debug, Display};

use serde::{Deserialize, Serialize};

/// What a test returns.
pub type Verdict = Result<(), Trouble>;

/// Why a test did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The claim does not hold.
    Failed(Failure),
    /// It cannot be tried here; the reason.
    Skipped(String),
}

/// A claim that does not hold, in words for the learner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The command that was run; may be empty.
    pub ran: String,
    /// What should have been.
    pub expected: String,
    /// What was.
    pub seen: String,
}

/// The outcome of one test, as it leaves the lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The claim holds.
    Passed,
    /// It was not tried; why.
    Skipped(String),
    /// It does not hold.
    Failed(Failure),
}

impl From<Verdict> for Outcome {
    fn from(verdict: Verdict) -> Outcome {
        match verdict {
            Ok(()) => Outcome::Passed,
            Err(Trouble::Skipped(why)) => Outcome::Skipped(why),
            Err(Trouble::Failed(failure)) => Outcome::Failed(failure),
        }
    }
}

/// A failure without a command.
pub fn fail(expected: impl Display, seen: impl Display) -> Trouble {
    Trouble::Failed(Failure { ran: String::new(), expected: expected.to_string(), seen: seen.to_string() })
}

/// `seen` must be `expected`; `what` names the thing.
///
/// # Errors
/// They differ.
pub fn same<T: PartialEq + Debug>(what: &str, expected: T, seen: T) -> Verdict {
    if seen == expected {
        return Ok(());
    }
    Err(fail(format!("{what}: {expected:?}"), format!("{seen:?}")))
}

/// The claim must hold; otherwise `seen` tells why not.
///
/// # Errors
/// It does not.
pub fn holds(claim: bool, expected: impl Display, seen: impl Display) -> Verdict {
    if claim { Ok(()) } else { Err(fail(expected, seen)) }
}

/// An operation of the test itself went wrong: no claim about the learner's code.
impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Trouble {
        fail("the test can do its own work", error)
    }
}

impl From<nix::errno::Errno> for Trouble {
    fn from(errno: nix::errno::Errno) -> Trouble {
        fail("the test can do its own work", errno)
    }
}
