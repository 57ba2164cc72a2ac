//! The looker: our helper inside the lab, which plays the host of the container.
//!
//! It starts the container, looks at it from both sides while it lives, and says what it saw as lines of
//! JSON. Then it waits for the end of its input, because the tour may want to look from further outside;
//! only after that it ends the container and tells what is left.

use std::ffi::OsString;
use std::io::Read;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::family;
use super::seen::Seen;
use super::shell::Shell;
use super::view::{Folder, View};
use crate::lab::{Snapshot, WORK};

/// What the looker says, one line each.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Line {
    /// While the container lives.
    Seen(Box<Seen>),
    /// Afterwards.
    Ended {
        /// The container's exit code.
        code: i32,
        /// What is on the host and was not there before, or the other way round.
        left: Vec<String>,
    },
    /// Something went wrong.
    Failed(String),
}

/// The entry of the hidden subcommand; its argument is the runner's name. The exit code.
pub fn main(arguments: &[OsString]) -> u8 {
    let runner = arguments.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match look(&runner).or_else(|error| say(&Line::Failed(format!("{error:#}")))) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("tour: {error:#}");
            1
        }
    }
}

fn look(runner: &str) -> Result<()> {
    let before = Snapshot::take();
    // Whoever takes the tour has a lab, and perhaps no network and no cgroup to give away.
    let line = format!("{runner} run --rootfs demo --uid-map 0:0:1 --network none --cgroups disabled -- sh");
    let command: Vec<String> = line.split(' ').map(str::to_owned).collect();
    let start = Instant::now();
    let mut shell = Shell::start(&command)?;
    shell.ask("echo $$")?;
    let birth = start.elapsed().as_micros() as u64;
    let process = family::child_of(shell.runner()).context("the runner has no child")?;
    let path = Path::new(WORK).join("demo");
    let seen = Seen {
        command,
        birth,
        inside: shell.view()?,
        outside: View::of(&process.to_string())?,
        host: View::of("self")?,
        path: path.display().to_string(),
        folder: Folder::at(&path)?,
    };
    say(&Line::Seen(Box::new(seen)))?;
    std::io::stdin().read_to_end(&mut Vec::new()).context("wait for the tour")?;
    let code = shell.end()?;
    say(&Line::Ended { code, left: before.differences(&Snapshot::take()) })
}

fn say(line: &Line) -> Result<()> {
    println!("{}", serde_json::to_string(line)?);
    Ok(())
}
