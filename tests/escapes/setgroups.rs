//! 15. A group that takes a right away, left.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use super::{WORDS, as_somebody, off, on, probe};
use crate::stage::case::Case;
use crate::stage::verdict::Verdict;

const GUESTS: u32 = 4242;
const CLOSED: &str = "/tmp/closed";

pub fn setgroups(case: &Case) -> Verdict {
    fs::write(CLOSED, WORDS)?;
    chown(CLOSED, Some(0), Some(GUESTS))?;
    fs::set_permissions(CLOSED, fs::Permissions::from_mode(0o604))?;
    let attack = ["probe", "attack", "setgroups", CLOSED];

    let guests = GUESTS.to_string();
    let run = probe(case).run(&[&["careless", "groups", &guests][..], &attack].concat())?;
    off(&run, run.out.contains(WORDS), "a file that was closed to its group")?;
    let engine = ["run", "--network", "none", "--rootfs", "demo", "-v", "/tmp/closed:/tmp/closed", "--"];
    let run = as_somebody(case, &[GUESTS], &[&engine[..], &attack].concat())?.wait()?;
    on(&run, run.out.contains(WORDS), "setgroups: EPERM")
}
