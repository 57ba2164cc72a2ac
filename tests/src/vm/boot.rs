//! Starting the kernel's process, and ending it.
//!
//! The kernel gets four socket pairs: its own console, and the guest's tty1 (output or terminal), tty2 (errors)
//! and tty3 (the line to process 1). They are pairs of ours, never the starter's own descriptors: the kernel sets
//! what it gets to non-blocking, which would stay so for everybody who shares it.
//!
//! Between the starter and the kernel stands the keeper ([`super::keeper`]), which ends all that the kernel leaves.
//!
//! Invariants: keeper and kernel lead a session of their own, so a Ctrl-C reaches the starter only; when the starter
//! dies, however it does, they end.
//! Left out: what is said over the pairs, see [`super::attend`].

use std::ffi::OsString;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{Pid, getpid, getppid, setsid};

use super::cpu::Claim;
use super::kernel::Kernel;
use super::link;

/// Which kernel to boot, and how.
#[derive(Debug)]
pub struct Plan {
    /// The kernel.
    pub kernel: Kernel,
    /// The program that is process 1.
    pub init: PathBuf,
    /// Memory in MiB.
    pub memory: u32,
    /// Number of CPUs.
    pub cpus: u32,
    /// More kernel arguments.
    pub extra: Vec<OsString>,
}

/// The starter's ends of the four pairs.
#[derive(Debug)]
pub struct Wires {
    /// The kernel's console.
    pub log: UnixStream,
    /// The guest's tty1.
    pub out: UnixStream,
    /// The guest's tty2.
    pub err: UnixStream,
    /// The guest's tty3.
    pub link: UnixStream,
}

/// A running kernel; it ends when this is dropped.
#[derive(Debug)]
pub struct Booted {
    /// The starter's side of its consoles.
    pub wires: Wires,
    /// Readable when the kernel has ended.
    pub pidfd: OwnedFd,
    child: Child,
    status: Option<ExitStatus>,
    _cpu: Option<Claim>,
}

impl Booted {
    /// Starts the kernel.
    ///
    /// # Errors
    /// When the plan cannot be met or the program does not start.
    pub fn start(plan: &Plan) -> Result<Booted> {
        ensure!(plan.cpus == 1 || plan.kernel.smp(), "{}: this kernel has one CPU only", plan.kernel);
        let (log, log_end) = pair()?;
        let (out, out_end) = pair()?;
        let (err, err_end) = pair()?;
        let (line, link_end) = pair()?;
        let ends = [out_end.as_raw_fd(), err_end.as_raw_fd(), link_end.as_raw_fd()];
        let cpu = (plan.cpus == 1).then(Claim::any);

        let mut command = Command::new(&plan.init);
        command.arg(link::KEEP).arg(&plan.kernel.path);
        command
            .args(arguments(plan, ends)?)
            .env_clear()
            .env("TMPDIR", memory_folder(plan.memory))
            .current_dir("/");
        let log_copy = log_end.try_clone().context("duplicate the console's descriptor")?;
        command.stdin(Stdio::null()).stdout(OwnedFd::from(log_copy)).stderr(OwnedFd::from(log_end));
        prepare(&mut command, ends, cpu.as_ref().map(Claim::set));
        let child = command.spawn().with_context(|| format!("start {}", plan.kernel))?;
        let pidfd = pidfd_open(child.id())?;
        let wires = Wires { log, out, err, link: line };
        Ok(Booted { wires, pidfd, child, status: None, _cpu: cpu })
    }

    /// How the kernel ended, waiting until it has. It must be about to.
    ///
    /// # Errors
    /// When somebody else waited for it.
    pub fn status(&mut self) -> Result<ExitStatus> {
        let status = self.child.wait().context("wait for the kernel")?;
        self.status = Some(status);
        Ok(status)
    }

