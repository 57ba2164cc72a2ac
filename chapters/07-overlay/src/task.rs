//! Work that needs another place: as root of a user namespace, or among mounts of its own.
//!
//! A layer's files belong to many users, and an ordinary user cannot make them, nor remove them. So what touches them
//! is done by a child, born as a container is (chapter 1's gate, chapter 4's maps), that never becomes a program: it
//! does its work inside, hands the answer back, and ends. An error comes back by the gate, as any other.

use std::fs::File;
use std::io::{Read, Seek, Write};

use mount::MountNamespace;
use nix::sys::memfd::{MFdFlags, memfd_create};
use process::exit::Exit;
use process::{Context, Error, Isolation, Program, Result, spawn};
use user::UserNamespace;
use user::caller::{self, Capability};

type Work = Box<dyn FnOnce() -> Result<Vec<u8>>>;

/// The last isolation of such a child.
struct Task {
    work: Option<Work>,
    answer: File,
}

// ANCHOR: task
impl Isolation for Task {
    fn name(&self) -> &'static str {
        "task"
    }

    fn inside(&mut self) -> Result<()> {
        let Some(work) = self.work.take() else { return Ok(()) };
        self.answer.write_all(&work()?).during("write", "the answer")?;
        // SAFETY: ends the child; what its parent registered for its own end must not run here.
        unsafe { libc::_exit(0) }
    }
}

/// Does `work` in a child among mounts of its own; for an ordinary user as root of a user namespace.
///
/// # Errors
/// Those of `work`, or there can be no such child.
pub fn apart(work: impl FnOnce() -> Result<Vec<u8>> + 'static) -> Result<Vec<u8>> {
    let memory = memfd_create("answer", MFdFlags::MFD_CLOEXEC).during("memfd_create", "")?;
    let mut answer = File::from(memory);
    let mut isolations: Vec<Box<dyn Isolation>> = Vec::new();
    if !is_root() {
        isolations.push(Box::new(UserNamespace { maps: user::cli::maps_of_caller()? }));
    }
    isolations.push(Box::new(MountNamespace::default()));
    let hand = answer.try_clone().during("dup", "the answer")?;
    isolations.push(Box::new(Task { work: Some(Box::new(work)), answer: hand }));
    let program = Program { command: vec!["task".into()], dies_with_parent: true, ..Program::default() };
    let child = spawn(&program, &mut isolations)?;
    match child.wait()? {
        Exit::Status(0) => {}
        other => {
            return Err(Error::refused("do", "the task", format!("its process ended with {}", other.code())));
        }
    }
    let mut bytes = Vec::new();
    answer.rewind().and_then(|()| answer.read_to_end(&mut bytes)).during("read", "the answer")?;
    Ok(bytes)
}

/// Does `work` here if we are root, of whatever namespace; else [`apart`].
///
/// # Errors
/// As [`apart`].
pub fn as_root(work: impl FnOnce() -> Result<Vec<u8>> + 'static) -> Result<Vec<u8>> {
    if is_root() { work() } else { apart(work) }
}
// ANCHOR_END: task

/// Whether we may own files of all ids that we have, and mount.
pub fn is_root() -> bool {
    caller::has(Capability::SysAdmin)
}
