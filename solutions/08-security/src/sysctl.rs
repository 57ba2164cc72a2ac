//! `--sysctl`: switches of the kernel that a container has for itself.
//!
//! Most files below `/proc/sys` are the whole machine's. A few are kept by a namespace, and of a namespace of its own a
//! container may set them: the names that Docker allows.
//!
//! Whoever writes there must be sure to write *there*. A file of the image, a volume or a race may stand where
//! `/proc/sys/net/core/somaxconn` is expected, and lead the write to `/proc/sysrq-trigger` (CVE-2025-52881). So we ask
//! the container's `/proc` for nothing: we mount one that nobody else can see, and walk in it with openat2(2),
//! which crosses no mount and follows no link.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;

use libc::{MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID};
use mount::detached::Detached;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use process::{Context, Error, Result};

/// A switch and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysctl {
    /// Its path below `/proc/sys`, `net/ipv4/ip_forward`.
    pub path: String,
    /// The text to write.
    pub value: String,
}

/// Which namespaces the container has for itself.
#[derive(Debug, Clone, Copy)]
pub struct Own {
    /// A network namespace.
    pub network: bool,
    /// An IPC namespace.
    pub ipc: bool,
}

/// Switches of an IPC namespace.
const OF_IPC: [&str; 8] = [
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
    "kernel/sem",
    "kernel/shmall",
    "kernel/shmmax",
    "kernel/shmmni",
    "kernel/shm_rmid_forced",
];

// ANCHOR: parse
impl Sysctl {
    /// A wish, `net.ipv4.ip_forward=1`. As in sysctl(8), the first separator counts: with `/` there may be dots in a
    /// name, `net/ipv4/conf/eth0.100/rp_filter=1`.
    ///
    /// # Errors
    /// It is no such wish, or the switch is not one that a container has for itself.
    pub fn parse(text: &str, own: Own) -> Result<Sysctl> {
        let refuse = |cause: String| Err(Error::refused("--sysctl", text, cause));
        let Some((name, value)) = text.split_once('=') else {
            return refuse("write it as NAME=VALUE".into());
        };
        if value.trim().is_empty() || value.contains(['\n', '\r', '\0']) {
            return refuse("its value is one line, and not empty".into());
        }
        let path = match name.find(['.', '/']) {
            Some(at) if name[at..].starts_with('/') => name.to_owned(),
            _ => name
                .chars()
                .map(|c| {
                    if c == '.' {
                        '/'
                    } else if c == '/' {
                        '.'
                    } else {
                        c
                    }
                })
                .collect(),
        };
        if path.split('/').any(|part| ["", ".", ".."].contains(&part)) || path.contains('\0') {
            return refuse("it is no name of a switch".into());
        }
        let (of_network, of_ipc) =
            (path.starts_with("net/"), OF_IPC.contains(&path.as_str()) || path.starts_with("fs/mqueue/"));
        match () {
            () if of_network && !own.network => refuse("the container shares the network of others".into()),
            () if of_ipc && !own.ipc => refuse("the container shares the IPC of others".into()),
            () if of_network || of_ipc => Ok(Sysctl { path, value: value.to_owned() }),
            () => refuse("this switch is the whole machine's, and not the container's".into()),
        }
    }
}
// ANCHOR_END: parse

// ANCHOR: write
/// Sets switches in the namespaces of this process.
///
/// # Errors
/// There is no such switch, or it does not take the value.
pub fn write(all: &[Sysctl]) -> Result<()> {
    let proc = Detached::fresh("proc", &[], MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)?;
    all.iter().try_for_each(|sysctl| write_one(&proc, sysctl))
}

/// Opens the switch in a `/proc` of ours, and nothing else in its place.
fn write_one(proc: &Detached, Sysctl { path, value }: &Sysctl) -> Result<()> {
    let straight = ResolveFlag::RESOLVE_BENEATH
        | ResolveFlag::RESOLVE_NO_XDEV
        | ResolveFlag::RESOLVE_NO_SYMLINKS
        | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let how = OpenHow::new().flags(OFlag::O_WRONLY | OFlag::O_CLOEXEC).resolve(straight);
    let file = openat2(proc.as_fd(), format!("sys/{path}").as_str(), how)
        .map_err(|errno| Error::new("open", format!("/proc/sys/{path}"), errno).because(why(errno)))?;
    File::from(file).write_all(value.as_bytes()).during("write", format!("{value} into /proc/sys/{path}"))
}
// ANCHOR_END: write

fn why(errno: Errno) -> &'static str {
    match errno {
        Errno::ENOENT => "this kernel has no such switch, or only in the host's own namespaces",
        Errno::EACCES | Errno::EPERM => "it is for the host alone to set, or not for this user namespace",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Own = Own { network: true, ipc: true };

    #[test]
    fn names_are_read_as_sysctl_reads_them() {
        for (text, path, value) in [
            ("net.ipv4.ip_forward=1", "net/ipv4/ip_forward", "1"),
            ("net/ipv4/conf/eth0.100/rp_filter=1", "net/ipv4/conf/eth0.100/rp_filter", "1"),
            ("net.ipv4.conf.eth0/100.rp_filter=1", "net/ipv4/conf/eth0.100/rp_filter", "1"),
            ("kernel.sem=250 32000 32 128", "kernel/sem", "250 32000 32 128"),
            ("fs.mqueue.msg_max=12", "fs/mqueue/msg_max", "12"),
        ] {
            let expected = Sysctl { path: path.into(), value: value.into() };
            assert_eq!(Sysctl::parse(text, OWN).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_the_containers_is_refused() {
        let shared = Own { network: false, ipc: false };
        for (text, own, words) in [
            ("net.ipv4.ip_forward", OWN, "NAME=VALUE"),
            ("kernel.core_pattern=|/evil", OWN, "whole machine"),
            ("vm.overcommit_memory=1", OWN, "whole machine"),
            ("kernel.hostname=x", OWN, "whole machine"),
            ("netx=1", OWN, "whole machine"),
            ("net=1", OWN, "whole machine"),
            ("kernel.shm_rmid_forced=", OWN, "not empty"),
            ("net.core.somaxconn= ", OWN, "not empty"),
            ("net.core.somaxconn=1\n2", OWN, "one line"),
            ("net/../kernel/core_pattern=x", OWN, "no name"),
            ("net..ipv4=x", OWN, "no name"),
            ("/net/ipv4/ip_forward=1", OWN, "no name"),
            ("=1", OWN, "no name"),
            ("net.ipv4.ip_forward=1", shared, "network of others"),
            ("kernel.shmmax=1", shared, "IPC of others"),
        ] {
            let error = Sysctl::parse(text, own).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
