//! Stage 5: what a runner leaves that is killed, and who removes it.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::network::{leases, links, network, on, serving, stop};
use crate::stage::case::{Case, eventually};
use crate::stage::internet::by_host;
use crate::stage::verdict::{Trouble, Verdict, fail, same};

/// How many points of a run are tried.
const POINTS: usize = 10;

pub fn what_runners_left_makes_room(case: &Case) -> Verdict {
    case.run(&["network", "create", "quay", "--subnet", "10.77.9.0/30"])?.code_is(0)?;
    let killed = serving(case, "quay", &[], ["tcp", "80", "quay"])?;
    killed.signal(Signal::SIGKILL)?;
    killed.wait()?.code_is(137)?;
    same("the lease of a runner that was killed", vec!["10.77.9.2".to_owned()], leases("quay"))?;
    // Its address is the only one.
    let next = on(case, "quay", &[], "probe links")?;
    next.code_is(0)?.out_has("10.77.9.2/30")?;
    Ok(())
}

pub fn what_a_killed_runner_leaves_is_removed(case: &Case) -> Verdict {
    network(case, "harbour", 1, &[])?;
    on(case, "harbour", &[], "true")?.code_is(0)?;
    // Whom a left port disturbs removes it.
    let killed = serving(case, "harbour", &["-p", "8080:80"], ["tcp", "80", "pier"])?;
    killed.signal(Signal::SIGKILL)?;
    killed.wait()?.code_is(137)?;
    let server = serving(case, "harbour", &["-p", "8080:80"], ["tcp", "80", "quay"])?;
    let heard = by_host(&["ask", "tcp", "127.0.0.1", "8080"])?;
    stop(server)?;
    same("the port of a runner that was killed", Ok("quay sees 10.77.1.1".to_owned()), heard)?;
    let before = links()?;
    let total = steps_until(case, usize::MAX)?;
    if total < POINTS {
        return Err(fail("a run makes some system calls", total));
    }
    for point in 0..POINTS {
        steps_until(case, 1 + point * (total - 1) / POINTS)?;
        case.run(&["network", "clean"])?.code_is(0)?;
        same("links after `network clean`", before.clone(), links()?)?;
        same("leases after `network clean`", Vec::<String>::new(), leases("harbour"))?;
        // Its port is free, in the firewall too: the next one gets it.
        let server = serving(case, "harbour", &["-p", "8080:80"], ["tcp", "80", "quay"])?;
        let heard = by_host(&["ask", "tcp", "127.0.0.1", "8080"])?;
        stop(server)?;
        same("the next container's port", Ok("quay sees 10.77.1.1".to_owned()), heard)?;
    }
    Ok(())
}

/// Runs a container with a published port under ptrace(2), and kills its runner at its `last` step of those that
/// change something: messages to the kernel, and files. How many there were.
fn steps_until(case: &Case, last: usize) -> Result<usize, Trouble> {
    let mut command = Command::new(case.program());
    command.args(["run", "--rootfs", "demo", "--network", "harbour", "-p", "8080:80", "--", "true"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: one system call.
    unsafe { command.pre_exec(|| Ok(ptrace::traceme()?)) };
    let child = command.spawn()?;
    let pid = Pid::from_raw(child.id() as i32);
    let steps = follow(pid, last, changes_something);
    // Dead or ended, it is reaped by now; its container dies with it.
    drop(child);
    eventually("the container is gone when its runner is", || Ok(!has_containers(&case.binary)))?;
    steps
}

/// Whether a process of this binary is left, or one that it became.
pub(super) fn has_containers(binary: &str) -> bool {
    let comm = |pid: i32| {
        std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("comm")).unwrap_or_default()
    };
    let name: String = binary.chars().take(15).collect();
    crate::stage::case::processes().into_iter().any(|pid| comm(pid).trim() == name)
}

/// Stops at every system call of the first thread, and kills it at the `last` one of those that count.
pub(super) fn follow(pid: Pid, last: usize, counts: fn(i64) -> bool) -> Result<usize, Trouble> {
    waitpid(pid, None)?;
    ptrace::setoptions(pid, ptrace::Options::PTRACE_O_TRACESYSGOOD | ptrace::Options::PTRACE_O_EXITKILL)?;
    let (mut steps, mut entering, mut deliver) = (0, true, None);
    loop {
        ptrace::syscall(pid, deliver.take())?;
        match waitpid(pid, Some(WaitPidFlag::__WALL))? {
            WaitStatus::PtraceSyscall(_) => {
                if entering && counts(system_call(pid)?) {
                    steps += 1;
                    if steps == last {
                        nix::sys::signal::kill(pid, Signal::SIGKILL)?;
                        waitpid(pid, None)?;
                        return Ok(steps);
                    }
                }
                entering = !entering;
            }
            WaitStatus::Stopped(_, signal) => deliver = Some(signal),
            WaitStatus::Exited(..) | WaitStatus::Signaled(..) => return Ok(steps),
            _ => {}
        }
    }
}

/// The number of the system call at which the process stands.
fn system_call(pid: Pid) -> Result<i64, Trouble> {
    let info = ptrace::syscall_info(pid)?;
    // SAFETY: at the entrance to a system call this is the part that the kernel filled.
    Ok(unsafe { info.u.entry.nr } as i64)
}

/// Whether a system call sends something or changes files.
fn changes_something(number: i64) -> bool {
    let changing = [
        libc::SYS_sendto,
        libc::SYS_clone3,
        libc::SYS_linkat,
        libc::SYS_unlinkat,
        libc::SYS_renameat2,
        libc::SYS_bind,
        libc::SYS_write,
    ];
    #[cfg(target_arch = "x86_64")]
    let changing = [
        &changing[..],
        &[libc::SYS_link, libc::SYS_unlink, libc::SYS_rename, libc::SYS_mkdir, libc::SYS_rmdir],
    ]
    .concat();
    changing.contains(&number)
}
