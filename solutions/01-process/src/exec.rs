//! The last step of a birth: find the program, close what it must not see, become it.
//!
//! The program is looked up by the child, after all isolations: in the container's own root and by the
//! container's own PATH. A shell's two codes tell what went wrong: 127 there is no such program, 126 there
//! is one and it cannot be executed. See execve(2), environ(7).

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::unistd::{chdir, execve};

use crate::{Context, Error, Result};

// ANCHOR: program
/// What the container is to run.
#[derive(Debug, Clone, Default)]
pub struct Program {
    /// The program and its arguments; not empty.
    pub command: Vec<OsString>,
    /// The whole environment, and nothing of ours.
    pub environment: Vec<(OsString, OsString)>,
    /// Where it starts, a path inside the container.
    pub workdir: PathBuf,
    /// The folder outside that becomes its `/`; none: it sees the caller's. For floors that must know; chapter 2 acts.
    pub root: Option<PathBuf>,
    /// Whether PID 1 is ours, reaps orphans and forwards signals, and the program is its child.
    pub init: bool,
    /// Whether the kernel kills it when the process that called `spawn` dies.
    pub dies_with_parent: bool,
    /// What its user should know once it runs, a line each.
    pub notices: Vec<String>,
}
// ANCHOR_END: program

/// What `docker` gives a container that says nothing else.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Program {
    /// Sets a variable, whether or not there was one of that name.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.into(), value.into()));
    }

    /// Becomes the program; returns only if that is impossible.
    pub(crate) fn exec(&self) -> Error {
        match chdir(&self.workdir).during("chdir", self.workdir.display()) {
            Ok(()) => self.exec_in_path(),
            Err(error) => error.because("the working directory must exist inside the container"),
        }
    }

    // ANCHOR: exec
    /// Tries each place in which the program may be, and keeps the answer that tells most.
    fn exec_in_path(&self) -> Error {
        let (arguments, environment) = match self.strings() {
            Ok(strings) => strings,
            Err(error) => return error,
        };
        let mut answer = None;
        for place in self.places() {
            let Err(errno) = execve(&place, &arguments, &environment);
            match errno {
                Errno::ENOENT | Errno::ENOTDIR => answer = answer.or(Some(errno)),
                Errno::EACCES => answer = Some(errno),
                _ => return self.cannot(errno),
            }
        }
        self.cannot(answer.unwrap_or(Errno::ENOENT))
    }

    /// The paths to try: the name itself if it has a slash, else one in each folder of PATH.
    fn places(&self) -> Vec<CString> {
        let name = self.command[0].as_bytes();
        if name.contains(&b'/') {
            return CString::new(name).into_iter().collect();
        }
        let path = self.environment.iter().find(|(key, _)| key == "PATH").map(|(_, value)| value.as_bytes());
        let folders = path.unwrap_or(DEFAULT_PATH.as_bytes()).split(|byte| *byte == b':');
        // POSIX: an empty folder in PATH is the working directory.
        let folders = folders.map(|folder| if folder.is_empty() { b"." } else { folder });
        folders.filter_map(|folder| CString::new([folder, name].join(&b'/')).ok()).collect()
    }
    // ANCHOR_END: exec

    // ANCHOR: cannot
    /// The error for a program that could not be executed, with the shell's code.
    fn cannot(&self, errno: Errno) -> Error {
        let (code, cause) = match errno {
            Errno::ENOENT | Errno::ENOTDIR => {
                (127, "no such program in the container, or its interpreter is missing")
            }
            Errno::EACCES => (126, "not an executable file, or a folder on the way is closed"),
            Errno::ENOEXEC => (126, "no program of this machine's kind, and no script with a #! line"),
            _ => (126, ""),
        };
        Error { code, ..Error::new("execute", self.command[0].display(), errno).because(cause) }
    }
    // ANCHOR_END: cannot

    /// Arguments and environment as the kernel takes them; a zero byte inside one is impossible.
    fn strings(&self) -> Result<(Vec<CString>, Vec<CString>)> {
        let pairs =
            self.environment.iter().map(|(key, value)| [key.as_os_str(), value].join(OsStr::new("=")));
        let zero =
            || Error::refused("execute", self.command[0].display(), "a zero byte in an argument or variable");
        let c_strings = |strings: Vec<OsString>| -> Result<Vec<CString>> {
            strings.into_iter().map(|s| CString::new(s.into_vec()).map_err(|_| zero())).collect()
        };
        Ok((c_strings(self.command.clone())?, c_strings(pairs.collect())?))
    }
}
