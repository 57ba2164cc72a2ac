//! Stage tests in a kernel of one's own: one machine for all of them, in which our own program runs them in
//! namespace labs again.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::runner::{self, Batch, Report};
use crate::lab;
use crate::vm::machine::init_binary;
use crate::vm::{Kernel, Sink};

/// How long a machine may be busy with one test, on average: it is several times slower than the host.
const LIMIT: Duration = Duration::from_secs(20);

/// Runs all batches in one machine, as its root or as one of its users, and tells each outcome.
///
/// # Errors
/// No kernel is found, or the machine does not get to the end of the tests.
pub fn run(kernel: &Kernel, batches: &[Batch], tell: &mut dyn FnMut(&Report)) -> Result<()> {
    let files = batches.iter().flat_map(|batch| {
        let programs = batch.subject.programs.iter().map(|(_, file)| file.as_path());
        programs.chain([batch.subject.demo.as_path()])
    });
    let count: usize = batches.iter().map(|batch| batch.names.len()).sum();
    let limit = LIMIT * u32::try_from(count).context("so many tests")?.max(3);
    let machine = lab::kernel::machine(kernel, files)?.limit(limit).stdout(Sink::Capture);
    let mut words = vec![path(&init_binary()?)?];
    words.extend(runner::arguments(batches)?);
    let outcome = machine.stderr(Sink::Capture).run(words)?;
    runner::read_reports(outcome.stdout.as_slice(), tell)?;
    if outcome.code != 0 {
        bail!("the tests in {kernel} ended early: {}", String::from_utf8_lossy(&outcome.stderr).trim());
    }
    Ok(())
}

fn path(program: &Path) -> Result<String> {
    program.to_str().map(str::to_owned).with_context(|| format!("{}: not UTF-8", program.display()))
}
