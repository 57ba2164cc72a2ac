//! The places whose kernel is asked: this machine, and the kernel lab.
//!
//! A question is JSON in a file; the answer is JSON on standard output. Whoever answers is this same program, run
//! again with [`ASK`], the question's name and the file: a mount namespace cannot be entered by a process with threads,
//! and the kernel lab runs programs, not functions.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use workshop::lab::{self, Ground, Job, Spec};
use workshop::vm::{Kernel, Machine};

use crate::{capabilities, overlay, quota, script};

/// The first argument of this program when it is to answer.
const ASK: &str = "ask-the-kernel";

/// This program's name in a lab.
const OURSELVES: &str = "figures";

/// The exit code that says: this cannot be tried here.
const CANNOT: u8 = 77;

/// The longest that the kernel lab may take for one question.
const LIMIT: Duration = Duration::from_secs(120);

/// Where the kernel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// This machine's own.
    Here,
    /// A user-mode Linux kernel of our own.
    Kernel,
}

/// Why a trial cannot run.
#[derive(Debug)]
pub enum Skip {
    /// The machine's owner could change that.
    Avoidable(String),
    /// It does not matter here; the kernel lab covers it.
    Fine(String),
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Skip::Avoidable(why) | Skip::Fine(why)) = self;
        write!(f, "cannot run here: {why}")
    }
}

impl std::error::Error for Skip {}

/// What answers a question, by its name.
type Answer = fn(&Value) -> Result<Value>;

const ANSWERS: [(&str, Answer); 3] =
    [("quota", quota::measure), ("overlay", overlay::operate), ("capabilities", capabilities::try_doors)];

/// Answers, if this program was run to do that.
pub fn asked() -> Option<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [ask, name, file] = words.as_slice() else { return None };
    if ask != ASK {
        return None;
    }
    let (_, answer) = ANSWERS.iter().find(|(known, _)| known == name)?;
    Some(match question(Path::new(file)).and_then(|question| answer(&question)) {
        Ok(value) => {
            println!("{value}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(if error.is::<Skip>() { CANNOT } else { 1 })
        }
    })
}

fn question(file: &Path) -> Result<Value> {
    let text = fs::read(file).with_context(|| format!("read {}", file.display()))?;
    serde_json::from_slice(&text).context("read the question")
}

impl Place {
    /// Asks the question called `name`; in a lab of namespaces if it mounts.
    ///
    /// # Errors
    /// [`Skip`] where it cannot be tried; else what went wrong.
    pub fn ask(self, name: &str, mounts: bool, question: &Value) -> Result<Value> {
        let file = script::scratch()?.join(format!("{name}-{}.json", std::process::id()));
        fs::write(&file, question.to_string()).with_context(|| format!("write {}", file.display()))?;
        let myself = std::env::current_exe().context("find this program")?;
        let answer = match self {
            Place::Here => here(myself, name, &file, mounts),
            Place::Kernel => in_kernel(myself, name, &file),
        };
        fs::remove_file(&file).with_context(|| format!("remove {}", file.display()))?;
        let (code, out, err) = answer?;
        match code {
            0 => serde_json::from_slice(&out).context("read the answer"),
            code if code == i32::from(CANNOT) => bail!(Skip::Fine(err.trim().to_owned())),
            code => bail!("the kernel was asked, and the program ended with {code}: {err}"),
        }
    }
}

/// Exit code, standard output, standard error.
type Said = (i32, Vec<u8>, String);

/// The question comes by standard input: a lab has a `/tmp` of its own, and this checkout may lie in the machine's.
fn here(myself: PathBuf, name: &str, file: &Path, mounts: bool) -> Result<Said> {
    let ask = [ASK, name, "/proc/self/fd/0"];
    let mut command = if mounts {
        let ground = if nix::unistd::geteuid().is_root() { Ground::Root } else { Ground::User };
        let words = [OURSELVES].iter().chain(&ask).map(OsString::from).collect();
        let programs = vec![(OURSELVES.to_owned(), myself)];
        lab::command(&Spec { ground, programs, demo: None, job: Job::Command(words) })?
    } else {
        let mut command = Command::new(myself);
        command.args(ask);
        command
    };
    let question = File::open(file).with_context(|| format!("open {}", file.display()))?;
    let output = command.stdin(question).output().context("run this program again")?;
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    // 125: the lab's own; an administrator forbids user namespaces, say.
    ensure!(output.status.code() != Some(125), Skip::Avoidable(err.trim().to_owned()));
    Ok((output.status.code().unwrap_or(-1), output.stdout, err))
}

fn in_kernel(myself: PathBuf, name: &str, file: &Path) -> Result<Said> {
    let kernel = Kernel::find().map_err(|error| {
        Skip::Avoidable(
            format!("{error:#}")
                .lines()
                .next()
                .unwrap_or_default()
                .trim_end_matches(" Looked at:")
                .to_owned(),
        )
    })?;
    let machine: Machine = lab::kernel::machine(&kernel, [myself.as_path(), file].into_iter())?;
    let words = [myself.as_os_str(), ASK.as_ref(), name.as_ref(), file.as_os_str()].map(OsString::from);
    let outcome = machine.env(OWN_MACHINE, "1").limit(LIMIT).capture().run(words.to_vec())?;
    Ok((i32::from(outcome.code), outcome.stdout, String::from_utf8_lossy(&outcome.stderr).into_owned()))
}

const OWN_MACHINE: &str = "GANTRY_TEST_OWN_MACHINE";

/// Whether all of this machine is ours: then its cgroups may be set up.
pub fn own_machine() -> bool {
    std::env::var_os(OWN_MACHINE).is_some()
}

/// Whether root of this namespace is somebody else outside.
pub fn own_user_namespace() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().collect::<Vec<_>>() != ["0", "0", "4294967295"]
}
