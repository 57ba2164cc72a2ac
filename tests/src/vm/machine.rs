//! One machine: a kernel, a world, one command, one exit code.
//!
//! Shaped like [`std::process::Command`]: choose, then [`Machine::run`] or [`Machine::interactive`]. The machine
//! sees the host's file tree as the starter's user sees it; what it writes stays in its memory, except below the
//! shared folders. `/tmp`, `/var/tmp` and `/run` start empty. There is no network but `lo`.
//!
//! Invariant: when `run` or `interactive` returns, the kernel's process has ended.
//! Left out: a machine that runs two commands one after the other. Booting costs less than keeping state would.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::attend::{Attendance, Screen};
use super::boot::{Booted, Plan};
use super::failure::Failure;
use super::kernel::Kernel;
use super::order::Order;
use super::terminal::Terminal;

/// Where one of the command's output streams goes.
#[derive(Debug)]
pub enum Sink {
    /// To the starter's own stream.
    Inherit,
    /// Into [`Outcome`].
    Capture,
    /// Nowhere.
    Null,
    /// Into an open file.
    File(File),
}

/// What a command left.
#[derive(Debug)]
pub struct Outcome {
    /// Its exit code; 128 + n after signal n; 126 and 127 as in a shell.
    pub code: u8,
    /// Its output, when captured.
    pub stdout: Vec<u8>,
    /// Its errors, when captured.
    pub stderr: Vec<u8>,
    /// From the start of the kernel to the start of the command.
    pub boot: Duration,
    /// From the start of the kernel to its end.
    pub total: Duration,
}

/// A machine that is not yet running.
#[derive(Debug)]
pub struct Machine {
    plan: Plan,
    order: Order,
    cwd: Option<PathBuf>,
    limit: Option<Duration>,
    stdout: Sink,
    stderr: Sink,
}

impl Machine {
    /// A machine with one CPU, 2 GiB of memory (taken from the host when used), no shared folder, the root user, an
    /// environment of `PATH` alone, `/` as its working directory, and both output streams inherited.
    ///
    /// # Errors
    /// When the program that is to be process 1 is not found, see [`init_binary`].
    pub fn new(kernel: &Kernel) -> Result<Machine> {
        let plan =
            Plan { kernel: kernel.clone(), init: init_binary()?, memory: 2048, cpus: 1, extra: Vec::new() };
        let order = Order { modules: kernel.modules.clone(), ..Order::default() };
        Ok(Machine { plan, order, cwd: None, limit: None, stdout: Sink::Inherit, stderr: Sink::Inherit })
    }

    /// The `workshop` program to run as process 1, where [`init_binary`] would not find it.
    pub fn init(mut self, program: impl Into<PathBuf>) -> Machine {
        self.plan.init = program.into();
        self
    }

    /// Shares a folder of the host, read-write, at the same path. The first one also becomes the working directory,
    /// unless [`Machine::cwd`] sets another.
    pub fn share(mut self, folder: impl Into<PathBuf>) -> Machine {
        self.order.shares.push(folder.into());
        self
    }

    /// The working directory.
    pub fn cwd(mut self, folder: impl Into<PathBuf>) -> Machine {
        self.cwd = Some(folder.into());
        self
    }

