//! The part of the tree that is the same for every kind: folders, the files of `/etc`, terminals.
//!
//! One folder for programs, `/usr/bin`, and links to it from the places where programs and scripts expect
//! them; `/lib` and `/lib64` likewise. Mount points (`/proc`, `/sys`, `/dev`, `/run`, `/mnt`) are there and
//! empty, so that nothing has to be created when the root is read-only.

use std::path::Path;

use super::plan::Plan;

/// Folders with mode 755.
const FOLDERS: [&str; 19] = [
    "/dev",
    "/etc",
    "/home/sailor",
    "/mnt",
    "/opt",
    "/proc",
    "/root",
    "/run",
    "/srv",
    "/sys",
    "/usr/bin",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/bin",
    "/usr/share",
    "/var/cache",
    "/var/lib",
    "/var/log",
    "/var/spool",
];

const LINKS: [(&str, &str); 6] = [
    ("/bin", "usr/bin"),
    ("/lib", "usr/lib"),
    ("/lib64", "usr/lib64"),
    ("/sbin", "usr/bin"),
    ("/usr/sbin", "bin"),
    ("/var/run", "../run"),
];

const TEXTS: [(&str, &str); 9] = [
    (
        "/etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\n\
         sailor:x:1000:1000:Sailor:/home/sailor:/bin/sh\n\
         nobody:x:65534:65534:nobody:/:/bin/false\n",
    ),
    ("/etc/group", "root:x:0:\ntty:x:5:\nsailor:x:1000:\nnobody:x:65534:\n"),
    ("/etc/hostname", "demo\n"),
    ("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
    ("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
    ("/etc/os-release", "NAME=\"Gantry demo\"\nID=gantry-demo\nPRETTY_NAME=\"Gantry demo\"\n"),
    ("/etc/profile", PROFILE),
    // For whoever lays a file of his own over it.
    ("/etc/resolv.conf", ""),
    ("/etc/shells", "/bin/sh\n"),
];

/// Read by a login shell. The prompt is written so that bash, dash and busybox all understand it.
const PROFILE: &str = "\
export PATH=/usr/local/bin:/usr/bin:/bin
export PS1=\"$(hostname 2>/dev/null || echo demo):\"'$PWD# '
";

/// Terminals whose description comes along, for programs that draw on the screen.
const TERMINALS: [&str; 9] = [
    "alacritty",
    "dumb",
    "linux",
    "screen",
    "screen-256color",
    "tmux-256color",
    "vt100",
    "xterm",
    "xterm-256color",
];

/// Plans the common tree.
pub fn common(plan: &mut Plan) {
    for folder in FOLDERS {
        plan.folder(folder, 0o755);
    }
    plan.folder("/tmp", 0o1777);
    plan.folder("/var/tmp", 0o1777);
    for (path, target) in LINKS {
        plan.link(path, target);
    }
    for (path, content) in TEXTS {
        plan.text(path, content);
    }
}

/// Plans the terminal descriptions that this machine has (busybox needs none).
pub fn terminals(plan: &mut Plan) {
    for name in TERMINALS {
        let below = format!("terminfo/{}/{name}", &name[..1]);
        let folders = ["/etc", "/lib", "/usr/lib", "/usr/share"];
        let found = folders.iter().map(|folder| Path::new(folder).join(&below)).find(|path| path.is_file());
        if let Some(source) = found.and_then(|path| path.canonicalize().ok()) {
            plan.file(Path::new("/usr/share").join(&below), source, 0o644);
        }
    }
}
