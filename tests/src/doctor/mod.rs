//! `cargo workshop doctor`: what this machine offers, chapter by chapter, and the fix for each gap.
//!
//! Switches and version numbers tell what ought to work; so the doctor tries instead, in a child process
//! whose namespaces end with it ([`attempt`]), the way a learner's program will. Only to explain a failure
//! does it read the switches. Nothing on the machine is changed, and nothing needs root.
//!
//! [`probes`] returns the findings as data, [`run`] prints them. Each file looks at one subject; its
//! judgement is a function of texts and results, tested on machines that we do not have.
//!
//! Left out: mending. The doctor says what to type; the reader decides.

mod attempt;
mod cgroup;
mod ids;
mod kernel;
mod mounts;
mod namespaces;
mod network;
mod place;
mod probe;
mod report;
mod security;
mod tools;

use std::path::Path;

use anyhow::{Context, Result};

use crate::course::Course;

pub use place::Place;
pub use probe::{Gap, Outcome, Probe};
pub use report::{Ready, ready, screen};
pub use tools::kernel_lab;

/// Prints what this machine offers; true if every chapter can be done here or in the kernel lab.
///
/// # Errors
/// Standard output is gone.
pub fn run(root: &Path, course: &Course) -> Result<bool> {
    let place = Place::look();
    let probes = probes(root, &place);
    let text = screen(course, &place, &probes);
    crate::terminal::print(&text).context("write to standard output")?;
    Ok(course.chapters.iter().all(|chapter| !matches!(ready(chapter, &probes), Ready::No(_))))
}

/// All findings about this machine, for the workspace at `root`.
pub fn probes(root: &Path, place: &Place) -> Vec<Probe> {
    let mut probes = Vec::new();
    probes.extend(place::wsl_probe(place));
    probes.push(kernel::probe());
    probes.push(namespaces::user_probe(place));
    // What is tried inside a namespace says nothing where there is none.
    let has = |probes: &[Probe], name| {
        probes.iter().any(|probe| probe.name == name && probe.outcome == Outcome::Ok)
    };
    if has(&probes, "user namespaces") {
        probes.extend(namespaces::other_probes());
    }
    if has(&probes, "mount namespace") {
        probes.extend(mounts::probes(place));
    }
    if has(&probes, "network namespace") {
        probes.extend(network::probes());
    }
    probes.push(ids::probe(place));
    probes.push(cgroup::probe(place));
    probes.extend(security::probes(place));
    probes.extend(tools::probes(root, place));
    probes.push(place::checkout_probe(root));
    probes.push(place::terminal_probe());
    probes
}
