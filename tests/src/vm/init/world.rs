//! The world inside the machine: its root and everything mounted in it.
//!
//! ```text
//! hostfs /        the host's tree, read-only, as the starter's user sees it
//!    └ lower ┐
//! tmpfs      ├─▶ overlay /  ─▶ /proc /sys /dev /run /tmp …, and the shared folders as hostfs of their own
//!    └ upper ┘
//! ```
//!
//! The root is changed first; every later path is looked up inside the new one, so a symlink of the host cannot
//! lead a mount elsewhere.
//!
//! Left out: a network. `lo` is up, and there is nothing else to reach.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{chdir, pivot_root, sethostname};

use crate::vm::order::Order;

/// One file system of the world.
struct Fs {
    kind: &'static str,
    at: &'static str,
    flags: MsFlags,
    options: &'static str,
    /// A kernel without it still makes a lab.
    optional: bool,
}

const SAFE: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);
const INERT: MsFlags = SAFE.union(MsFlags::MS_NOEXEC);

const fn fs(kind: &'static str, at: &'static str, flags: MsFlags, options: &'static str) -> Fs {
    Fs { kind, at, flags, options, optional: false }
}

const fn optional(kind: &'static str, at: &'static str, options: &'static str) -> Fs {
    Fs { kind, at, flags: INERT, options, optional: true }
}

/// In this order: each lies on top of, or inside, one before it.
const WORLD: &[Fs] = &[
    fs("proc", "/proc", INERT, ""),
    fs("sysfs", "/sys", INERT, ""),
    fs("devtmpfs", "/dev", MsFlags::MS_NOSUID, "mode=755"),
    fs("devpts", "/dev/pts", MsFlags::MS_NOSUID.union(MsFlags::MS_NOEXEC), "gid=5,mode=620,ptmxmode=666"),
    fs("tmpfs", "/dev/shm", SAFE, "mode=1777"),
    fs("tmpfs", "/run", SAFE, "mode=755"),
    fs("tmpfs", "/tmp", MsFlags::empty(), "mode=1777"),
    fs("tmpfs", "/var/tmp", MsFlags::empty(), "mode=1777"),
    optional("cgroup2", "/sys/fs/cgroup", "nsdelegate,memory_recursiveprot"),
    optional("securityfs", "/sys/kernel/security", ""),
    optional("bpf", "/sys/fs/bpf", ""),
    optional("mqueue", "/dev/mqueue", ""),
];

/// The kernel's devices in `/dev`, before anything else: the consoles are among them.
///
/// # Errors
/// When they cannot be mounted.
pub fn devices() -> Result<()> {
    match attach("devtmpfs", "/dev", MsFlags::MS_NOSUID, "mode=755") {
        // CONFIG_DEVTMPFS_MOUNT: the kernel has done it.
        Err(error) if error.downcast_ref() == Some(&Errno::EBUSY) => Ok(()),
        result => result,
    }
}

/// Builds the whole world and moves into it.
///
/// # Errors
/// Names the mount or the step that failed.
pub fn build(order: &Order) -> Result<()> {
    new_root()?;
    for entry in WORLD {
        furnish(entry)?;
    }
    nodes()?;
    old_hierarchy()?;
    for folder in &order.shares {
        share(folder)?;
    }
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_SHARED | MsFlags::MS_REC, None::<&str>)
        .context("make all mounts shared, as systemd does on a host")?;
    sethostname("lab").context("set the hostname")?;
    loopback_up().context("set lo up")
}

/// Puts a copy-on-write root over the host's tree and makes it `/`.
fn new_root() -> Result<()> {
    attach("tmpfs", "/tmp", MsFlags::empty(), "mode=755,size=90%")?;
    for name in ["upper", "work", "root"] {
        fs::create_dir(Path::new("/tmp").join(name)).with_context(|| format!("make /tmp/{name}"))?;
    }
    fs::set_permissions("/tmp/upper", fs::Permissions::from_mode(0o755)).context("chmod /tmp/upper")?;
    attach("overlay", "/tmp/root", MsFlags::empty(), "lowerdir=/,upperdir=/tmp/upper,workdir=/tmp/work")?;
    chdir("/tmp/root").context("enter the new root")?;
    pivot_root(".", ".").context("pivot_root into the overlay")?;
    // The old root now lies over the new one; the overlay keeps what it needs of it.
    umount2(".", MntFlags::MNT_DETACH).context("detach the old root")?;
    chdir("/").context("enter /")
}

fn furnish(entry: &Fs) -> Result<()> {
    let made = fs::create_dir_all(entry.at);
    if !entry.optional {
        made.with_context(|| format!("make {}", entry.at))?;
    }
    match attach(entry.kind, entry.at, entry.flags, entry.options) {
        Err(error) if entry.optional => match error.downcast_ref() {
            Some(Errno::ENODEV | Errno::ENOENT) => Ok(()),
            _ => Err(error),
        },
        result => result,
    }
}

/// Device nodes and links that a host has and a bare devtmpfs may lack.
fn nodes() -> Result<()> {
    fs::create_dir_all("/dev/net").context("make /dev/net")?;
    for (path, minor) in [("/dev/net/tun", 200), ("/dev/fuse", 229)] {
        let open_to_all = Mode::from_bits_truncate(0o666);
        match mknod(path, SFlag::S_IFCHR, open_to_all, makedev(10, minor)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno).with_context(|| format!("make {path}")),
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o666))
            .with_context(|| format!("chmod {path}"))?;
    }
    for (target, link) in [("/proc/self/fd", "fd"), ("fd/0", "stdin"), ("fd/1", "stdout"), ("fd/2", "stderr")]
    {
        match symlink(target, Path::new("/dev").join(link)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("link /dev/{link}"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A hierarchy of cgroup v1 called `old`, without controllers, as older machines have one of systemd's. Nobody sees it
/// who does not mount it, and it can only be made here: from the cgroup namespace of a lab the kernel makes none. The
/// escape lab attacks it. A group in it keeps it alive.
fn old_hierarchy() -> Result<()> {
    let place = "/tmp/old-hierarchy";
    fs::create_dir(place).with_context(|| format!("make {place}"))?;
    // A kernel may be made without version 1.
    if attach("cgroup", place, INERT, "none,name=old").is_ok() {
        fs::create_dir(Path::new(place).join("kept")).context("make a group of version 1")?;
        umount2(place, MntFlags::MNT_DETACH).with_context(|| format!("umount {place}"))?;
    }
    fs::remove_dir(place).with_context(|| format!("remove {place}"))
}

/// Mounts a folder of the host, itself, at the same path.
fn share(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    mount(Some("hostfs"), folder, Some("hostfs"), MsFlags::empty(), Some(folder))
        .with_context(|| format!("share {}", folder.display()))
}

fn attach(kind: &str, at: &str, flags: MsFlags, options: &str) -> Result<()> {
    mount(Some(kind), at, Some(kind), flags, Some(options)).with_context(|| format!("mount {kind} on {at}"))
}

mod raw {
    nix::ioctl_write_ptr_bad!(siocsifflags, libc::SIOCSIFFLAGS, libc::ifreq);
}

fn loopback_up() -> Result<()> {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: an ifreq is plain numbers; all zero is a valid one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(std::ffi::OsStr::new("lo").as_bytes()) {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as i16;
    // SAFETY: `request` is an ifreq with its name and flags set, what this call reads, and outlives it.
    unsafe { raw::siocsifflags(socket.as_raw_fd(), &request) }?;
    Ok(())
}
