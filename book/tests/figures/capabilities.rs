//! The capability figure's table against the kernel: every door is tried with every capability alone, and with none.
//!
//! A try is a process of its own: uid 0, which owns nothing but its own files, with the capabilities of the try. Doors
//! whose opening the machine would feel, such as its clock, are tried in the kernel lab only.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, Uid, fork, pause, setuid};
use serde_json::{Map, Value, json};

use crate::doors::{TRIES, Try};
use crate::place::{Place, Skip, own_machine, own_user_namespace};
use crate::script::Script;

/// Who the others are.
pub const SOMEBODY: u32 = 1000;

/// Doors that act on the machine and not on a namespace of it.
const FELT: [&str; 4] = ["audit", "syslog", "time", "reboot"];

/// The capabilities of the figure by their numbers; capability(7), `linux/capability.h`.
const NUMBERS: [(&str, u32); 23] = [
    ("CHOWN", 0),
    ("DAC_OVERRIDE", 1),
    ("DAC_READ_SEARCH", 2),
    ("FOWNER", 3),
    ("FSETID", 4),
    ("KILL", 5),
    ("SETGID", 6),
    ("SETUID", 7),
    ("SETPCAP", 8),
    ("NET_BIND_SERVICE", 10),
    ("NET_ADMIN", 12),
    ("NET_RAW", 13),
    ("SYS_MODULE", 16),
    ("SYS_CHROOT", 18),
    ("SYS_PTRACE", 19),
    ("SYS_ADMIN", 21),
    ("SYS_BOOT", 22),
    ("SYS_TIME", 25),
    ("MKNOD", 27),
    ("AUDIT_WRITE", 29),
    ("SETFCAP", 31),
    ("SYSLOG", 34),
    ("BPF", 39),
];

/// Compares the whole table in one place.
///
/// # Errors
/// A door opens otherwise than the figure says, or is not tried at all.
pub fn check(place: Place) -> Result<()> {
    let mut script = Script::load("capabilities")?;
    let doors = script.value("DOORS")?;
    let names = script.value("CAPABILITIES")?;
    let seen = place.ask("capabilities", true, &json!({ "capabilities": names }))?;
    let (mut tried, mut wrong) = (0, Vec::new());
    for door in doors.as_array().context("no list of doors")? {
        let id = door["id"].as_str().context("a door has an id")?;
        let needs = door["needs"].as_array().context("a door has needs")?;
        for (name, was) in seen[id].as_object().with_context(|| format!("nobody tries the door {id}"))? {
            let says = if needs.iter().any(|need| need == name) { "open" } else { "closed" };
            if was == "unknown" {
                continue;
            }
            tried += 1;
            if was != says {
                wrong.push(format!("{id} with {name}: the figure says {says}, the kernel {was}"));
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    ensure!(tried > 400, "only {tried} tries told anything: {seen}");
    Ok(())
}

/// Tries every door with every capability alone, and with none (named "none").
///
/// # Errors
/// [`Skip`] in a user namespace, in which most doors stay closed; else a try that ended strangely.
pub fn try_doors(question: &Value) -> Result<Value> {
    if own_user_namespace() {
        bail!(Skip::Fine("root of a user namespace only; the kernel lab has a real one".to_owned()));
    }
    let mut names = vec!["none"];
    names.extend(
        question["capabilities"].as_array().context("no capabilities")?.iter().filter_map(Value::as_str),
    );
    let street = Street::build()?;
    let mut seen = Map::new();
    for (id, attempt) in TRIES {
        let mut with = Map::new();
        for name in &names {
            let told = if FELT.contains(&id) && !own_machine() {
                "unknown"
            } else {
                street.attempt(id, attempt, name)?
            };
            with.insert((*name).to_owned(), told.into());
        }
        seen.insert(id.to_owned(), with.into());
    }
    Ok(seen.into())
}

/// Where the doors are: files in a folder of its own, and a process of somebody else.
pub struct Street {
    /// A fresh tmpfs.
    pub folder: PathBuf,
    /// Sleeps, as [`SOMEBODY`].
    pub victim: Pid,
}

impl Street {
    fn build() -> Result<Street> {
        let folder = Path::new("/tmp/doors").to_owned();
        fs::create_dir(&folder).context("create a folder in /tmp")?;
        mount(Some("tmpfs"), &folder, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))
            .context("mount a tmpfs")?;
        // SAFETY: this process has one thread.
        match unsafe { fork() }.context("fork")? {
            ForkResult::Parent { child } => Ok(Street { folder, victim: child }),
            ForkResult::Child => {
                let _ = setuid(Uid::from_raw(SOMEBODY));
                loop {
                    pause();
                }
            }
        }
    }

    /// The files as each try finds them: our own, one that is closed to us, and one with both set-id bits.
    fn tidy(&self) -> Result<()> {
        for (name, owner, mode) in
            [("own", 0, 0o755), ("closed", SOMEBODY, 0), ("setid", SOMEBODY, 0o6777), ("node", 0, 0)]
        {
            let file = self.folder.join(name);
            if file.exists() {
                fs::remove_file(&file).with_context(|| format!("remove {name}"))?;
            }
            if name != "node" {
                fs::write(&file, "").with_context(|| format!("write {name}"))?;
                chown(&file, Some(owner), Some(owner)).with_context(|| format!("chown {name}"))?;
                fs::set_permissions(&file, fs::Permissions::from_mode(mode))
                    .with_context(|| format!("chmod {name}"))?;
            }
        }
        Ok(())
    }

    /// One try in a process of its own.
    fn attempt(&self, id: &str, attempt: Try, name: &str) -> Result<&'static str> {
        self.tidy()?;
        let number = NUMBERS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
        ensure!(number.is_some() || name == "none", "no number for the capability {name}");
        // SAFETY: this process has one thread.
        match unsafe { fork() }.context("fork")? {
            ForkResult::Child => std::process::exit(match keep_only(number).map(|()| attempt(self)) {
                Ok(Ok(())) => 0,
                Ok(Err(Errno::EPERM | Errno::EACCES)) => 1,
                // We lack it ourselves, or this kernel has no such door.
                Err(_) | Ok(Err(Errno::ENOSYS | Errno::EOPNOTSUPP | Errno::EPROTONOSUPPORT)) => 2,
                Ok(Err(errno)) => {
                    eprintln!("{id} with {name}: {errno}");
                    3
                }
            }),
            ForkResult::Parent { child } => match waitpid(child, None).context("wait")? {
                WaitStatus::Exited(_, code @ 0..=2) => Ok(["open", "closed", "unknown"][code as usize]),
                other => bail!("the door {id} with {name}: {other:?}"),
            },
        }
    }
}

impl Drop for Street {
    fn drop(&mut self) {
        // It is our own child, and not yet reaped: the number is still its own.
        let _ = kill(self.victim, Signal::SIGKILL).and_then(|()| waitpid(self.victim, None).map(drop));
    }
}

/// Leaves this process one capability, or none, permitted and in effect; capset(2), version 3 of its structures.
fn keep_only(number: Option<u32>) -> nix::Result<()> {
    let bits = number.map_or(0u64, |number| 1 << number);
    let header: [u32; 2] = [0x2008_0522, 0];
    let (low, high) = (bits as u32, (bits >> 32) as u32);
    // effective, permitted, inheritable: first of the low 32, then of the high ones
    let data: [u32; 6] = [low, low, 0, high, high, 0];
    // SAFETY: both arrays have the sizes of version 3, and the kernel only reads them.
    let done = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) };
    Errno::result(done).map(drop)
}
