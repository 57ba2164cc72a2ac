//! The kernel lab, seen from outside: machines are booted, and the host is looked at afterwards.
//!
//! Skipped, with the reason, where no kernel is found; `GANTRY_MUST_RUN=1` makes that a failure. One file a
//! claim: [`command`] runs commands, [`world`] looks around inside, [`ending`] kills things, [`terminal`] types.

mod command;
mod ending;
mod starter;
mod terminal;
mod world;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;
use std::{env, fmt, fs, process};

use anyhow::{Result, bail};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use workshop::vm::{Kernel, Machine, Outcome};

/// One test.
type Check = (&'static str, fn() -> Result<()>);

fn main() -> process::ExitCode {
    if let Some(code) = starter::main() {
        return code;
    }
    let groups = [command::CHECKS, world::CHECKS, ending::CHECKS, terminal::CHECKS];
    let trials =
        groups.concat().into_iter().map(|(name, check)| Trial::ignorable_test(name, move || judge(check)));
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

fn judge(check: fn() -> Result<()>) -> Result<Completion, Failed> {
    let result = kernel().and_then(|_| check());
    let Err(error) = result else { return Ok(Completion::Completed) };
    match error.downcast_ref::<Skip>() {
        Some(skip) if env::var_os("GANTRY_MUST_RUN").is_none() => Ok(Completion::ignored_with(&skip.0)),
        _ => Err(format!("{error:#}").into()),
    }
}

/// Why a test cannot run here.
#[derive(Debug)]
struct Skip(String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot run here: {}", self.0)
    }
}

impl std::error::Error for Skip {}

fn skip(reason: &str) -> Result<()> {
    bail!(Skip(reason.to_owned()))
}

fn kernel() -> Result<&'static Kernel> {
    static KERNEL: OnceLock<Result<Kernel, String>> = OnceLock::new();
    let found = KERNEL.get_or_init(|| Kernel::find().map_err(|error| format!("{error:#}")));
    found.as_ref().map_err(|text| Skip(text.clone()).into())
}

/// A machine with its output captured and a limit that a healthy one never meets.
fn lab() -> Result<Machine> {
    Ok(Machine::new(kernel()?)?.init(workshop()).capture().limit(Duration::from_secs(60)))
}

/// Runs a shell script in the lab.
fn sh(script: &str) -> Result<Outcome> {
    Ok(lab()?.run(["/bin/sh", "-c", script])?)
}

/// The `workshop` program that belongs to these tests.
fn workshop() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_workshop"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// A folder below cargo's `target`, of any name, gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Result<Folder> {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{} {name}", process::id()));
        fs::create_dir_all(&path)?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
