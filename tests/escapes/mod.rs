//! The escape lab: attacks that once led out of a container, each made twice.
//!
//! First with the defence off, where the attack must succeed, or the test would prove nothing; then with it on, where
//! it must fail, and for the reason that we say. A defence that is a flag of the engine is switched off by that flag.
//! One that is in the engine's code is played by `probe careless`, a little runner that makes one mistake.
//!
//! What an attack would do to the whole machine (its core pattern, its disks, its release agent) is done with the
//! defence off in a kernel of its own only. Elsewhere only the second half runs, with a witness that does no harm
//! even if the defence is missing: a file is opened for writing and not written.
//!
//! Left out: bugs of the kernel itself, and whatever the reader gives a container by hand, such as the engine's socket.

mod abstract_socket;
mod core_pattern;
mod false_null;
mod inheritable;
mod joining_process;
mod keyring;
mod leaked_descriptor;
mod mount_race;
mod own_executable;
mod raw_disk;
mod redirected_write;
mod release_agent;
mod setgroups;
mod setuid_volume;
mod terminal_input;

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use super::Test;
use super::case::{Case, Run, Running};
use super::verdict::{Trouble, Verdict};

/// The chapter whose binary is attacked: the first in which all defences stand.
pub const CHAPTER: u8 = 8;

/// One attack.
pub struct Escape {
    /// Its test, under the attack's name.
    pub test: Test,
    /// What it is known by, `CVE-2019-5736`.
    pub known_as: &'static str,
    /// What the attacker gets.
    pub gain: &'static str,
    /// Whether it means anything where root is one unprivileged user, with one user id.
    pub as_user: bool,
}

/// One row of the table: `name, known as, as_user, gain`.
macro_rules! escapes {
    ($(($name:ident, $known_as:literal, $as_user:literal, $gain:literal)),* $(,)?) => {
        /// All attacks, in the order of the book's pages.
        pub const ESCAPES: &[Escape] = &[$(Escape {
            test: Test { name: stringify!($name), run: $name::$name },
            known_as: $known_as,
            gain: $gain,
            as_user: $as_user,
        }),*];
    };
}

escapes![
    (
        own_executable,
        "CVE-2019-5736",
        true,
        "the engine's own file: the next to start it runs the attacker's program"
    ),
    (leaked_descriptor, "CVE-2024-21626", true, "the host's files, through a folder that was left open"),
    (mount_race, "CVE-2021-30465", true, "a mount or a folder of the attacker's choice on the host"),
    (
        false_null,
        "CVE-2025-31133, CVE-2025-52565",
        true,
        "a switch of the kernel that was read-only, to write"
    ),
    (redirected_write, "CVE-2025-52881", true, "what the engine writes, in a file of the attacker's choice"),
    (core_pattern, "CVE-2022-0811", true, "a program of its own, run by the kernel as the host's root"),
    (raw_disk, "mknod", false, "the host's disk, past all owners and modes"),
    (release_agent, "CVE-2022-0492", true, "a program of its own, run by the kernel as the host's root"),
    (joining_process, "CVE-2016-9962", true, "the descriptors and the memory of the engine's own process"),
    (terminal_input, "TIOCSTI, CVE-2017-5226", true, "the shell from which the container was started"),
    (abstract_socket, "CVE-2020-15257", true, "a daemon of the host's that obeys every root"),
    (inheritable, "CVE-2022-24769", false, "a capability, for a user who should have none"),
    (setuid_volume, "CVE-2021-41091", false, "the host's root, for a user of the host"),
    (keyring, "the session keyring", true, "the keys of the session that started the container"),
    (setgroups, "CVE-2014-8989, CVE-2018-7169", false, "a file that is closed to the attacker's group"),
];

/// Where the secrets of the host lie in a lab; no container may see them.
const SECRET: &str = "/tmp/secret";

/// What stands in there.
const WORDS: &str = "only the host knows this";

/// Makes the secret.
fn secret() -> Verdict {
    Ok(fs::write(SECRET, WORDS)?)
}

/// Defence off: the attack must have succeeded.
fn off(run: &Run, got: bool, what: &str) -> Verdict {
    super::note(format!("defence off  {}\n             the attacker got {what}", run.line));
    run.claim(got, format!("with the defence off, the attacker gets {what}")).map(drop)
}

/// Defence on: the attack must have failed, and `refusal` is how.
fn on(run: &Run, got: bool, refusal: &str) -> Verdict {
    let both = format!("{}\n{}", run.err, run.out);
    let line = both.lines().find(|line| line.contains(refusal)).unwrap_or_default();
    super::note(format!("defence on   {}\n             {}", run.line, line.trim()));
    run.claim(!got && !line.is_empty(), format!("with the defence on, the attack fails: {refusal}")).map(drop)
}

/// Whether this machine is ours alone: only there may the whole of it be harmed.
fn own_kernel() -> bool {
    let vendor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    vendor.contains("User Mode Linux") && Path::new("/proc/exitcode").exists()
}

/// Says that the first half was left out.
fn off_only_in_own_kernel() {
    super::note("defence off  not here: it would reach the whole machine; try --ground kernel".into());
}

/// `probe`, as the program of a case: the careless runner, and what plays the host.
fn probe(case: &Case) -> Case {
    Case { binary: crate::lab::PROBE.into(), ground: case.ground }
}

/// A case whose program is a copy at `place`: the lab's own programs cannot be written.
fn copied(case: &Case, place: &str) -> Result<Case, Trouble> {
    fs::copy(case.program(), place)?;
    Ok(Case { binary: place.into(), ground: case.ground })
}

/// A user of the host's, without rights.
const SOMEBODY: u32 = 1000;

/// Starts the program of a case as that user, who is in these groups, too.
fn as_somebody(case: &Case, groups: &[u32], words: &[&str]) -> Result<Running, Trouble> {
    let state = "/tmp/state-of-somebody";
    fs::create_dir_all(state)?;
    chown(state, Some(SOMEBODY), Some(SOMEBODY))?;
    let (uid, gid) = (Uid::from_raw(SOMEBODY), Gid::from_raw(SOMEBODY));
    let groups: Vec<Gid> =
        std::iter::once(SOMEBODY).chain(groups.iter().copied()).map(Gid::from_raw).collect();
    case.start_with(words, |command| {
        command.env("GANTRY_STATE", state);
        // SAFETY: setgroups, setresgid and setresuid are async-signal-safe.
        unsafe {
            command.pre_exec(move || {
                setgroups(&groups)?;
                setresgid(gid, gid, gid)?;
                setresuid(uid, uid, uid).map_err(Into::into)
            });
        }
    })
}

/// A file system on which set-user-id bits, file capabilities and devices count, as on most disks.
struct Disk(PathBuf);

impl Disk {
    fn new(place: &str) -> Result<Disk, Trouble> {
        fs::create_dir_all(place)?;
        mount(Some("tmpfs"), place, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))?;
        Ok(Disk(place.into()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // If it stays, the lab's audit finds it.
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}
