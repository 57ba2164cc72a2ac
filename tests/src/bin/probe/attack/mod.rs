//! The attacks of the escape lab, as a program in the container or beside it would make them.
//!
//! Each says on success what the attacker got, and on failure which step the kernel refused. Nothing here knows
//! whether a defence is on: the tests in `tests/escapes/` run each one twice.

mod capability;
mod descriptor;
mod disk;
mod executable;
mod groups;
mod joining;
mod keyring;
mod pattern;
mod race;
mod redirect;
mod release;
mod setuid;
mod socket;
mod terminal;

use super::Probe;

const ATTACKS: [Probe; 20] = [
    (
        "own-executable",
        "hold the runner's own file open, and write into it when nobody runs it",
        executable::wait,
    ),
    (
        "leaked-descriptor",
        "FILE: look for FILE through every open folder and the working directory",
        descriptor::look,
    ),
    ("mount-race", "ONE OTHER: exchange two names, as fast as it goes, for ever", race::swap),
    ("redirected-write", "FILE TEXT: write TEXT into FILE", redirect::write),
    ("core-pattern", "let the kernel run a program of ours when a process crashes", pattern::crash),
    ("may-write", "FILE: open FILE for writing, and write nothing", redirect::may_write),
    ("raw-disk", "MAJOR MINOR: make a node for a disk and read its first words", disk::read),
    ("release-agent", "let the kernel run a program of ours when a control group is empty", release::agent),
    (
        "may-mount",
        "get a control group hierarchy of one's own, by a user namespace if need be",
        release::may_mount,
    ),
    ("joining-process", "FILE [SECONDS]: look for FILE through every process that comes near", joining::look),
    ("terminal-input", "TEXT: type TEXT on the terminal, as if a person had", terminal::type_in),
    (
        "terminal-host",
        "COMMAND..: run it on a terminal of its own, and say what was typed when it ended",
        terminal::host,
    ),
    ("abstract-socket", "NAME: ask the daemon at an abstract socket for what only it may read", socket::ask),
    (
        "abstract-host",
        "NAME FILE: be that daemon: answer every root with FILE, until nobody asks",
        socket::serve,
    ),
    (
        "inheritable",
        "FILE: read a file that is closed to us, by a capability from another file",
        capability::read,
    ),
    ("inheritable-mark", "PROGRAM: give a program's file an inheritable capability", capability::mark),
    ("setuid-volume", "FILE: leave a set-user-id copy of ourselves at FILE", setuid::plant),
    ("keyring", "read the key `harbour` from the session's keyring", keyring::read),
    ("keyring-host", "COMMAND..: become it, with a key in the session's keyring", keyring::host),
    ("setgroups", "FILE: leave all groups, and read a file that is closed to one of them", groups::leave),
];

/// Some attacks reach the whole machine. They are made in a kernel of one's own, or not at all.
fn only_in_kernel_lab() -> Result<(), String> {
    let processors = crate::told("read /proc/cpuinfo", std::fs::read_to_string("/proc/cpuinfo"))?;
    match processors.contains("User Mode Linux") {
        true => Ok(()),
        false => Err("not here: this would reach the whole machine; cargo workshop lab --kernel".into()),
    }
}

/// `NAME ..`: makes one attack.
pub fn attack(words: &[String]) -> Result<String, String> {
    let known = || ATTACKS.map(|(name, what, _)| format!("  {name:18} {what}")).join("\n");
    let name = words.first().ok_or_else(|| format!("which attack?\n{}", known()))?;
    let found = ATTACKS.iter().find(|(known, ..)| known == name);
    let (_, _, attack) = found.ok_or_else(|| format!("there is no attack {name}\n{}", known()))?;
    attack(&words[1..])
}
