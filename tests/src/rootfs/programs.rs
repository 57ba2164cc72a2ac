//! Which of this machine's programs go into a root file system.
//!
//! Either one static busybox and a link for each of its applets (it is asked for the list), or the programs
//! of [`NAMES`] as far as they are here, each under the name of its real file, with a link where the two
//! differ: many systems have one program under many names. A script comes along if its interpreter is a
//! shell or the core utilities themselves; one that wants a whole language does not.
//!
//! The usual folders are searched before PATH, so that two users of one checkout get the same tree.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail};

use super::elf::{Elf, Machine};
use super::libraries::Search;
use super::plan::{Item, Plan};

/// The programs of the host kind. A shell is needed; of the rest, what is here.
pub const NAMES: &str = "\
bash dash sh \
[ basename cat chgrp chmod chown chroot cp cut date dd df dirname du echo env expr false head hostname id \
install kill ln ls md5sum mkdir mkfifo mknod mktemp mv nice nproc od printenv printf pwd readlink realpath \
rm rmdir seq sha256sum sleep sort stat stty sync tac tail tee test timeout touch tr true truncate tty uname \
uniq wc who whoami yes \
awk cmp diff find grep gzip sed tar xargs \
free pgrep pidof pkill ps sysctl top uptime \
dmesg findmnt flock getent ipcmk ipcrm ipcs lsns mount mountpoint nsenter pivot_root prlimit setpriv setsid \
taskset umount unshare \
ip ping ss";

/// Searched in this order, then PATH.
const USUAL_FOLDERS: [&str; 6] =
    ["/usr/bin", "/bin", "/usr/sbin", "/sbin", "/usr/local/bin", "/run/current-system/sw/bin"];

/// Interpreters with which a script may come along.
const INTERPRETERS: [&str; 5] = ["sh", "bash", "dash", "busybox", "coreutils"];

/// What a root file system is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One static busybox.
    Busybox,
    /// The machine's own programs with their libraries.
    Host,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Busybox => "busybox",
            Kind::Host => "host",
        })
    }
}

impl FromStr for Kind {
    type Err = anyhow::Error;

    fn from_str(word: &str) -> Result<Kind> {
        match word {
            "busybox" => Ok(Kind::Busybox),
            "host" => Ok(Kind::Host),
            _ => bail!("GANTRY_ROOTFS={word}: there are the kinds `busybox` and `host`"),
        }
    }
}

/// The path of a program, if this machine has it.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = USUAL_FOLDERS.iter().map(PathBuf::from);
    usual
        .chain(std::env::split_paths(&path).filter(|folder| folder.is_absolute()))
        .find_map(|folder| in_folder(&folder, name))
}

/// The path of a program in the usual folders alone.
pub fn find_usual(name: &str) -> Option<PathBuf> {
    USUAL_FOLDERS.iter().find_map(|folder| in_folder(Path::new(folder), name))
}

/// A static busybox for this machine, if it has one; `finder` is [`find`] or [`find_usual`].
pub fn static_busybox(finder: fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let native = Machine::native().ok()?;
    let fits = |path: &PathBuf| {
        Machine::of(path).is_ok_and(|machine| machine == Some(native))
            && matches!(Elf::read(path), Ok(Some(elf)) if elf.is_static())
    };
    ["busybox", "busybox.static", "busybox-static"].into_iter().filter_map(finder).find(fits)
}

/// Plans the programs of a busybox system.
///
/// # Errors
/// There is no static busybox, or it does not run, or it has no shell.
pub fn busybox(plan: &mut Plan) -> Result<()> {
    let path = static_busybox(find).context(
        "no static busybox on this machine: install the package `busybox-static` (Fedora, Arch: `busybox`)",
    )?;
    let about = || format!("ask {} for its applets (`--list`)", path.display());
    let output = std::process::Command::new(&path).arg("--list").output().with_context(about)?;
    let applets = String::from_utf8_lossy(&output.stdout);
    if !applets.lines().any(|name| name == "sh") {
        bail!("{}: it lists no `sh`", about());
    }
    plan.file("/usr/bin/busybox", &path, 0o755);
    for name in applets.lines().map(str::trim).filter(|name| !name.is_empty() && !name.contains('/')) {
        if name != "busybox" {
            plan.link(format!("/usr/bin/{name}"), "busybox");
        }
    }
    Ok(())
}

/// Plans the programs of [`NAMES`] with their libraries; returns the names that this machine lacks.
///
/// # Errors
/// There is no shell, or a library is missing.
pub fn host(plan: &mut Plan) -> Result<Vec<String>> {
    let search = Search::of_this_machine();
    let mut missing = Vec::new();
    let mut done = BTreeSet::new();
    for name in NAMES.split_whitespace() {
        match find(name) {
            Some(path) => take(plan, &search, name, &path, &mut done)?,
            None => missing.push(name.to_owned()),
        }
    }
    shell(plan)?;
    nss(plan, &search)?;
    Ok(missing)
}

