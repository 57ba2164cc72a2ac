//! 13. A set-user-id file in a volume.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::{Disk, SOMEBODY, off, on};
use crate::stage::case::{Case, Run};
use crate::stage::verdict::{Trouble, Verdict};

/// Root's own, which nobody else can write to.
const ROOTS: &str = "/tmp/disk/roots";

pub fn setuid_volume(case: &Case) -> Verdict {
    let disk = Disk::new("/tmp/disk")?;
    let volume = disk.0.join("volume");
    fs::create_dir(&volume)?;
    fs::set_permissions(&volume, fs::Permissions::from_mode(0o777))?;
    fs::write(ROOTS, "")?;
    let plant = |flags: &[&str], name: &str| {
        let first = ["run", "--rootfs", "demo", "-v", "/tmp/disk/volume:/volume"];
        let file = format!("/volume/{name}");
        case.run(&[&first, flags, &["--", "probe", "attack", "setuid-volume", &file]].concat())?
            .code_is(0)
            .map(drop)
    };
    plant(&[], "as-root")?;
    let run = run_by_somebody("/tmp/disk/volume/as-root")?;
    off(&run, run.code == 0, "root on the host, for uid 1000 who ran a file that the container left")?;

    // Root of the container is somebody else outside, and so is the owner of all that it makes.
    plant(&["--uid-map", "0:100000:65536"], "as-mapped")?;
    let run = run_by_somebody("/tmp/disk/volume/as-mapped")?;
    on(&run, run.code == 0, "Permission denied")?;
    // The other way round: a file that the host left, and a user of the container.
    let inside = ["run", "--rootfs", "demo", "-v", "/tmp/disk:/disk", "--user", "1000"];
    let attack = ["--", "/disk/volume/as-root", "attack", "redirected-write", "/disk/roots", "x"];
    let run = case.run(&[&inside[..], &attack].concat())?;
    off(&run, run.code == 0, "root in the container, for its uid 1000")?;
    let closed = [&inside[..], &["--security-opt", "no-new-privileges"], &attack].concat();
    let run = case.run(&closed)?;
    on(&run, run.code == 0, "Permission denied")
}

/// Runs what lies in the volume, as a user of the host would: it tries to write root's file.
fn run_by_somebody(program: &str) -> Result<Run, Trouble> {
    let words = ["attack", "redirected-write", ROOTS, "x"];
    let output = Command::new(program).args(words).uid(SOMEBODY).gid(SOMEBODY).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Run {
        line: format!("as uid {SOMEBODY} on the host: {program} {}", words.join(" ")),
        code: output.status.code().unwrap_or(-1),
        out: text(&output.stdout),
        err: text(&output.stderr),
    })
}
