//! The first process of a lab: makes it habitable, starts the job, reaps, and audits what the job left.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, chdir, execvp, fork, sethostname};

use super::{Ground, HOME, Job, SPEC, Snapshot, Spec, WORK, cgroups, enter, prepare};

/// The most processes in a lab on unprivileged ground: a fork bomb ends here.
const MOST_PROCESSES: u64 = 512;

/// Serves until the job has ended; its exit code.
///
/// # Errors
/// The lab could not be made habitable.
pub fn serve(spec: &Spec) -> Result<u8> {
    enter::die_with_parent()?;
    prepare::share()?;
    prepare::mount_proc()?;
    sethostname("lab").context("sethostname")?;
    raise_loopback().context("raise lo")?;
    limit(spec)?;
    let before = Snapshot::take();
    // SAFETY: this process has one thread.
    let job = match unsafe { fork() }.context("fork the job")? {
        ForkResult::Parent { child } => child,
        ForkResult::Child => std::process::exit(i32::from(run(spec).unwrap_or_else(|error| {
            eprintln!("lab: {error:#}");
            127
        }))),
    };
    let code = reap_until(job)?;
    if let Job::Test(..) = spec.job {
        crate::stage::report_leaks(&what_is_left(&before));
    }
    // What is frozen cannot die, and we could not end before it.
    cgroups::thaw_own();
    Ok(code)
}

/// What the job left behind, once whatever is dying has had time to die.
fn what_is_left(before: &Snapshot) -> Vec<String> {
    let patience = Instant::now() + Duration::from_secs(2);
    loop {
        while waitpid(None, Some(WaitPidFlag::WNOHANG)).is_ok_and(|status| status != WaitStatus::StillAlive) {
        }
        let left = before.differences(&Snapshot::take());
        if left.is_empty() || Instant::now() > patience {
            return left;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn limit(spec: &Spec) -> Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0).context("forbid core dumps")?;
    if spec.ground == Ground::User {
        setrlimit(Resource::RLIMIT_NPROC, MOST_PROCESSES, MOST_PROCESSES)
            .context("limit the number of processes")?;
    }
    Ok(())
}

fn run(spec: &Spec) -> Result<u8> {
    listen_to_every_signal();
    // The same holds for descriptors that the caller forgot to close.
    crate::sys::close_on_exec_from(3).context("close_range")?;
    chdir(WORK).with_context(|| format!("chdir {WORK}"))?;
    set_environment();
    match &spec.job {
        Job::Test(test) => Ok(crate::stage::run_inside(test, spec.ground)),
        Job::Command(words) => {
            let words: Vec<CString> =
                words.iter().map(|word| CString::new(word.as_bytes())).collect::<Result<_, _>>()?;
            let program = words.first().context("no command was given")?;
            let Err(errno) = execvp(program, &words);
            Err(errno).with_context(|| format!("execute {}", program.to_string_lossy()))
        }
    }
}

/// Whatever the caller ignores (a terminal's keys, SIGHUP under nohup) the job hears again: exec would pass
/// it on, and a lab is the same for everybody.
fn listen_to_every_signal() {
    for number in Signal::iterator().filter(|number| ![Signal::SIGKILL, Signal::SIGSTOP].contains(number)) {
        // SAFETY: the default action runs no code of ours.
        let _ = unsafe { signal(number, SigHandler::SigDfl) };
    }
}

/// The job finds the lab's programs first, and whoever meets it outside knows what it is.
fn set_environment() {
    let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".into());
    let bin = Path::new(HOME).join("bin");
    // SAFETY: this process has one thread, so nobody reads the environment meanwhile.
    unsafe {
        std::env::set_var("PATH", format!("{}:{path}:/usr/sbin:/sbin", bin.display()));
        std::env::remove_var(SPEC);
        // A panic of a learner's code is told by its line; a trace costs a tenth of a second each.
        std::env::set_var("RUST_BACKTRACE", "0");
        std::env::set_var("HOME", WORK);
        // Where an engine keeps what it must remember: the lab's own, and gone with it.
        std::env::set_var("GANTRY_STATE", "/tmp/gantry");
        std::env::set_var("PS1", "# ");
    }
}

/// Reaps every child and orphan until the job is among them.
fn reap_until(job: Pid) -> Result<u8> {
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, code)) if pid == job => return Ok(code as u8),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == job => return Ok(128 + signal as u8),
            // EINVAL: reaped, but killed by a real-time signal, for which `nix` has no name.
            Ok(_) | Err(Errno::EINTR | Errno::EINVAL) => {}
            Err(errno) => return Err(errno).context("wait in the lab's first process"),
        }
    }
}

/// `lo` is down in a new network namespace.
fn raise_loopback() -> Result<()> {
    use std::os::fd::AsRawFd;
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").context("open a socket")?;
    // SAFETY: ifreq is plain data, for which zeroes are a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[..2].copy_from_slice(&[b'l' as libc::c_char, b'o' as libc::c_char]);
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request outlives the call and names an interface that exists.
    Errno::result(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &request) })
        .map(drop)
        .context("SIOCSIFFLAGS")
}
