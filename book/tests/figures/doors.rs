//! The doors of the capability figure, one system call each.
//!
//! A door is open if the call is done, or if it fails for a reason that the kernel finds only behind the check: so
//! nothing is rebooted, and no module is loaded.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns};
use nix::sys::ptrace;
use nix::sys::signal::kill;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{Gid, Uid, chroot, setgroups, sethostname, setuid};

use crate::capabilities::{SOMEBODY, Street};

/// Tries a door: done, or the errno.
pub type Try = fn(&Street) -> nix::Result<()>;

/// All of the figure's doors.
pub const TRIES: [(&str, Try); 26] = [
    ("chown", |street| plain(chown(street.folder.join("own"), Some(SOMEBODY), None))),
    ("write", |street| plain(OpenOptions::new().write(true).open(street.folder.join("closed")).map(drop))),
    ("read", |street| plain(File::open(street.folder.join("closed")).map(drop))),
    ("chmod", |street| {
        plain(fs::set_permissions(street.folder.join("closed"), fs::Permissions::from_mode(0o700)))
    }),
    ("setid", write_to_setid),
    ("setuid", |_| setuid(Uid::from_raw(SOMEBODY))),
    ("setgroups", |_| setgroups(&[Gid::from_raw(SOMEBODY)])),
    ("bounding", |_| drop_from_bounding_set()),
    ("setfcap", |street| set_file_capability(&street.folder.join("own"))),
    ("kill", |street| kill(street.victim, None)),
    ("mknod", |street| mknod(&street.folder.join("node"), SFlag::S_IFCHR, Mode::S_IRUSR, makedev(1, 3))),
    ("chroot", |street| chroot(&street.folder)),
    ("bind", |_| plain(TcpListener::bind((Ipv4Addr::LOCALHOST, 80)).map(drop))),
    ("raw", |_| socket(AddressFamily::Inet, SockType::Raw, SockFlag::empty(), SockProtocol::Icmp).map(drop)),
    ("audit", |_| audit()),
    ("handle", |street| open_by_handle(&street.folder)),
    ("mount", |street| mount(Some("tmpfs"), &street.folder, Some("tmpfs"), MsFlags::empty(), None::<&str>)),
    ("setns", |_| setns(plain(File::open("/proc/self/ns/uts"))?, CloneFlags::CLONE_NEWUTS)),
    ("hostname", |_| sethostname("harbour")),
    ("bpf", |_| bpf_map()),
    ("network", |_| raise_loopback()),
    ("ptrace", |street| ptrace::seize(street.victim, ptrace::Options::empty())),
    ("syslog", |_| clear_log()),
    ("module", |_| load_module()),
    ("time", |_| set_clock()),
    ("reboot", |_| reboot()),
];

/// The errno of what the standard library did.
fn plain<T>(done: std::io::Result<T>) -> nix::Result<T> {
    done.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))
}

/// Whoever writes to a file takes its set-id bits away.
fn write_to_setid(street: &Street) -> nix::Result<()> {
    let file = street.folder.join("setid");
    plain(OpenOptions::new().write(true).open(&file).and_then(|mut file| file.write_all(b"x")))?;
    let mode = plain(fs::metadata(file))?.mode();
    if mode & 0o6000 == 0o6000 { Ok(()) } else { Err(Errno::EPERM) }
}

fn drop_from_bounding_set() -> nix::Result<()> {
    // SAFETY: plain numbers. 21 is CAP_SYS_ADMIN.
    Errno::result(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, 21, 0, 0, 0) }).map(drop)
}

