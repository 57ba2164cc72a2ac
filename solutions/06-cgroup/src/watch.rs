//! Waiting for what happens to a cgroup, without asking again and again.
//!
//! Version 2: a process that has read one of its event files sleeps in poll(2) until the file says something new.
//! Version 1: the kernel rings a bell, an eventfd that was registered in `cgroup.event_control`, when memory is out.
//! Pressure (PSI, version 2 and hybrid): a trigger is written to the pressure file, and poll(2) waits for it.
//!
//! The end: the cgroup has no processes any more. See the kernel's cgroup-v2, cgroup-v1 "memory" and accounting/psi.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::uio::pread;
use process::{Context, Error, Result};

use crate::{Cgroup, Controller, Folder, Version};

/// Three tenths of a second of waiting in two seconds; with another window it would take privileges.
const TRIGGER: &[u8] = b"some 300000 2000000\0";

/// How often we look without having been called, in milliseconds.
const ASK: u16 = 500;

// ANCHOR: sources
/// One thing that can happen.
struct Source {
    /// What it is called in our lines: `memory`, `pids`, `pressure memory`.
    name: String,
    /// The file that tells.
    fd: OwnedFd,
    /// What rings when it does, if not the file itself.
    bell: Option<OwnedFd>,
    /// What it said last.
    known: BTreeMap<String, String>,
    /// Whether it changes all the time, and is news only when it rings.
    restless: bool,
}

/// All that can happen to a cgroup.
pub struct Watch<'a> {
    cgroup: &'a Cgroup,
    sources: Vec<Source>,
}

impl Watch<'_> {
    /// Begins to watch a cgroup; also for pressure, if that is wanted.
    ///
    /// # Errors
    /// Pressure is wanted, and the kernel does not keep it.
    pub fn new(cgroup: &Cgroup, pressure: bool) -> Result<Watch<'_>> {
        let mut sources = Vec::new();
        if let Ok(folder) = cgroup.folder(Controller::Memory) {
            sources.push(match folder.version {
                Version::V1 => with_bell("memory", folder, "memory.oom_control")?,
                Version::V2 => Source::file("memory", folder, "memory.events")?,
            });
        }
        if let Ok(folder) = cgroup.folder(Controller::Pids).and_then(|folder| folder.must_have("pids.events"))
        {
            sources.push(Source::file("pids", folder, "pids.events")?);
        }
        if let Some(folder) = cgroup.unified() {
            sources.push(Source::file("cgroup", folder, "cgroup.events")?);
        }
        if pressure {
            let folder = cgroup.unified().ok_or_else(no_pressure)?;
            for resource in ["cpu", "memory", "io"] {
                sources.push(trigger(resource, folder)?);
            }
        }
        Ok(Watch { cgroup, sources })
    }
}
// ANCHOR_END: sources

impl Source {
    fn file(name: &str, folder: &Folder, file: &str) -> Result<Source> {
        let fd = folder.open_file(file, OFlag::O_RDONLY)?;
        let mut source =
            Source { name: name.to_owned(), fd, bell: None, known: BTreeMap::new(), restless: false };
        source.news()?;
        Ok(source)
    }

    /// What it says that it has not said before, as lines.
    fn news(&mut self) -> Result<Vec<String>> {
        let mut bytes = [0; 4096];
        let length = pread(&self.fd, &mut bytes, 0).during("read", &self.name)?;
        let text = String::from_utf8_lossy(&bytes[..length]);
        let mut news = Vec::new();
        for (key, value) in text.lines().filter_map(|line| line.split_once(' ')) {
            if self.known.insert(key.to_owned(), value.to_owned()).is_none_or(|known| known != value) {
                news.push(format!("{} {key} {value}", self.name));
            }
        }
        Ok(news)
    }

    fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_ref().map_or(self.fd.as_fd(), AsFd::as_fd)
    }
}

// ANCHOR: bells
/// A file of version 1, and an eventfd that the kernel adds to when memory is out.
fn with_bell(name: &str, folder: &Folder, file: &str) -> Result<Source> {
    let mut source = Source::file(name, folder, file)?;
    let bell = eventfd().during("eventfd", "")?;
    let line = format!("{} {}", bell.as_raw_fd(), source.fd.as_raw_fd());
    folder.write("cgroup.event_control", &line)?;
    source.bell = Some(bell);
    Ok(source)
}

/// A pressure file with a trigger in it.
fn trigger(resource: &str, folder: &Folder) -> Result<Source> {
    let fd = folder.open_file(&format!("{resource}.pressure"), OFlag::O_RDWR).map_err(|_| no_pressure())?;
    let mut file = File::from(fd);
    file.write_all(TRIGGER).during("set a trigger for", format_args!("{resource} pressure"))?;
    let name = format!("pressure {resource}");
    Ok(Source { name, fd: file.into(), bell: None, known: BTreeMap::new(), restless: true })
}

/// eventfd(2), nonblocking and close-on-exec.
fn eventfd() -> nix::Result<OwnedFd> {
    // SAFETY: numbers only.
    let fd = Errno::result(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
    // SAFETY: the kernel gave us this new descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
// ANCHOR_END: bells

fn no_pressure() -> Error {
    let cause = "this kernel does not keep it for cgroups: that takes a tree of version 2, and PSI (psi=1)";
    Error::refused("watch", "pressure", cause)
}

impl Watch<'_> {
    // ANCHOR: next
    /// Sleeps until something happens, and tells it in lines; none when the cgroup has no processes any more.
    ///
    /// # Errors
    /// None that a user could cause.
    pub fn wait_for_news(&mut self) -> Result<Option<Vec<String>>> {
        loop {
            let rung = self.sleep()?;
            let mut lines = Vec::new();
            for (source, rung) in self.sources.iter_mut().zip(rung) {
                if source.restless && !rung {
                    continue;
                }
                match source.news() {
                    Ok(news) => lines.extend(news),
                    Err(error) if error.errno == Errno::ENODEV => {}
                    Err(error) => return Err(error),
                }
            }
            if !lines.is_empty() {
                return Ok(Some(lines));
            }
            if self.is_over() {
                return Ok(None);
            }
        }
    }

    /// Which of them have rung. Sleeps until one does, or [`ASK`] has passed: the bell of version 1 rings before the kernel has killed and counted,
    /// and the last notice of a cgroup that is removed at once may never come.
    fn sleep(&self) -> Result<Vec<bool>> {
        let flags = PollFlags::POLLPRI | PollFlags::POLLIN;
        let kind = |source: &Source| if source.bell.is_some() { flags } else { PollFlags::POLLPRI };
        let mut fds: Vec<PollFd<'_>> =
            self.sources.iter().map(|source| PollFd::new(source.bell(), kind(source))).collect();
        match poll(&mut fds, PollTimeout::from(ASK)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).during("poll", ""),
        }
        let rung = fds.iter().map(|fd| fd.any() == Some(true)).collect();
        // Or it would go on ringing.
        for bell in self.sources.iter().filter_map(|source| source.bell.as_ref()) {
            let _ = nix::unistd::read(bell, &mut [0; 8]);
        }
        Ok(rung)
    }
    // ANCHOR_END: next

    fn is_over(&self) -> bool {
        self.cgroup.is_empty().unwrap_or(true)
    }
}
