//! Trying a thing out in a child process, so that nothing of it stays.
//!
//! Switches in `/proc/sys` tell what ought to work; only trying tells what does. Every attempt runs in a
//! forked child that makes namespaces of its own, does a few system calls, and reports the first one that
//! failed through a pipe. When the child ends, so do its mounts and links.
//!
//! Invariants: between fork and exit the child only makes system calls and takes no memory from the heap,
//! so it is sound also where other threads exist. Attempts are made as a learner's programs run: as an
//! ordinary user, also when root asks. The machine itself is never changed.

use std::io::Read;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_dumpable;
use nix::sys::stat::Mode;
use nix::sys::wait::waitpid;
use nix::unistd::{
    ForkResult, Gid, Uid, fork, getegid, geteuid, pipe2, setgroups, setresgid, setresuid, write,
};

/// The uid that learners' programs have when root runs the workshop.
const NOBODY: u32 = 65534;

/// The step that failed in the child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trouble {
    /// What was tried, `mount proc`.
    pub step: &'static str,
    /// What the kernel said.
    pub errno: Errno,
}

/// The same, as the parent gets to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What was tried.
    pub step: String,
    /// What the kernel said.
    pub errno: Errno,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.step, named(self.errno))
    }
}

/// `EPERM (Operation not permitted)`.
pub fn named(errno: Errno) -> String {
    format!("{errno:?} ({})", errno.desc())
}

/// Names the step of a system call that failed.
pub trait Step<T> {
    /// Adds what was tried.
    ///
    /// # Errors
    /// The system call's own.
    fn step(self, step: &'static str) -> Result<T, Trouble>;
}

impl<T> Step<T> for nix::Result<T> {
    fn step(self, step: &'static str) -> Result<T, Trouble> {
        self.map_err(|errno| Trouble { step, errno })
    }
}

/// Runs `what` in a child.
///
/// # Errors
/// The step that failed.
pub fn attempt(what: impl FnOnce() -> Result<(), Trouble>) -> Result<(), Failure> {
    in_child(|| Some(what()))
}

/// Runs `what` in a child that is root of a user namespace of its own and has the other namespaces of
/// `kinds` as well; with a PID namespace, as PID 1 of it.
///
/// # Errors
/// As [`attempt`].
pub fn attempt_in(kinds: CloneFlags, what: impl FnOnce() -> Result<(), Trouble>) -> Result<(), Failure> {
    in_child(|| {
        if let Err(trouble) = user_namespace().and_then(|()| others(kinds)) {
            return Some(Err(trouble));
        }
        if !kinds.contains(CloneFlags::CLONE_NEWPID) {
            return Some(what());
        }
        // SAFETY: as in `in_child`.
        match unsafe { fork() } {
            Ok(ForkResult::Child) => Some(what()),
            Ok(ForkResult::Parent { child }) => {
                let _ = waitpid(child, None);
                None
            }
            Err(errno) => Some(Err(Trouble { step: "fork into the PID namespace", errno })),
        }
    })
}

/// A user namespace of an ordinary user, in which it is root.
///
/// # Errors
/// The step that failed.
pub fn user_namespace() -> Result<(), Trouble> {
    if geteuid().is_root() {
        drop_root();
        // Without it the files of /proc/self stay root's.
        set_dumpable(true).step("drop root")?;
    }
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    unshare(CloneFlags::CLONE_NEWUSER).step("make a user namespace")?;
    put("/proc/self/setgroups", b"deny").step("write setgroups")?;
    map("/proc/self/uid_map", uid).step("write uid_map")?;
    map("/proc/self/gid_map", gid).step("write gid_map")
}

/// As far as it goes: root of a user namespace may have no second id to change to, and is no real root.
fn drop_root() {
    let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    let _ = setgroups(&[]);
    if setresgid(gid, gid, gid).is_ok() {
        let _ = setresuid(uid, uid, uid);
    }
}

fn others(kinds: CloneFlags) -> Result<(), Trouble> {
    for (kind, step) in [
        (CloneFlags::CLONE_NEWNS, "make a mount namespace"),
        (CloneFlags::CLONE_NEWPID, "make a PID namespace"),
        (CloneFlags::CLONE_NEWUTS, "make a UTS namespace"),
        (CloneFlags::CLONE_NEWIPC, "make an IPC namespace"),
        (CloneFlags::CLONE_NEWNET, "make a network namespace"),
        (CloneFlags::CLONE_NEWCGROUP, "make a cgroup namespace"),
    ] {
        if kinds.contains(kind) {
            unshare(kind).step(step)?;
        }
    }
    if kinds.contains(CloneFlags::CLONE_NEWNS) {
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
            .step("make all mounts private")?;
    }
    Ok(())
}

/// Forks; what the child's part returns is reported (nothing, if its own child has done so).
fn in_child(part: impl FnOnce() -> Option<Result<(), Trouble>>) -> Result<(), Failure> {
    let begin = |errno| Failure { step: "start a child".into(), errno };
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).map_err(begin)?;
    // SAFETY: the child makes system calls only and leaves by `_exit`; see the module's head.
    match unsafe { fork() }.map_err(begin)? {
        ForkResult::Child => {
            drop(reader);
            if let Some(result) = part() {
                report(result, &writer);
            }
            // SAFETY: ends this process at once, without handlers that belong to the parent.
            unsafe { nix::libc::_exit(0) }
        }
        ForkResult::Parent { child } => {
            drop(writer);
            let mut said = Vec::new();
            let heard = std::fs::File::from(reader).read_to_end(&mut said);
            let _ = waitpid(child, None);
            heard.map_err(|_| begin(Errno::EIO))?;
            understand(&said)
        }
    }
}