/// An empty set of file capabilities, in the layout of `struct vfs_cap_data`, revision 2.
fn set_file_capability(file: &Path) -> nix::Result<()> {
    let mut value = [0u8; 20];
    value[..4].copy_from_slice(&0x0200_0000u32.to_le_bytes());
    let path = std::ffi::CString::new(file.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    let name = c"security.capability";
    // SAFETY: both strings end with a zero byte, and the value has the length that we name.
    let done = unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    Errno::result(done).map(drop)
}

/// A message of type AUDIT_USER (1005), and what the kernel acknowledges; netlink(7).
fn audit() -> nix::Result<()> {
    let link: OwnedFd =
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::empty(), SockProtocol::NetlinkAudit)?;
    let text = b"harbour\0";
    let (request, ack) = (1u16, 4u16);
    let mut message = Vec::new();
    message.extend((16 + text.len() as u32).to_ne_bytes());
    message.extend(1005u16.to_ne_bytes());
    message.extend((request | ack).to_ne_bytes());
    message.extend([0; 8]);
    message.extend(text);
    sendto(link.as_raw_fd(), &message, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut answer = [0u8; 256];
    recv(link.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    // Behind the header of 16 bytes: zero, or a negative errno.
    let error = i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]);
    if error == 0 { Ok(()) } else { Err(Errno::from_raw(-error)) }
}

/// The handle of a file, and the file by its handle; open_by_handle_at(2).
fn open_by_handle(folder: &Path) -> nix::Result<()> {
    let top = plain(File::open(folder))?;
    // struct file_handle: the number of bytes that follow, a type, the bytes.
    let (mut handle, mut mount_id) = ([0u32; 34], 0i32);
    handle[0] = 128;
    // SAFETY: the name ends with a zero byte; the handle has room for as many bytes as it says, and the id for one number.
    let done = unsafe {
        let name = c"own".as_ptr();
        libc::syscall(
            libc::SYS_name_to_handle_at,
            top.as_raw_fd(),
            name,
            handle.as_mut_ptr(),
            &raw mut mount_id,
            0,
        )
    };
    Errno::result(done)?;
    // SAFETY: the kernel filled the handle, and only reads it. The descriptor ends with this process.
    let done = unsafe {
        libc::syscall(libc::SYS_open_by_handle_at, top.as_raw_fd(), handle.as_ptr(), libc::O_RDONLY)
    };
    Errno::result(done).map(drop)
}

/// BPF_MAP_CREATE (0): an array of one value; bpf(2).
fn bpf_map() -> nix::Result<()> {
    let (array, key, value, entries) = (2u32, 4u32, 8u32, 1u32);
    let mut attributes = [0u32; 12];
    attributes[..4].copy_from_slice(&[array, key, value, entries]);
    let size = size_of_val(&attributes);
    // SAFETY: the attributes have the size that we name, and are only read. The descriptor ends with this process.
    Errno::result(unsafe { libc::syscall(libc::SYS_bpf, 0, attributes.as_ptr(), size) }).map(drop)
}

/// SIOCSIFFLAGS; netdevice(7).
fn raise_loopback() -> nix::Result<()> {
    let link = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::empty(), None)?;
    // SAFETY: a structure of plain numbers, for which zeros are fine.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[..2].copy_from_slice(&[b'l' as libc::c_char, b'o' as libc::c_char]);
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: the request outlives the call and is of the type that this number wants.
    Errno::result(unsafe { libc::ioctl(link.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) }).map(drop)
}

/// SYSLOG_ACTION_CLEAR (5); syslog(2).
fn clear_log() -> nix::Result<()> {
    // SAFETY: this action takes no buffer.
    Errno::result(unsafe { libc::klogctl(5, std::ptr::null_mut(), 0) }).map(drop)
}

/// A module of no bytes: behind the check, it has no format.
fn load_module() -> nix::Result<()> {
    // SAFETY: of zero bytes, none is read; the parameters end with a zero byte.
    match Errno::result(unsafe { libc::syscall(libc::SYS_init_module, c"".as_ptr(), 0, c"".as_ptr()) }) {
        Err(Errno::ENOEXEC) | Ok(_) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// To what it is already.
fn set_clock() -> nix::Result<()> {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes the time into it, and then reads it.
    let done = unsafe {
        libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut now);
        libc::clock_settime(libc::CLOCK_REALTIME, &raw const now)
    };
    Errno::result(done).map(drop)
}

/// Without the magic numbers, which are looked at behind the check.
fn reboot() -> nix::Result<()> {
    // SAFETY: plain numbers, which the kernel refuses.
    match Errno::result(unsafe { libc::syscall(libc::SYS_reboot, 0, 0, 0, 0) }) {
        Err(Errno::EINVAL) | Ok(_) => Ok(()),
        Err(errno) => Err(errno),
    }
}
