//! 3. A folder swapped for a link while something is mounted in it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::sys::signal::Signal;

use super::{off, on, probe};
use crate::stage::case::{Case, Run};
use crate::stage::verdict::{Trouble, Verdict};

/// So often the careless runner may win the race.
const MOST: usize = 400;

/// So often the engine must.
const TRIES: usize = 60;

/// The attacker is a container, and shares a volume with the next one.
pub fn mount_race(case: &Case) -> Verdict {
    for folder in ["/tmp/outside", "/tmp/source", "/tmp/shared/spot", "/tmp/shared/proc"] {
        fs::create_dir_all(folder)?;
    }
    symlink("/tmp/outside", "/tmp/shared/link")?;
    fs::create_dir_all(case.demo().join("shared"))?;
    let first = ["run", "--init", "--rootfs", "demo", "-v", "/tmp/shared:/shared", "--"];
    let race = ["probe", "attack", "mount-race", "/shared/spot", "/shared/link"];
    let attacker = case.start(&[&first[..], &race].concat())?.until_ready()?;
    let halves = both(case);
    attacker.signal(Signal::SIGTERM)?;
    attacker.wait()?;
    halves
}

fn both(case: &Case) -> Verdict {
    let careless = probe(case);
    let volume = |number| format!("/spot/new-{number}");
    let run = until_outside(MOST, |number| {
        careless.run(&["careless", "mount", "/tmp/shared", "/tmp/source", &volume(number), "true"])
    })?;
    off(&run, made_outside()?, "a folder on the host, and a mount on it for a moment")?;
    for entry in fs::read_dir("/tmp/outside")? {
        fs::remove_dir_all(entry?.path())?;
    }
    let mut run = until_outside(TRIES, |number| {
        let volume = format!("/tmp/source:/shared/spot/new-{number}");
        case.run(&["run", "--rootfs", "demo", "-v", "/tmp/shared:/shared", "-v", &volume, "--", "true"])
    })?;
    run.out = format!("{TRIES} volumes mounted or refused, none outside");
    on(&run, made_outside()?, "none outside")
}

/// Runs until something is made outside, and no more than `most` times; the last run.
fn until_outside(most: usize, mut run: impl FnMut(usize) -> Result<Run, Trouble>) -> Result<Run, Trouble> {
    for number in 1.. {
        let last = run(number)?;
        if number == most || made_outside()? {
            return Ok(last);
        }
    }
    unreachable!("numbers do not end")
}

fn made_outside() -> Result<bool, Trouble> {
    Ok(fs::read_dir(Path::new("/tmp/outside"))?.next().is_some())
}