/// The message: the errno (0 if all went well), then the step's name.
fn report(result: Result<(), Trouble>, pipe: &OwnedFd) {
    let (errno, step) = match result {
        Ok(()) => (0, ""),
        Err(trouble) => (trouble.errno as i32, trouble.step),
    };
    let mut message = [0_u8; 128];
    let size = step.len().min(message.len() - 4);
    message[..4].copy_from_slice(&errno.to_ne_bytes());
    message[4..4 + size].copy_from_slice(&step.as_bytes()[..size]);
    let _ = write(pipe, &message[..4 + size]);
}

fn understand(said: &[u8]) -> Result<(), Failure> {
    let Some((errno, step)) = said.split_first_chunk::<4>() else {
        return Err(Failure {
            step: "the child was killed before it could report".into(),
            errno: Errno::EINTR,
        });
    };
    match i32::from_ne_bytes(*errno) {
        0 => Ok(()),
        errno => {
            Err(Failure { step: String::from_utf8_lossy(step).into_owned(), errno: Errno::from_raw(errno) })
        }
    }
}

/// Maps the id to 0, digit by digit: formatting could take memory from the heap.
fn map(file: &str, id: u32) -> nix::Result<()> {
    let mut text = *b"0 0000000000 1";
    let mut rest = id;
    for digit in text[2..12].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    put(file, &text)
}

fn put(file: &str, text: &[u8]) -> nix::Result<()> {
    let file = open(file, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    write(file, text).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_failing_step_comes_back_with_its_errno() {
        let failure = attempt(|| Err(Trouble { step: "sail", errno: Errno::ENODEV })).unwrap_err();
        assert_eq!(failure, Failure { step: "sail".into(), errno: Errno::ENODEV });
        assert!(failure.to_string().starts_with("sail: ENODEV (No such device"), "{failure}");
        assert_eq!(attempt(|| Ok(())), Ok(()));
    }

    #[test]
    fn a_child_that_dies_is_no_success() {
        let died = attempt(|| {
            let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
            Ok(())
        });
        assert!(died.unwrap_err().step.contains("killed"));
    }
}
