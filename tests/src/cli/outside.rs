//! The verbs whose substance is elsewhere in the library: a few lines each.

use std::ffi::OsString;
use std::fmt::Write;

use anyhow::Result;
use workshop::generate::Difference;
use workshop::lab::{self, Ground, LabOptions};
use workshop::progress::Progress;
use workshop::{build, doctor, generate, rootfs, stage, terminal, tour, workspace};

use super::target::Target;
use super::{Here, check, code};

/// `doctor`
pub fn doctor(here: &Here) -> Result<u8> {
    let well = doctor::run(&here.root, &here.course)?;
    Progress::update(&here.root, |progress| progress.step_done("doctor"))?;
    Ok(code(well))
}

/// `tour`
pub fn tour(here: &Here) -> Result<u8> {
    tour::run(&here.root, &here.course)?;
    Progress::update(&here.root, |progress| progress.step_done("tour"))?;
    Ok(0)
}

/// `run N -- ARGS`
pub fn run(here: &Here, target: &Target, ground: Option<Ground>, args: Vec<OsString>) -> Result<u8> {
    let chapter = target.chapter(&here.course)?;
    check::must_exist(here, chapter)?;
    let binary = build::binary(&here.root, &chapter.my_crate())?;
    let mut command = vec![OsString::from(chapter.my_crate())];
    command.extend(args);
    let programs = vec![(chapter.my_crate(), binary), (lab::PROBE.to_owned(), build::probe(&here.root)?)];
    lab::enter(&here.root, &LabOptions { ground: ground.unwrap_or(Ground::User), programs, command })
}

/// `lab`
pub fn lab(here: &Here, ground: Option<Ground>, solution: bool, command: Vec<OsString>) -> Result<u8> {
    let programs = lab::programs(&here.root, &here.course, solution)?;
    lab::enter(&here.root, &LabOptions { ground: ground.unwrap_or(Ground::User), programs, command })
}

/// `rootfs`
pub fn rootfs(here: &Here) -> Result<u8> {
    terminal::print(&rootfs::describe(&here.root)?)?;
    Ok(0)
}

/// `test [N]`
pub fn test(here: &Here, target: Option<&Target>, ground: Option<Ground>) -> Result<u8> {
    let chapter = target.map(|target| target.chapter(&here.course)).transpose()?;
    Ok(code(stage::test(&here.root, &here.course, chapter.map(|chapter| chapter.number), ground)?))
}

/// `generate [--check]`
pub fn generate(here: &Here, only_check: bool) -> Result<u8> {
    if only_check { check_fresh(here) } else { write_chapters(here) }
}

fn check_fresh(here: &Here) -> Result<u8> {
    let found = generate::differences(&here.root, &here.course)?;
    for difference in &found {
        let (path, why) = match difference {
            Difference::Missing(path) => (path, "is missing"),
            Difference::Differs(path) => (path, "differs"),
            Difference::Stray(path) => (path, "is in no reference crate"),
        };
        eprintln!("{} {why}", workspace::shown(&here.root, path));
    }
    if found.is_empty() {
        terminal::print("chapters/ is what solutions/ make of it\n")?;
    } else {
        eprintln!("\nTo write chapters/ from solutions/: cargo workshop generate");
    }
    Ok(code(found.is_empty()))
}

fn write_chapters(here: &Here) -> Result<u8> {
    let outcome = generate::write(&here.root, &here.course)?;
    let mut out = String::new();
    let groups = [
        ("wrote", &outcome.written),
        ("removed", &outcome.removed),
        ("left alone, in no reference crate:", &outcome.stray),
    ];
    for (what, paths) in groups {
        for path in paths {
            writeln!(out, "{what} {}", workspace::shown(&here.root, path))?;
        }
    }
    if let Some(kept) = &outcome.kept {
        writeln!(out, "edited files are kept in {}", workspace::shown(&here.root, kept))?;
    }
    if out.is_empty() {
        out.push_str("chapters/ is fresh already\n");
    }
    terminal::print(&out)?;
    Ok(0)
}
