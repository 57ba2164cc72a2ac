//! What a tour has seen, as data, and what its namespaces are called.

use serde::{Deserialize, Serialize};

use super::view::{Folder, View};

/// A container, seen from all sides while it lived.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Seen {
    /// What was typed to start it.
    pub command: Vec<String>,
    /// From that command to the first answer of the container's shell, in microseconds.
    pub birth: u64,
    /// What the shell inside says.
    pub inside: View,
    /// What the host sees of that process.
    pub outside: View,
    /// What the host sees of itself.
    pub host: View,
    /// The path, on the host, of the folder that was to become the container's `/`.
    pub path: String,
    /// Which folder that is.
    pub folder: Folder,
}

/// A tour from beginning to end.
#[derive(Debug, Clone)]
pub struct Tour {
    /// What was seen.
    pub seen: Seen,
    /// The process's numbers as this machine's own `/proc` tells them, around the lab; if it may be asked.
    pub here: Option<Vec<i32>>,
    /// The container's exit code.
    pub code: i32,
    /// What the container left on the host, one line each.
    pub left: Vec<String>,
}

/// A kind of namespace.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// The name of its link in `/proc/PID/ns`.
    pub link: &'static str,
    /// What it gives a view of.
    pub of: &'static str,
    /// The chapter that isolates it, if one does.
    pub chapter: Option<u8>,
}

/// Every kind of namespace that Linux has, in the order of the course.
pub const NAMESPACES: [Kind; 8] = [
    Kind { link: "pid", of: "process numbers", chapter: Some(1) },
    Kind { link: "mnt", of: "mounts", chapter: Some(2) },
    Kind { link: "uts", of: "the host name", chapter: Some(3) },
    Kind { link: "ipc", of: "shared memory", chapter: Some(3) },
    Kind { link: "user", of: "users, rights", chapter: Some(4) },
    Kind { link: "net", of: "links, ports", chapter: Some(5) },
    Kind { link: "cgroup", of: "control groups", chapter: Some(6) },
    Kind { link: "time", of: "clocks", chapter: None },
];
