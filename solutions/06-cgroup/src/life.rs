//! What happens to all processes of a container together: stopped, continued, killed, and in the end the cgroup removed.
//!
//! A signal to each of them would miss those that are born meanwhile. A cgroup misses none: children are born in it.
//!
//! Invariants: whoever is frozen stays so until [`Cgroup::resume`], except to die. All waiting here is bounded.
//! See the kernel's cgroup-v2 (`cgroup.freeze`, `cgroup.kill`) and cgroup-v1 "freezer-subsystem".

use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, UnlinkatFlags, unlinkat};
use process::{Context, Error, Result};

use crate::{Cgroup, Controller, Folder, Version};

/// The longest that we wait for the kernel to stop, end or let go of processes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

// ANCHOR: freeze
impl Cgroup {
    /// Stops all processes; returns when none of them runs.
    ///
    /// # Errors
    /// ETIMEDOUT: one of them sleeps in the kernel where it cannot be stopped; all go on then.
    pub fn pause(&self) -> Result<()> {
        let folder = self.folder(Controller::Freezer)?;
        match folder.version {
            Version::V1 => folder.write("freezer.state", "FROZEN")?,
            Version::V2 => folder.write("cgroup.freeze", "1")?,
        }
        let stopped = until(|| {
            if folder.version == Version::V1 && folder.read("freezer.state")?.trim() == "FREEZING" {
                // A process that was about to stop and was woken: asking again makes the kernel look again.
                folder.write("freezer.state", "FROZEN")?;
            }
            is_frozen(folder)
        });
        if stopped.is_err() {
            self.resume()?;
        }
        stopped
            .map_err(|error| error.because("a process waits in the kernel for something that does not come"))
    }

    /// Lets all processes go on; in version 1 also those that the container itself has stopped in a cgroup of its own,
    /// for nobody can be killed there.
    ///
    /// # Errors
    /// The cgroup is gone.
    pub fn resume(&self) -> Result<()> {
        let folder = self.folder(Controller::Freezer)?;
        match folder.version {
            Version::V1 => {
                let below = folder.walk(|each| or_gone(each.write("freezer.state", "THAWED")));
                folder.write("freezer.state", "THAWED").and(below)
            }
            Version::V2 => folder.write("cgroup.freeze", "0"),
        }
    }
}

/// Whether all processes are stopped.
fn is_frozen(folder: &Folder) -> Result<bool> {
    match folder.version {
        Version::V1 => Ok(folder.read("freezer.state")?.trim() == "FROZEN"),
        Version::V2 => Ok(folder.count("cgroup.events", "frozen") == Some(1)),
    }
}
// ANCHOR_END: freeze

impl Cgroup {
    // ANCHOR: kill
    /// Kills all processes, and returns when there are none.
    ///
    /// # Errors
    /// ETIMEDOUT: one of them cannot die, waiting in the kernel.
    pub fn kill(&self) -> Result<()> {
        match self.unified().filter(|folder| folder.has("cgroup.kill")) {
            Some(folder) => or_gone(folder.write("cgroup.kill", "1"))?,
            None => self.kill_each()?,
        }
        // Version 1 holds even the dying.
        if self.folder(Controller::Freezer).is_ok_and(|folder| folder.version == Version::V1) {
            or_gone(self.resume())?;
        }
        until(|| self.is_empty())
    }

