//! The rules of the interactive figures, against the kernel that they tell of.
//!
//! A figure of the book computes in JavaScript what the kernel would do. Each trial asks both: the figure's own
//! script in a headless Chromium, and a kernel. The kernel is asked by this same program, run again: on this machine,
//! or in the kernel lab, see [`place`]. What cannot run here is skipped and says why; `GANTRY_MUST_RUN=1` makes that a
//! failure where a machine's owner could avoid it.
//!
//! Left out: what the reader sees and presses, see `tests/browser`.

mod capabilities;
#[path = "../browser/chromium.rs"]
#[allow(dead_code)]
mod chromium;
mod doors;
mod overlay;
mod place;
mod quota;
mod script;

use std::process::ExitCode;

use anyhow::Result;
use libtest_mimic::{Arguments, Completion, Failed, Trial};

use place::{Place, Skip};

/// A comparison of a figure's rule with the kernel of a place.
type Check = fn(Place) -> Result<()>;

const CHECKS: [(&str, Check); 3] = [
    ("the_quota_figure_counts_as_cpu_stat_does", quota::check),
    ("the_capability_figure_opens_what_the_kernel_opens", capabilities::check),
    ("the_overlay_figure_does_as_a_mount_does", overlay::check),
];

fn main() -> ExitCode {
    workshop::hidden::dispatch();
    if let Some(code) = place::asked() {
        return code;
    }
    // One at a time: a measurement wants the processor for itself.
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    let places = [("here", Place::Here), ("kernel_lab", Place::Kernel)];
    let trial = |(name, check): (&str, Check)| {
        places.map(|(where_, place)| {
            Trial::ignorable_test(format!("{name}::{where_}"), move || judge(check(place)))
        })
    };
    libtest_mimic::run(&arguments, CHECKS.into_iter().flat_map(trial).collect()).exit_code()
}

fn judge(result: Result<()>) -> Result<Completion, Failed> {
    let Err(error) = result else { return Ok(Completion::Completed) };
    let must_run = std::env::var_os("GANTRY_MUST_RUN").is_some();
    match error.downcast_ref::<Skip>() {
        Some(Skip::Fine(why)) => Ok(Completion::ignored_with(why)),
        Some(Skip::Avoidable(why)) if !must_run => Ok(Completion::ignored_with(why)),
        _ => Err(format!("{error:#}").into()),
    }
}
