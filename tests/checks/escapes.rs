//! The escape lab on the reference crate: every attack succeeds with the defence off and fails with it on.
//!
//! A trial is one attack on one ground, `escapes::kernel_root::release_agent`. What would reach the whole machine is
//! made with the defence off in the kernel lab only, which is booted once and makes all of its attacks.

#[path = "support/copy.rs"]
mod copy;
#[path = "support/ground.rs"]
mod ground;

use std::process::ExitCode;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, ensure};
use copy::{outcomes, subject_of};
use ground::{Ended, ended, judged, kernel, on};
use libtest_mimic::{Arguments, Trial};
use workshop::course::Course;
use workshop::lab::Ground;
use workshop::stage::escapes::{CHAPTER, ESCAPES, Escape};
use workshop::stage::runner::{Batch, Report, Subject};
use workshop::vm::Kernel;
use workshop::{build, stage, workspace};

fn main() -> ExitCode {
    workshop::hidden::dispatch();
    let mut trials: Vec<Trial> = ESCAPES.iter().flat_map(trials_of).collect();
    trials.push(Trial::ignorable_test("escapes::each_has_its_page", || ended(pages())));
    trials.push(Trial::ignorable_test("escapes::nothing_dangerous_is_tried_here", harmless));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// One attack on every ground on which it means anything.
fn trials_of(escape: &'static Escape) -> Vec<Trial> {
    let grounds = [("root", "kernel_root", Ground::Root), ("user", "kernel_user", Ground::User)];
    let of_it = grounds.into_iter().filter(|(.., ground)| *ground == Ground::Root || escape.as_user);
    let name = escape.test.name;
    of_it
        .flat_map(|(native, in_machine, ground)| {
            [
                Trial::ignorable_test(format!("escapes::{native}::{name}"), move || natively(ground, name)),
                Trial::ignorable_test(format!("escapes::{in_machine}::{name}"), move || {
                    in_kernel(ground, name)
                }),
            ]
        })
        .collect()
}

fn natively(ground: Ground, name: &str) -> Ended {
    let mut outcome = None;
    let done = on(ground, || {
        outcome = outcomes(subject()?, ground, &[name.to_owned()])?.remove(name);
        Ok(())
    });
    outcome.map_or(done, |outcome| judged(&outcome))
}

fn in_kernel(ground: Ground, name: &str) -> Ended {
    static REPORTS: OnceLock<Result<Vec<Report>, String>> = OnceLock::new();
    let kernel = match kernel() {
        Ok(kernel) => kernel,
        Err(skip) => return skip.ended(),
    };
    let reports = REPORTS.get_or_init(|| all_in(kernel).map_err(|error| format!("{error:#}")));
    let reports = reports.as_ref().map_err(|error| error.as_str())?;
    let found = reports.iter().find(|report| (report.ground, report.name.as_str()) == (ground, name));
    judged(&found.ok_or("the machine did not report it")?.outcome)
}

/// All attacks in one machine, as its root and as one of its users.
fn all_in(kernel: &Kernel) -> Result<Vec<Report>> {
    let batches = [Ground::Root, Ground::User].map(|ground| {
        let of_it = ESCAPES.iter().filter(|escape| ground == Ground::Root || escape.as_user);
        let names = of_it.map(|escape| escape.test.name.to_owned()).collect();
        Ok(Batch { subject: subject()?.clone(), ground, names })
    });
    let batches = batches.into_iter().collect::<Result<Vec<_>>>()?;
    let mut reports = Vec::new();
    stage::kernel::run(kernel, &batches, &mut |report| reports.push(report.clone()))?;
    Ok(reports)
}

/// The reference crate that is attacked, built once.
fn subject() -> Result<&'static Subject> {
    static SUBJECT: OnceLock<Result<Subject, String>> = OnceLock::new();
    let built = SUBJECT.get_or_init(|| {
        let root = copy::root();
        let build = || {
            let course = Course::load(&root)?;
            let chapter = course.chapter(CHAPTER)?;
            subject_of(&root, chapter, build::binary_in_silence(&root, &chapter.krate)?)
        };
        build().map_err(|error: anyhow::Error| format!("{error:#}"))
    });
    built.as_ref().map_err(|text| anyhow!("{text}"))
}

/// Page 07 is that of the seventh attack, and the summary leads to it.
fn pages() -> Result<()> {
    let source = copy::root().join("book/src");
    let summary = workspace::read(&source.join("SUMMARY.md"))?;
    let table = workspace::read(&source.join("escapes/README.md"))?;
    for (index, escape) in ESCAPES.iter().enumerate() {
        let page = format!("{:02}-{}.md", index + 1, escape.test.name.replace('_', "-"));
        let text = workspace::read(&source.join("escapes").join(&page))?;
        ensure!(summary.contains(&format!("(escapes/{page})")), "SUMMARY.md does not lead to {page}");
        ensure!(table.contains(&format!("({page})")), "the appendix does not lead to {page}");
        let known = escape.known_as.split(", ").find(|known| !text.contains(known));
        ensure!(known.is_none(), "{page} does not say {}", known.unwrap_or_default());
        let command = format!("cargo workshop attack {}", escape.test.name.replace('_', "-"));
        ensure!(text.contains(&command), "{page} does not show `{command}`");
    }
    Ok(())
}

/// What belongs to the whole machine is as before, whatever was tried natively.
fn harmless() -> Ended {
    const NAMES: [&str; 3] = ["core_pattern", "release_agent", "raw_disk"];
    on(Ground::User, || {
        let pattern =
            || std::fs::read_to_string("/proc/sys/kernel/core_pattern").context("read core_pattern");
        let before = pattern()?;
        let grounds = if nix::unistd::geteuid().is_root() {
            &[Ground::Root, Ground::User][..]
        } else {
            &[Ground::User]
        };
        for ground in grounds {
            let mut halves = Vec::new();
            stage::runner::run(subject()?, *ground, &NAMES.map(str::to_owned), &mut |report| {
                halves.extend(report.notes.iter().filter(|note| note.starts_with("defence off")).cloned());
            })?;
            // A user namespace of its own, and nothing done with it, is what the second one takes.
            let harmless = |note: &String| note.contains("not here") || note.contains("attack may-mount");
            ensure!(halves.len() >= NAMES.len() && halves.iter().all(harmless), "{ground:?}: {halves:#?}");
        }
        ensure!(before == pattern()?, "core_pattern was changed");
        Ok(())
    })
}
