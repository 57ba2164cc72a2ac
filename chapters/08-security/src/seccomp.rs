//! The filter of a container: which profile, resolved for what it is, made once and kept.
//!
//! A filter is a program that the kernel runs before each call of a process and its children. It cannot look where
//! pointers lead, and nothing takes it off again.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use process::{Context, Error, Result};

use crate::bpf::{decode, encode};
use crate::cache::{self, Cache};
use crate::calls::Arch;
use crate::filter::{Program, compile};
use crate::machine::{Call, answers};
use crate::policy::Action;
use crate::profile::{self, DEFAULT, DEFAULT_NUMBER};
use crate::resolve::{Facts, flags, resolve};
use crate::sealed;

/// Which profile.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Choice {
    /// Docker's default.
    #[default]
    Builtin,
    /// A file of the user's.
    File(PathBuf),
    /// No filter at all.
    Unconfined,
}

/// A program for the kernel, and how it is to be put over a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The instructions.
    pub program: Program,
    /// `SECCOMP_FILTER_FLAG_*`.
    pub flags: u64,
}

impl Filter {
    /// The filter that a profile means.
    ///
    /// # Errors
    /// It is no profile, or says what there is not.
    pub fn compile(text: &str, origin: &str, facts: &Facts) -> Result<Filter> {
        let profile = profile::parse(text, origin)?;
        let filter = Filter { program: compile(&resolve(&profile, facts)?), flags: flags(&profile)? };
        if filter.program.len() > MOST {
            let cause =
                format!("it becomes {} instructions, and the kernel takes {MOST}", filter.program.len());
            return Err(Error::refused("use the seccomp profile", origin, cause));
        }
        Ok(filter)
    }

    /// As bytes, for a file.
    pub fn encode(&self) -> Vec<u8> {
        [&self.flags.to_le_bytes()[..], &encode(&self.program)].concat()
    }

    /// The filter in such bytes.
    pub fn decode(bytes: &[u8]) -> Option<Filter> {
        let (flags, program) = bytes.split_at_checked(8)?;
        Some(Filter { program: decode(program)?, flags: u64::from_le_bytes(flags.try_into().ok()?) })
    }
}

/// `BPF_MAXINSNS`.
const MOST: usize = 4096;

/// What to call [`DEFAULT`].
const DOCKERS: &str = "Docker's default";

// ANCHOR: choice
impl Choice {
    /// The profile's text, and what to call it; none for no filter.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn text(&self) -> Result<Option<(String, String)>> {
        Ok(match self {
            Choice::Unconfined => None,
            Choice::Builtin => Some((DEFAULT.to_owned(), DOCKERS.to_owned())),
            Choice::File(path) => Some((read(path)?, path.display().to_string())),
        })
    }

    /// The filter for a container: from the cache, or made and put there; none for no filter.
    ///
    /// # Errors
    /// The profile cannot be read, or says what there is not.
    pub fn filter(&self, facts: &Facts, state: &Path) -> Result<Option<Filter>> {
        let given = match self {
            Choice::Unconfined => return Ok(None),
            Choice::Builtin => None,
            Choice::File(_) => self.text()?,
        };
        let named = given.as_ref().map_or_else(|| DEFAULT_NUMBER.to_string(), |(text, _)| text.clone());
        let (cache, key) = (Cache::new(state), cache::key(&named, facts, &sealed::identity()));
        match cache.load(&key) {
            Ok(found) => {
                if let Some(filter) = found.as_deref().and_then(Filter::decode) {
                    return Ok(Some(filter));
                }
            }
            // Told, and not used: the filter is made anew.
            Err(error) => eprintln!("the cache of filters is of no use: {error}"),
        }
        let (text, origin) = given.unwrap_or_else(|| (DEFAULT.to_owned(), DOCKERS.to_owned()));
        let filter = Filter::compile(&text, &origin, facts)?;
        // Where nothing can be kept, every start makes its own.
        let _ = cache.store(&key, &filter.encode());
        Ok(Some(filter))
    }
}
// ANCHOR_END: choice

/// The longest profile, in bytes; Docker's has 17,000.
const LONGEST: u64 = 1 << 20;

/// A file, and nothing whose end may never come.
fn read(path: &Path) -> Result<String> {
    let refuse = |cause| Err(Error::refused("read the seccomp profile", path.display(), cause));
    let open = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = open.during("read the seccomp profile", path.display())?;
    if !file.metadata().during("stat", path.display())?.is_file() {
        return refuse("it is no file");
    }
    let mut text = String::new();
    let read = file.take(LONGEST + 1).read_to_string(&mut text);
    read.during("read the seccomp profile", path.display())?;
    if text.len() as u64 > LONGEST { refuse("it is longer than 1 MiB") } else { Ok(text) }
}

/// A call by its name and native number, with the first of its arguments, as far as they are always the same.
type Known = (&'static str, i64, &'static [u64]);