    /// Ends the kernel, through its keeper.
    pub fn stop(&mut self) {
        if self.status.is_some() {
            return;
        }
        let pid = Pid::from_raw(self.child.id() as i32);
        let _ = kill(pid, Signal::SIGTERM);
        let mut ended = [PollFd::new(std::os::fd::AsFd::as_fd(&self.pidfd), PollFlags::POLLIN)];
        let _ = poll(&mut ended, PollTimeout::from(10_000u16));
        let _ = kill(pid, Signal::SIGKILL);
        self.status = self.child.wait().ok();
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The kernel's command line. What follows `--` is for process 1.
fn arguments(plan: &Plan, [out, err, link]: [RawFd; 3]) -> Result<Vec<OsString>> {
    let init = plan.init.canonicalize().with_context(|| format!("find {}", plan.init.display()))?;
    ensure!(!init.to_string_lossy().contains('"'), "{}: a `\"` in the path", init.display());
    let mut quoted = OsString::from("init=\"");
    quoted.push(&init);
    quoted.push("\"");
    let mut args: Vec<OsString> = vec![format!("mem={}M", plan.memory).into(), quoted];
    // The machine's control socket is not needed; below a device no folder for it can be made.
    args.extend(["umid=gantry", "uml_dir=/dev/null/"].map(OsString::from));
    args.extend(["root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro"].map(OsString::from));
    args.extend(["noreboot", "quiet", "loglevel=1", "con=null", "con0=null,fd:2"].map(OsString::from));
    args.extend(
        [format!("con1=fd:{out}"), format!("con2=fd:{err}"), format!("con3=fd:{link}")].map(OsString::from),
    );
    args.extend(["lsm=landlock,yama,apparmor,bpf".into(), OsString::from(format!("{}=1", link::MARK))]);
    if plan.kernel.smp() {
        args.push(format!("ncpus={}", plan.cpus).into());
    }
    if plan.kernel.seccomp {
        args.push("seccomp=auto".into());
    }
    args.extend(plan.extra.iter().cloned());
    args.extend(["--", link::INIT].map(OsString::from));
    Ok(args)
}

/// Sets what must be set between fork and exec.
fn prepare(command: &mut Command, ends: [RawFd; 3], cpus: Option<CpuSet>) {
    let starter = getpid();
    let between = move || {
        let _ = setsid();
        // A kernel that panics aborts; its memory is of no use to anybody.
        setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
        if let Some(cpus) = &cpus {
            sched_setaffinity(Pid::from_raw(0), cpus)?;
        }
        for fd in ends {
            // SAFETY: the parent keeps these open until the spawn is over, and this process is its copy.
            let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) };
            fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
        }
        set_pdeathsig(Signal::SIGTERM)?;
        // The starter may have died before the line above; then nobody will send the signal.
        if getppid() != starter { Err(Errno::ESRCH.into()) } else { Ok(()) }
    };
    // SAFETY: the closure makes system calls only: no allocation, no lock, nothing that a fork could break.
    unsafe { command.pre_exec(between) };
}

fn pair() -> Result<(UnixStream, UnixStream)> {
    UnixStream::pair().context("make a socket pair for a console")
}

/// The folder for the file that backs the machine's memory. It never has a name there. `/dev/shm` is the fastest,
/// but in a Docker container it may hold 64 MB only, and a machine that overruns it dies of SIGBUS.
fn memory_folder(mib: u32) -> PathBuf {
    let room = |dir: &&str| {
        let stat = statvfs(Path::new(dir)).ok().filter(|stat| !stat.flags().contains(FsFlags::ST_NOEXEC))?;
        Some(stat.blocks_available() * stat.fragment_size() / (1 << 20))
    };
    let folders = ["/dev/shm", "/tmp", "/var/tmp"];
    let fits = folders.iter().find(|dir| room(dir).is_some_and(|free| free >= u64::from(mib)));
    fits.or_else(|| folders.iter().max_by_key(|dir| room(dir)))
        .map(PathBuf::from)
        .expect("the list is not empty")
}

/// A descriptor of the process, `pidfd_open(2)`.
fn pidfd_open(pid: u32) -> Result<OwnedFd> {
    // SAFETY: the call takes two integers and touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = Errno::result(fd).context("pidfd_open of the kernel (Linux 5.3 has it)")?;
    // SAFETY: the call succeeded, so this is a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}
