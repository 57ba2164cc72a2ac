//! Processes of a lab that nobody keeps any more.
//!
//! Every process of a lab carries `GANTRY_LAB=...` in its environment. The value begins with the number of
//! the process that keeps the lab (`GANTRY_LAB=4711`, or `4711:...`). A lab is alive as long as its keeper is
//! an ancestor of its processes. When the keeper dies, they get another parent, and the chain is cut: that is
//! what we look for, so a keeper's number that was given out again does no harm.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::signal::Signal;

use super::{Leftover, pidfd};

/// How long a killed process may take to end.
const PATIENCE: Duration = Duration::from_secs(2);

/// One process as `/proc` shows it.
#[derive(Debug)]
struct Process {
    parent: i32,
    started: u64,
    state: String,
    /// The value of `GANTRY_LAB`, if it has one and we may see it.
    lab: Option<String>,
}

/// The processes of dead labs, by number.
pub fn left(proc: &Path) -> Result<Vec<Leftover>> {
    let all = all(proc)?;
    let mut found = Vec::new();
    for (pid, process) in &all {
        let Some(lab) = &process.lab else { continue };
        if process.state != "Z" && !alive(*pid, lab, &all) {
            let command = command(&proc.join(pid.to_string()));
            found.push(Leftover::Process { pid: *pid, started: process.started, command });
        }
    }
    Ok(found)
}

/// Whether the keeper that the lab names is an ancestor of the process. A value that names none is of no lab
/// that we know: taken for alive.
fn alive(pid: i32, lab: &str, all: &BTreeMap<i32, Process>) -> bool {
    let digits = lab.len() - lab.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let Ok(keeper) = lab[..digits].parse::<i32>() else { return true };
    let mut at = pid;
    // A chain is never longer than there are processes; a snapshot may hold a circle.
    for _ in 0..=all.len() {
        if at == keeper {
            return true;
        }
        match all.get(&at) {
            Some(process) => at = process.parent,
            None => return false,
        }
    }
    false
}

fn all(proc: &Path) -> Result<BTreeMap<i32, Process>> {
    let entries = fs::read_dir(proc).with_context(|| format!("list {}", proc.display()))?;
    let numbered = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let pid = entry.file_name().to_str()?.parse().ok()?;
        // A process may end while we look: then it is none of our business.
        Some((pid, read(&entry.path())?))
    });
    Ok(numbered.collect())
}

fn read(folder: &Path) -> Option<Process> {
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    // proc_pid_stat(5): the name stands in parentheses and may hold anything; 3 state, 4 parent, 22 start.
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
    let environment = fs::read(folder.join("environ")).unwrap_or_default();
    let lab = environment.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(b"GANTRY_LAB="));
    Some(Process {
        state: (*fields.first()?).to_owned(),
        parent: fields.get(1)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
        lab: lab.map(|value| String::from_utf8_lossy(value).into_owned()),
    })
}

fn command(folder: &Path) -> String {
    let line = fs::read(folder.join("cmdline")).unwrap_or_default();
    let words = line.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    let text = words.map(|word| String::from_utf8_lossy(word).into_owned()).collect::<Vec<_>>().join(" ");
    text.chars().take(80).collect()
}

/// Kills the process that has this number and was started then, and waits for its end.
pub fn end(pid: i32, started: u64) -> Result<()> {
    let process = match pidfd::open(pid) {
        Err(Errno::ESRCH) => return Ok(()),
        other => other.with_context(|| format!("pidfd_open of process {pid}"))?,
    };
    // Only now does the number stand still: is it the process that we found?
    match read(Path::new(&format!("/proc/{pid}"))) {
        Some(now) if now.started == started => {}
        _ => return Ok(()),
    }
    match pidfd::send_signal(&process, Signal::SIGKILL) {
        Err(Errno::ESRCH) => return Ok(()),
        other => other.with_context(|| format!("kill process {pid}: is it another user's?"))?,
    }
    if !pidfd::wait(&process, PATIENCE).with_context(|| format!("wait for process {pid}"))? {
        bail!("process {pid} was killed, but has not ended: it may wait for a disk");
    }
    Ok(())
}