/// Whether a program lets a native call pass, whatever its other arguments are. An answer that is no error and no call
/// either (`ERRNO` with 0) would have us believe that it was done. By number: to look a name up would take longer than
/// all the rest.
pub fn lets_pass(program: &Program, number: i64, first: &[u64]) -> bool {
    let mut arguments = [0; 6];
    arguments.iter_mut().zip(first).for_each(|(to, from)| *to = *from);
    let call = Call { arch: Arch::native().audit(), number: number as u32, arguments };
    let is_done = |action: &Action| matches!(action, Action::Allow | Action::Log);
    answers(program, &call, first.len()).is_some_and(|all| all.iter().all(is_done))
}

/// What glibc's `fork` asks `clone` for; that of musl, SIGCHLD alone.
const FORK: u64 = (libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID | libc::SIGCHLD) as u64;

/// Calls that the runner itself makes under the filter.
const NEEDED: [Known; 9] = [
    ("prctl", libc::SYS_prctl, &[libc::PR_SET_PDEATHSIG as u64, libc::SIGKILL as u64]),
    ("recvfrom", libc::SYS_recvfrom, &[]),
    ("close_range", libc::SYS_close_range, &[]),
    ("rt_sigaction", libc::SYS_rt_sigaction, &[libc::SIGPIPE as u64]),
    ("rt_sigprocmask", libc::SYS_rt_sigprocmask, &[libc::SIG_SETMASK as u64]),
    ("chdir", libc::SYS_chdir, &[]),
    ("execve", libc::SYS_execve, &[]),
    ("sendto", libc::SYS_sendto, &[]),
    ("exit_group", libc::SYS_exit_group, &[]),
];

/// Those of the init of `--init`.
const NEEDED_BY_INIT: [Known; 6] = [
    ("prctl", libc::SYS_prctl, &[libc::PR_SET_DUMPABLE as u64, 0]),
    ("clone", libc::SYS_clone, &[FORK]),
    ("clone", libc::SYS_clone, &[libc::SIGCHLD as u64]),
    ("signalfd4", libc::SYS_signalfd4, &[]),
    ("waitid", libc::SYS_waitid, &[]),
    ("kill", libc::SYS_kill, &[]),
];

// ANCHOR: needed
/// Looks whether the runner can do its last steps under the filter. Otherwise the child would die without a word, or
/// with one that nobody understands.
///
/// # Errors
/// The first call that it needs and that may be refused.
pub fn must_let_us_finish(program: &Program, init: bool) -> Result<()> {
    let more = if init { &NEEDED_BY_INIT[..] } else { &[] };
    let refused = |(_, number, first): &&Known| !lets_pass(program, *number, first);
    match NEEDED.iter().chain(more).find(refused) {
        None => Ok(()),
        Some((name, ..)) => {
            let cause =
                format!("it refuses `{name}`, always or at times, without which no program can be started");
            Err(Error::refused("use", "the seccomp profile", cause))
        }
    }
}
// ANCHOR_END: needed

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::Set;

    #[test]
    fn a_profile_under_which_nothing_starts_is_told() {
        let facts = Facts {
            capabilities: Set::of_docker(),
            arch: Arch::native(),
            kernel: (6, 1),
            shared_terminal: true,
        };
        let program = |text: &str| compile(&resolve(&profile::parse(text, "mine").unwrap(), &facts).unwrap());
        let docker = program(DEFAULT);
        must_let_us_finish(&docker, false).unwrap();
        must_let_us_finish(&docker, true).unwrap();
        let but = |name: &str| {
            let rule = format!(r#"{{"names":["{name}"],"action":"SCMP_ACT_KILL"}}"#);
            program(&format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{rule}]}}"#))
        };
        let said = must_let_us_finish(&but("execve"), false).unwrap_err().to_string();
        assert!(said.contains("`execve`"), "{said}");
        must_let_us_finish(&but("waitid"), false).unwrap();
        assert!(must_let_us_finish(&but("waitid"), true).is_err());
        for name in ["mount", "setuid", "capset"] {
            must_let_us_finish(&but(name), true).unwrap();
        }
        let lies = |name: &str, index: u8| {
            let test = format!(r#"{{"index":{index},"value":0,"op":"SCMP_CMP_NE"}}"#);
            let rule =
                format!(r#"{{"names":["{name}"],"action":"SCMP_ACT_ERRNO","errnoRet":0,"args":[{test}]}}"#);
            program(&format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{rule}]}}"#))
        };
        for (name, index) in [("close_range", 1), ("execve", 0), ("sendto", 5), ("clone", 0)] {
            let said = must_let_us_finish(&lies(name, index), true).unwrap_err().to_string();
            assert!(said.contains(&format!("`{name}`")), "{said}");
        }
        must_let_us_finish(&lies("mount", 0), true).unwrap();
        assert!(lets_pass(&docker, libc::SYS_capset, &[]));
        assert!(!lets_pass(&lies("capset", 0), libc::SYS_capset, &[]));
    }
}
