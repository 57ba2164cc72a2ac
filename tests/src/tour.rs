//! `cargo workshop tour`: a first container, from inside and outside.
//!
//! In a lab the newest reference crate starts a shell in a container. We ask that shell what it sees, and
//! look at the same process from outside while it lives. Everything shown was read a moment before; what is
//! said about it follows from comparing both sides, so the same page stays true when later chapters isolate
//! more.
//!
//! ```text
//! tour (here) ── lab ──▶ look (a helper of ours, plays the host) ── my-.. run ──▶ sh (the container)
//!      ◀── what both sides see ──       ◀── its answers, one question at a time ──
//!      ── end of file: "seen enough" ──▶       ── end of file ──▶
//!      ◀── how it ended, what was left ──
//! ```
//!
//! Left out: the kernel lab. Where namespaces are forbidden, the tour says so and who helps.

mod family;
pub mod look;
mod page;
mod seen;
mod shell;
mod view;

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};

use anyhow::{Context, Result, anyhow, bail};

use crate::course::{Chapter, Course};
use crate::lab::{self, Ground, Job, Spec};
use crate::{rootfs, terminal};

use look::Line;
pub use page::page;
pub use seen::{Kind, NAMESPACES, Tour};
pub use view::{Folder, Mount, View};

/// The hidden subcommand that does the looking, inside the lab.
pub const LOOK: &str = "tour-look";

/// The name of our own program among the lab's.
const OURSELVES: &str = "workshop";

/// Starts a container, shows it from both sides, and says how the course begins.
///
/// # Errors
/// A crate does not compile, or no lab can be made here: the message says what helps.
pub fn run(root: &Path, course: &Course) -> Result<()> {
    let newest = newest(course)?;
    let programs = lab::programs(root, course, true)?;
    let tour = visit(&programs, &rootfs::demo(root)?, &newest.my_crate())?;
    terminal::print(&page(course, newest, &tour)).context("write to standard output")
}

/// The last chapter that builds something: its binary can do the most.
fn newest(course: &Course) -> Result<&Chapter> {
    course.chapters.iter().rfind(|chapter| chapter.has_crate()).context("the course has no crate yet")
}

/// Makes a lab of `programs` and `demo`, lets `runner` start a container in it, and looks from all sides.
///
/// # Errors
/// No lab can be made here, or the container did not start.
pub fn visit(programs: &[(String, PathBuf)], demo: &Path, runner: &str) -> Result<Tour> {
    let mut programs = programs.to_vec();
    programs.push((OURSELVES.to_owned(), std::env::current_exe().context("find this program")?));
    let words = [OURSELVES, LOOK, runner].map(OsString::from).to_vec();
    let demo = Some(demo.to_owned());
    let spec = Spec { ground: Ground::User, programs, demo, job: Job::Command(words) };
    let mut command = lab::command(&spec)?;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    listen(command.spawn().context("start the lab")?)
}

/// Hears what the looker says, looks from here as well, and lets the lab end.
fn listen(mut lab: Child) -> Result<Tour> {
    let mut lines = BufReader::new(lab.stdout.take().context("the lab's stdout")?);
    let first = next_line(&mut lines)?;
    let Some(Line::Seen(seen)) = first else { return Err(explain(first, lab)) };
    let here = family::numbers_here(lab.id() as i32, &seen.outside.numbers);
    // The looker waits for this before it lets the container end.
    drop(lab.stdin.take());
    match next_line(&mut lines)? {
        Some(Line::Ended { code, left }) => {
            lab.wait().context("wait for the lab")?;
            Ok(Tour { seen: *seen, here, code, left })
        }
        last => Err(explain(last, lab)),
    }
}

fn next_line(lines: &mut BufReader<ChildStdout>) -> Result<Option<Line>> {
    let mut line = String::new();
    match lines.read_line(&mut line).context("listen to the lab")? {
        0 => Ok(None),
        _ => serde_json::from_str(&line).map(Some).with_context(|| format!("the lab said {line}")),
    }
}

/// Why there is nothing to show: the container's fault, or the lab's, which never got as far as our looker.
fn explain(last: Option<Line>, mut lab: Child) -> anyhow::Error {
    drop(lab.stdin.take());
    match (last, complaint(&mut lab)) {
        (Some(Line::Failed(why)), Ok(said)) => anyhow!("the container could not be shown: {why}\n{said}"),
        (_, Ok(said)) => anyhow!(
            "The tour starts its container in a lab, and this machine does not let us make one:\n\n    {}\n\n  \
             cargo workshop doctor         names what forbids it, and the fix\n  \
             cargo workshop lab --kernel   needs no permission: a small Linux kernel of its own",
            said.trim()
        ),
        (_, Err(error)) => error,
    }
}

/// All that the lab wrote to its standard error.
fn complaint(lab: &mut Child) -> Result<String> {
    let mut said = String::new();
    lab.stderr.take().context("the lab's stderr")?.read_to_string(&mut said).context("listen to the lab")?;
    let status = lab.wait().context("wait for the lab")?;
    if said.trim().is_empty() {
        bail!("the lab ended without a word ({status})");
    }
    Ok(said)
}
