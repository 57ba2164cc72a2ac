//! Compiling a crate of the workspace and finding its binary.
//!
//! cargo itself says where the binary is (`executable` in its JSON messages), so that a target folder
//! elsewhere (`CARGO_TARGET_DIR`, a user's config) needs no thought. The compiler's words go to the reader
//! as they are. A build that takes longer than a moment is announced: silence looks like a hang.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::workspace;

/// How long a build may be silent.
const PATIENCE: Duration = Duration::from_millis(1500);

/// The crate does not compile; the compiler has said why on standard error.
#[derive(Debug)]
pub struct Broken {
    package: String,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} does not compile yet: begin with the first error above", self.package)
    }
}

impl std::error::Error for Broken {}

/// Compiles `package` (dev profile) and returns the path of its binary.
///
/// # Errors
/// [`Broken`] if it does not compile; else cargo could not be run, or the package has no binary.
pub fn binary(root: &Path, package: &str) -> Result<PathBuf> {
    let _done = announce_if_slow(package);
    binary_in_silence(root, package)
}

/// As [`binary`], however long it takes: for tests, whose output is read by programs as well.
///
/// # Errors
/// As [`binary`].
pub fn binary_in_silence(root: &Path, package: &str) -> Result<PathBuf> {
    let mut cargo = workspace::cargo(root);
    cargo.args(["build", "--quiet", "--package", package, "--message-format=json-render-diagnostics"]);
    wait_for(&mut cargo, package)
}

/// Runs a `cargo build` to its end; the path of the binary called `package`.
fn wait_for(cargo: &mut std::process::Command, package: &str) -> Result<PathBuf> {
    let mut child = cargo.stdout(Stdio::piped()).spawn().context("run cargo build")?;
    let messages = BufReader::new(child.stdout.take().context("cargo's messages")?);
    let mut found = None;
    for message in messages.lines() {
        found = executable(&message.context("read cargo's messages")?, package).or(found);
    }
    let status = child.wait().context("wait for cargo build")?;
    if !status.success() {
        return Err(Broken { package: package.to_owned() }.into());
    }
    found.with_context(|| format!("{package} has no binary: it needs a src/main.rs"))
}

/// Compiles `probe`, which looks around inside containers, and returns its path.
///
/// A pristine workspace only has a link to our sources: it takes the program that they are compiled to anyway.
///
/// # Errors
/// As [`binary`].
pub fn probe(root: &Path) -> Result<PathBuf> {
    let sources = root.join("tests").canonicalize().context("find the workshop's sources in tests/")?;
    let mut cargo = workspace::cargo(sources.parent().unwrap_or(root));
    cargo.args(["build", "--quiet", "--package", "workshop", "--bin", "probe"]);
    let _done = announce_if_slow("probe");
    wait_for(cargo.args(["--message-format=json-render-diagnostics"]), "probe")
}

/// The binary that a message of cargo's names, if it is this package's.
fn executable(message: &str, package: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let target = &message["target"];
    let is_binary = target["kind"].as_array()?.iter().any(|kind| kind == "bin");
    if is_binary && target["name"] == package {
        message["executable"].as_str().map(PathBuf::from)
    } else {
        None
    }
}

/// Says that a build goes on if the returned end of a channel lives longer than a moment.
fn announce_if_slow(package: &str) -> mpsc::Sender<()> {
    let (sender, done) = mpsc::channel();
    let package = package.to_owned();
    thread::spawn(move || {
        if done.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("Compiling {package} ...");
        }
    });
    sender
}