/// Plans one program; nothing, if it is of a sort that cannot come along.
fn take(
    plan: &mut Plan,
    search: &Search,
    name: &str,
    path: &Path,
    done: &mut BTreeSet<PathBuf>,
) -> Result<()> {
    let real = path.canonicalize().with_context(|| format!("find {}", path.display()))?;
    let Some(place) = place(plan, name, &real) else { return Ok(()) };
    if !done.insert(real.clone()) {
        plan.file(place, &real, 0o755);
        return Ok(());
    }
    match Elf::read(&real)? {
        Some(elf) => plan.libraries(search.closure(&real, &elf)?),
        None => {
            let Some(interpreter) = interpreter(&real) else { return Ok(()) };
            let Some(elf) = Elf::read(&interpreter)? else { return Ok(()) };
            plan.libraries(search.closure(&interpreter, &elf)?);
            plan.file(&interpreter, interpreter.canonicalize()?, 0o755);
        }
    }
    plan.file(place, &real, 0o755);
    Ok(())
}

/// Where the file itself goes; none if it is there already and a link is enough (which is then planned).
/// A file whose own name is taken by another goes under the name that was asked for.
fn place(plan: &mut Plan, name: &str, real: &Path) -> Option<PathBuf> {
    let wanted = Path::new("/usr/bin").join(name);
    let Some(own) = real.file_name().map(PathBuf::from).filter(|own| *own != *name) else {
        return Some(wanted);
    };
    let home = Path::new("/usr/bin").join(&own);
    match plan.get(&home) {
        None => {
            plan.link(wanted, own);
            Some(home)
        }
        Some(Item::File(source, _)) if source == real => {
            plan.link(wanted, own);
            None
        }
        Some(_) => Some(wanted),
    }
}

/// Makes `/bin/sh` bash, else whatever `sh` is.
fn shell(plan: &mut Plan) -> Result<()> {
    for name in ["bash", "dash"] {
        if plan.get(&Path::new("/usr/bin").join(name)).is_some() {
            plan.link("/usr/bin/sh", name);
            return Ok(());
        }
    }
    if plan.get(Path::new("/usr/bin/sh")).is_none() {
        bail!("this machine has no shell (bash, dash or sh) to make a root file system of");
    }
    Ok(())
}

/// glibc before 2.34 opens its module for `/etc/passwd` at run time, so no header names it.
fn nss(plan: &mut Plan, search: &Search) -> Result<()> {
    let libc = plan.sources().find(|source| source.file_name().is_some_and(|name| name == "libc.so.6"));
    let Some(module) = libc.and_then(Path::parent).map(|folder| folder.join("libnss_files.so.2")) else {
        return Ok(());
    };
    if let Ok(Some(elf)) = Elf::read(&module) {
        plan.libraries(search.closure(&module, &elf)?);
        plan.file(&module, &module, 0o755);
    }
    Ok(())
}

/// The interpreter that a script's first line names, if it is one that may come along.
fn interpreter(script: &Path) -> Option<PathBuf> {
    let text = std::fs::read(script).ok()?;
    let line = String::from_utf8_lossy(text.split(|byte| *byte == b'\n').next()?).into_owned();
    let path = PathBuf::from(line.strip_prefix("#!")?.split_whitespace().next()?);
    let name = path.file_name()?.to_str()?;
    INTERPRETERS.contains(&name).then_some(path)
}

fn in_folder(folder: &Path, name: &str) -> Option<PathBuf> {
    let path = folder.join(name);
    nix::unistd::access(&path, nix::unistd::AccessFlags::X_OK).ok()?;
    path.is_file().then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::testing::Scratch;

    #[test]
    fn a_program_under_many_names_is_taken_once() {
        let mut plan = Plan::default();
        assert_eq!(place(&mut plan, "ls", Path::new("/x/coreutils")), Some("/usr/bin/coreutils".into()));
        plan.file("/usr/bin/coreutils", "/x/coreutils", 0o755);
        assert_eq!(place(&mut plan, "cat", Path::new("/x/coreutils")), None);
        assert_eq!(plan.get(Path::new("/usr/bin/cat")), Some(&Item::Link("coreutils".into())));
        assert_eq!(place(&mut plan, "id", Path::new("/other/coreutils")), Some("/usr/bin/id".into()));
        assert_eq!(place(&mut plan, "sed", Path::new("/bin/sed")), Some("/usr/bin/sed".into()));
    }

    #[test]
    fn only_scripts_of_a_shell_come_along() {
        let scratch = Scratch::new("scripts");
        let script = scratch.path().join("script");
        let of = |line: &str| {
            std::fs::write(&script, line).unwrap();
            interpreter(&script)
        };
        assert_eq!(of("#!/bin/sh -e\n"), Some("/bin/sh".into()));
        let single = "#!/usr/bin/coreutils --coreutils-prog-shebang=ls\n";
        assert_eq!(of(single), Some("/usr/bin/coreutils".into()));
        assert_eq!(of("#!/usr/bin/perl\n"), None);
        assert_eq!(of("plain text"), None);
    }
}
