//! A lab in a kernel of its own: one machine is booted, and a namespace lab is entered in it.
//!
//! So the work folder, `demo`, the PATH and the leak audit are the same on every ground. The machine sees the
//! host's files copy-on-write. Only what lies where it has fresh folders of its own is shared with it.
//!
//! Left out: the machine itself, see [`crate::vm`].

use std::ffi::OsString;
use std::io::{IsTerminal, stdin, stdout};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{ENTER, Ground, MARK, SPEC, Spec};
use crate::vm::machine::init_binary;
use crate::vm::{Failure, Kernel, Machine};

/// The machine has its own, empty at first.
const FRESH: [&str; 3] = ["/tmp", "/run", "/var/tmp"];

/// A machine in which our own program and these files are where they are here.
///
/// # Errors
/// Our own program or one of the files is not there.
pub fn machine<'a>(kernel: &Kernel, files: impl Iterator<Item = &'a Path>) -> Result<Machine> {
    let own = init_binary()?;
    let mut machine = Machine::new(kernel)?.env("RUST_BACKTRACE", "0").cwd("/");
    for folder in hidden(files.map(Path::to_owned).chain([own]))? {
        machine = machine.share(folder);
    }
    Ok(machine)
}

/// The folders around those of the files that the machine's own folders would hide.
fn hidden(files: impl Iterator<Item = PathBuf>) -> Result<Vec<PathBuf>> {
    let mut folders: Vec<PathBuf> = Vec::new();
    for file in files {
        let file = file.canonicalize().with_context(|| format!("find {}", file.display()))?;
        let folder = file.parent().unwrap_or(&file).to_owned();
        if FRESH.iter().any(|fresh| file.starts_with(fresh)) {
            folders.push(folder);
        }
    }
    folders.sort();
    folders.dedup_by(|next, outer| next.starts_with(outer));
    Ok(folders)
}

/// Runs `spec` in a machine, as its root, and returns the exit code.
///
/// # Errors
/// No kernel is found, or the machine does not start.
pub(super) fn enter(spec: &Spec) -> Result<u8> {
    let kernel = Kernel::find()?;
    eprint!("{}", kernel.report());
    let inside = Spec { ground: Ground::Root, ..spec.clone() };
    let files = spec.programs.iter().map(|(_, file)| file.as_path()).chain(spec.demo.as_deref());
    let machine = machine(&kernel, files)?
        .env(SPEC, serde_json::to_string(&inside)?)
        .env(MARK, "1")
        .envs(std::env::var_os("TERM").map(|term| ("TERM".into(), term)));
    let command = [init_binary()?.into_os_string(), OsString::from(ENTER)];
    let done = match stdin().is_terminal() && stdout().is_terminal() {
        true => machine.interactive(command),
        false => machine.run(command).map(|outcome| outcome.code),
    };
    done.or_else(|failure| match failure {
        Failure::Signal(_) => Ok(failure.exit_code()),
        failure => Err(failure.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_would_hide_is_shared_and_no_more() {
        let scratch = crate::workspace::Scratch::new("share").unwrap();
        let (one, deep) = (scratch.path().join("one"), scratch.path().join("deep/two"));
        std::fs::create_dir(scratch.path().join("deep")).unwrap();
        std::fs::write(&one, "").unwrap();
        std::fs::write(&deep, "").unwrap();
        let files = [deep, "/bin/sh".into(), one];
        assert_eq!(hidden(files.into_iter()).unwrap(), [scratch.path().canonicalize().unwrap()]);
        assert!(hidden(["/no/such/program".into()].into_iter()).is_err());
    }
}
