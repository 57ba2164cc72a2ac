//! 2. A folder that somebody forgot to close.

use std::fs::File;

use super::{SECRET, WORDS, off, on, probe, secret};
use crate::stage::case::{Case, Run};
use crate::stage::process_descriptors::leak_as_seven;
use crate::stage::verdict::{Trouble, Verdict};

pub fn leaked_descriptor(case: &Case) -> Verdict {
    secret()?;
    let careless = probe(case);
    let run = careless.run(&[
        "careless",
        "descriptor",
        "demo",
        "/",
        "probe",
        "attack",
        "leaked-descriptor",
        SECRET,
    ])?;
    off(&run, run.out.contains(WORDS), "a file of the host through descriptor 7")?;
    let run = careless.run(&["careless", "descriptor", "demo", "/proc/self/fd/7", "cat", "../tmp/secret"])?;
    off(&run, run.out.contains(WORDS), "a file of the host from its working directory")?;

    let search = leaking(case, &["--", "probe", "attack", "leaked-descriptor", SECRET])?;
    on(&search, search.out.contains(WORDS), "no open folder leads to")?;
    let workdir = leaking(case, &["--workdir", "/proc/self/fd/7", "--", "cat", "../tmp/secret"])?;
    on(&workdir, workdir.out.contains(WORDS), "ENOENT")?;
    // The program itself: the host's, with the host's libraries if they fit.
    let program = leaking(case, &["--", "/proc/self/fd/7/../bin/cat", "/etc/passwd"])?;
    on(&program, program.code == 0, "ENOENT")
}

/// The engine, started by somebody who forgot to close `/sys`.
fn leaking(case: &Case, words: &[&str]) -> Result<Run, Trouble> {
    let folder = File::open("/sys")?;
    let words = [&["run", "--rootfs", "demo"], words].concat();
    case.start_with(&words, |command| leak_as_seven(command, folder))?.wait()
}
