//! What a lab's file tree looks like: the host's for reading, a few fresh folders for writing.

use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;

use super::{HOME, PROBE, Spec, WORK};
use crate::rootfs;

const NONE: Option<&str> = None;

/// Folders that get a fresh file system, `/run` first: our own things go there. They live in the machine's
/// memory: who fills one must not fill that.
const FRESH: [(&str, &str); 4] = [
    ("/run", "mode=755,size=512m,nr_inodes=100k"),
    ("/tmp", "mode=1777,size=256m,nr_inodes=100k"),
    ("/var/tmp", "mode=1777,size=64m,nr_inodes=100k"),
    ("/dev/shm", "mode=1777,size=64m,nr_inodes=100k"),
];

/// Below these the kernel's own file systems lie: left as they are.
const KERNELS_OWN: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Cuts the tie to the host, makes its files read-only, and lays out the lab's own.
///
/// # Errors
/// A mount failed; with the path.
pub fn lay_out(spec: &Spec) -> Result<()> {
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).context("make / private")?;
    make_host_read_only()?;
    fresh(FRESH[0].0, FRESH[0].1)?;
    fs::create_dir_all(WORK).with_context(|| format!("create {WORK}"))?;
    let bin = Path::new(HOME).join("bin");
    fs::create_dir(&bin).context("create the lab's bin")?;
    for (name, program) in &spec.programs {
        bind(program, &bin.join(name))?;
    }
    if let Some(demo) = &spec.demo {
        let copy = Path::new(WORK).join("demo");
        rootfs::copy(demo, &copy)?;
        // A volume brings the programs in: a container in a container runs them.
        spec.programs.iter().try_for_each(|(_, program)| rootfs::add_libraries(&copy, program))?;
        if let Some((name, probe)) = spec.programs.iter().find(|(name, _)| name == PROBE) {
            rootfs::add_program(&copy, probe, &format!("/usr/bin/{name}"))?;
        }
    }
    symlink("/proc/self/mounts", "/run/mtab").ok();
    // Last: what we bind may lie in one of these on the host.
    FRESH[1..]
        .iter()
        .filter(|(folder, _)| Path::new(folder).is_dir())
        .try_for_each(|(folder, mode)| fresh(folder, mode))
}

/// Makes `/` shared, as systemd does on most machines: a container that forgets to cut the tie shows here.
///
/// # Errors
/// The mount call failed.
pub fn share() -> Result<()> {
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_SHARED, NONE).context("make / shared")
}

/// The lab's own `/proc`, for its own PID namespace.
///
/// # Errors
/// EPERM: a part of the outer one is hidden, as in most containers.
pub fn mount_proc() -> Result<()> {
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), quiet, NONE).context(
        "mount /proc: parts of the outer one may be hidden, as inside Docker; `--ground kernel` works there",
    )
}

fn fresh(folder: &str, mode: &str) -> Result<()> {
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), folder, Some("tmpfs"), quiet, Some(mode))
        .with_context(|| format!("mount a tmpfs on {folder}"))
}

fn bind(program: &Path, place: &Path) -> Result<()> {
    fs::write(place, "").with_context(|| format!("create {}", place.display()))?;
    mount(Some(program), place, NONE, MsFlags::MS_BIND, NONE)
        .with_context(|| format!("bind {} to {}", program.display(), place.display()))
}

/// Every mount outside the kernel's own trees becomes read-only in this namespace.
fn make_host_read_only() -> Result<()> {
    let table = fs::read_to_string("/proc/self/mountinfo").context("read /proc/self/mountinfo")?;
    for place in table.lines().filter_map(|line| line.split(' ').nth(4)) {
        let place = crate::lab::audit::unescape(place);
        if !KERNELS_OWN.iter().any(|own| Path::new(&place).starts_with(own)) {
            make_read_only(Path::new(&place)).with_context(|| format!("make {place} read-only"))?;
        }
    }
    Ok(())
}

/// A mount that another one covers, or that we may not enter, is out of reach for the lab too.
fn make_read_only(place: &Path) -> Result<(), Errno> {
    match open(place, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()) {
        Ok(fd) => match set_read_only(&fd) {
            Err(Errno::EINVAL) => Ok(()),
            done => done,
        },
        Err(Errno::EACCES | Errno::ENOENT | Errno::ENOTDIR) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn set_read_only(mount: &impl AsFd) -> Result<(), Errno> {
    let change =
        libc::mount_attr { attr_set: libc::MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let (fd, size) = (mount.as_fd().as_raw_fd(), size_of::<libc::mount_attr>());
    // SAFETY: `change` outlives the call and has the size that we name.
    let done = unsafe {
        libc::syscall(libc::SYS_mount_setattr, fd, c"".as_ptr(), libc::AT_EMPTY_PATH, &raw const change, size)
    };
    Errno::result(done).map(drop)
}