    /// Without `cgroup.kill` (before Linux 5.14, and in version 1): who is frozen bears no children, and does not end,
    /// so that no PID of the list can come to mean another process.
    fn kill_each(&self) -> Result<()> {
        let can_freeze = self.folder(Controller::Freezer).is_ok();
        if can_freeze {
            // Not all stopped: then the list may be short, and who waits for emptiness will see.
            let _ = self.pause();
        }
        // Whoever was found is killed, and nobody stays stopped, whatever went wrong on the way.
        let (found, mut done) = self.found();
        for pid in found {
            match kill(Pid::from_raw(pid), Signal::SIGKILL) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => done = done.and(Err(errno).during("kill", pid)),
            }
        }
        if can_freeze { or_gone(self.resume()).and(done) } else { done }
    }
    // ANCHOR_END: kill

    // ANCHOR: processes
    /// Moves a process into it, with all its threads; its children of before stay where they are.
    ///
    /// # Errors
    /// ESRCH: there is no such process.
    pub fn add(&self, pid: i32) -> Result<()> {
        self.folders.iter().try_for_each(|folder| folder.write("cgroup.procs", &pid.to_string()))
    }

    /// All processes in it and below, as our PID namespace numbers them.
    ///
    /// # Errors
    /// The cgroup is gone.
    pub fn processes(&self) -> Result<Vec<i32>> {
        let (found, looked) = self.found();
        looked.map(|()| found)
    }

    /// The processes that were found, and whether all could be looked for.
    fn found(&self) -> (Vec<i32>, Result<()>) {
        let (mut all, mut looked) = (Vec::new(), Ok(()));
        for folder in &self.folders {
            looked = looked.and(collect(folder, &mut all));
        }
        all.sort_unstable();
        all.dedup();
        // Those that our PID namespace does not show have no number.
        all.retain(|pid| *pid > 0);
        (all, looked)
    }

    /// Whether no process is in it or below.
    ///
    /// # Errors
    /// The cgroup is gone.
    pub fn is_empty(&self) -> Result<bool> {
        let mut all = Vec::new();
        for folder in &self.folders {
            match folder.count("cgroup.events", "populated") {
                Some(0) => {}
                Some(_) => return Ok(false),
                None => collect(folder, &mut all)?,
            }
        }
        Ok(all.is_empty())
    }
    // ANCHOR_END: processes

    // ANCHOR: remove
    /// Removes it from all trees, with what its container made below it; kills whoever is left inside.
    ///
    /// # Errors
    /// EBUSY: a process in it does not die.
    pub fn remove(&self) -> Result<()> {
        // The first tree last: the lock on its folder tells that all of it is ours.
        self.folders.iter().rev().try_for_each(|folder| match remove_folder(folder) {
            Err(error) if error.errno == Errno::EBUSY => self.clear(folder),
            removed => removed,
        })
    }

    /// Removes what does not let itself be removed: with cgroups below it, or processes inside.
    fn clear(&self, folder: &Folder) -> Result<()> {
        // Whom we cannot look for may be there.
        if !self.is_empty().unwrap_or(false) {
            self.kill().map_err(|error| match error.errno {
                Errno::ETIMEDOUT => error.because("a process in it does not die"),
                _ => error,
            })?;
        }
        // The dead are in it until the kernel has put them away.
        let removed = until(|| match folder.remove_below().and_then(|()| remove_folder(folder)) {
            Err(error) if error.errno == Errno::EBUSY => Ok(false),
            removed => or_gone(removed).map(|()| true),
        });
        removed.map_err(|error| match error.errno {
            Errno::ETIMEDOUT => {
                Error::new("rmdir", folder.path.display(), Errno::EBUSY).because(self.why_it_stays(folder))
            }
            _ => error,
        })
    }

    fn why_it_stays(&self, folder: &Folder) -> &'static str {
        match (self.is_empty(), folder.below()) {
            (Ok(true), Ok(below)) if below.is_empty() => "it is empty; is something mounted on it?",
            (Ok(true), _) => "there are too many cgroups below it, or somebody goes on making them",
            _ => "a process in it does not die",
        }
    }
    // ANCHOR_END: remove
}

/// Of an empty cgroup.
fn remove_folder(folder: &Folder) -> Result<()> {
    match unlinkat(nix::fcntl::AT_FDCWD, &folder.path, UnlinkatFlags::RemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno).during("rmdir", folder.path.display()),
    }
}

/// The processes of a folder and of all below it; what cannot be read does not hide the rest.
fn collect(folder: &Folder, all: &mut Vec<i32>) -> Result<()> {
    let mut read = Ok(());
    let looked = folder.walk(|each| {
        match each.processes() {
            Ok(inside) => all.extend(inside),
            // Threaded cgroups have no list of processes; those are listed where the thread group's cgroup is.
            Err(error) if error.errno == Errno::EOPNOTSUPP || is_gone(&error) => {}
            Err(error) => read = Err(error),
        }
        Ok(())
    });
    looked.and(read)
}

/// Whether the cgroup was removed meanwhile: its runner was faster.
fn is_gone(error: &Error) -> bool {
    [Errno::ENOENT, Errno::ENODEV].contains(&error.errno)
}

fn or_gone(done: Result<()>) -> Result<()> {
    match done {
        Err(error) if is_gone(&error) => Ok(()),
        done => done,
    }
}

/// Asks again, ever more rarely, until it is so.
pub(crate) fn until(mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let (begin, mut pause) = (Instant::now(), Duration::from_micros(100));
    while !is_so()? {
        if begin.elapsed() > PATIENCE {
            return Err(Errno::ETIMEDOUT).during("wait", "for the processes of the cgroup");
        }
        sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    Ok(())
}