    /// One variable of the environment.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Machine {
        self.order.env.retain(|(known, _)| known != name.as_ref());
        self.order.env.push((name.as_ref().into(), value.as_ref().into()));
        self
    }

    /// Many variables; `envs(std::env::vars_os())` passes the starter's own.
    pub fn envs(self, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Machine {
        variables.into_iter().fold(self, |machine, (name, value)| machine.env(name, value))
    }

    /// Runs the command as this user and group id, without other groups, instead of root.
    pub fn uid(mut self, uid: u32) -> Machine {
        self.order.uid = uid;
        self
    }

    /// Memory in MiB.
    pub fn memory(mut self, mib: u32) -> Machine {
        self.plan.memory = mib;
        self
    }

    /// CPUs. One is the fastest for anything but tests of cpusets.
    pub fn cpus(mut self, cpus: u32) -> Machine {
        self.plan.cpus = cpus;
        self
    }

    /// One more argument for the kernel, such as `sysctl.user.max_user_namespaces=0`.
    pub fn kernel_arg(mut self, arg: impl Into<OsString>) -> Machine {
        self.plan.extra.push(arg.into());
        self
    }

    /// Stops the machine after this time, boot included.
    pub fn limit(mut self, limit: Duration) -> Machine {
        self.limit = Some(limit);
        self
    }

    /// Where the command's output goes.
    pub fn stdout(mut self, sink: Sink) -> Machine {
        self.stdout = sink;
        self
    }

    /// Where the command's errors go.
    pub fn stderr(mut self, sink: Sink) -> Machine {
        self.stderr = sink;
        self
    }

    /// Both streams into the [`Outcome`].
    pub fn capture(self) -> Machine {
        self.stdout(Sink::Capture).stderr(Sink::Capture)
    }

    /// Boots, runs `command` with an empty standard input, and powers off.
    ///
    /// # Errors
    /// When no exit code came back; a command that fails is no error.
    pub fn run<S: Into<OsString>>(
        mut self,
        command: impl IntoIterator<Item = S>,
    ) -> Result<Outcome, Failure> {
        self.take(command)?;
        let begin = Instant::now();
        let booted = Booted::start(&self.plan)?;
        let screen = Screen::Streams { out: self.stdout, err: self.stderr };
        Attendance::new(booted, screen, &self.order, self.limit, begin).run()
    }

    /// Boots and runs `command` on the starter's terminal: job control, Ctrl-C and resizing work as on the host.
    /// Returns its exit code.
    ///
    /// # Errors
    /// When standard input is no terminal, or no exit code came back.
    pub fn interactive<S: Into<OsString>>(
        mut self,
        command: impl IntoIterator<Item = S>,
    ) -> Result<u8, Failure> {
        self.take(command)?;
        let begin = Instant::now();
        self.order.terminal = Some(Terminal::size()?);
        let booted = Booted::start(&self.plan)?;
        let screen = Screen::Terminal(Terminal::enter()?.into());
        Ok(Attendance::new(booted, screen, &self.order, self.limit, begin).run()?.code)
    }

    fn take<S: Into<OsString>>(&mut self, command: impl IntoIterator<Item = S>) -> Result<()> {
        self.order.command = command.into_iter().map(Into::into).collect();
        ensure!(!self.order.command.is_empty(), "no command was given");
        for folder in &mut self.order.shares {
            let real = folder.canonicalize().with_context(|| format!("share {}", folder.display()))?;
            ensure!(real.is_dir(), "share {}: not a folder", folder.display());
            ensure!(
                real != Path::new("/"),
                "share /: then nothing would be a copy; choose a folder below it"
            );
            *folder = real;
        }
        let first = self.order.shares.first().map_or(Path::new("/"), PathBuf::as_path);
        self.order.cwd = self.cwd.take().unwrap_or_else(|| first.into());
        if !self.order.env.iter().any(|(name, _)| name == "PATH") {
            let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
            self.order.env.push(("PATH".into(), path.into()));
        }
        Ok(())
    }
}

/// The `workshop` program: the running one, or the one beside it in cargo's `target/PROFILE`, where a test
/// (`deps/vm-…`) or an example (`examples/vm`) runs.
///
/// # Errors
/// When neither is there.
pub fn init_binary() -> Result<PathBuf> {
    let exe = env::current_exe().context("find the running program")?;
    if exe.file_name() == Some(OsStr::new("workshop")) {
        return Ok(exe);
    }
    let beside = exe.ancestors().skip(1).take(2).map(|dir| dir.join("workshop")).find(|path| path.is_file());
    beside.with_context(|| {
        format!("no `workshop` beside {}: run `cargo build -p workshop` first", exe.display())
    })
}
