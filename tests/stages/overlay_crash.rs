//! Stage 7: what is left by who is killed while it unpacks or runs, at each step.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::ptrace;
use nix::unistd::Pid;

use super::network_crash::follow;
use super::overlay::{STATE, names_in, on};
use super::overlay_layers::import;
use super::overlay_tar::Tar;
use crate::stage::case::{Case, eventually};
use crate::stage::verdict::{Trouble, Verdict, holds, same};

/// How many points of an unpack, and of a run, are tried: fewer where a process takes six times as long to start.
fn points() -> usize {
    if Path::new("/proc/exitcode").exists() { 10 } else { 30 }
}

/// Whether a system call changes files. Some numbers are those of old calls, which only some machines have.
fn changes_files(number: i64) -> bool {
    let calls = [
        libc::SYS_openat,
        libc::SYS_openat2,
        libc::SYS_mkdirat,
        libc::SYS_mknodat,
        libc::SYS_symlinkat,
        libc::SYS_linkat,
        libc::SYS_unlinkat,
        libc::SYS_renameat2,
        libc::SYS_renameat,
        libc::SYS_write,
        libc::SYS_pwrite64,
        libc::SYS_ftruncate,
        libc::SYS_fchownat,
        libc::SYS_fchmodat,
        libc::SYS_utimensat,
        libc::SYS_setxattr,
        libc::SYS_syncfs,
        libc::SYS_fsync,
        libc::SYS_flock,
        libc::SYS_clone3,
    ];
    #[cfg(target_arch = "x86_64")]
    let calls = [
        &calls[..],
        &[
            libc::SYS_mkdir,
            libc::SYS_rename,
            libc::SYS_rmdir,
            libc::SYS_unlink,
            libc::SYS_symlink,
            libc::SYS_chmod,
        ],
    ]
    .concat();
    calls.contains(&number)
}

/// Runs the binary and kills it at its `last` such step; how many there were.
fn steps_until(case: &Case, words: &[&str], last: usize) -> Result<usize, Trouble> {
    let mut command = Command::new(case.program());
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: one system call.
    unsafe { command.pre_exec(|| Ok(ptrace::traceme()?)) };
    let child = command.spawn()?;
    let steps = follow(Pid::from_raw(child.id() as i32), last, changes_files);
    drop(child);
    steps
}

/// A layer with files, links and hard links.
fn many() -> Tar {
    (0..40).fold(Tar::default().folder("srv"), |tar, number| {
        let at = |name: &str| format!("srv/{number}/{name}");
        let tar = tar.file(&at("file"), &format!("{number}\n"));
        tar.link(&at("link"), "file").hard_link(&at("second"), &at("file"))
    })
}

pub fn a_killed_unpack_leaves_nothing(case: &Case) -> Verdict {
    let tar = many();
    let id = import(case, &tar, "")?;
    let name = id["sha256:".len()..].to_owned();
    let tree = Path::new(STATE).join("layers").join(&name).join("tree");
    let whole = super::mount::tree(&tree)?.len();
    let remove = || -> Verdict { case.run(&["layer", "rm", &id])?.code_is(0).map(drop) };
    remove()?;
    let words = ["layer", "import", "/tmp/layer.tar"];
    let total = steps_until(case, &words, usize::MAX)?;
    remove()?;
    holds(total > points(), "an unpack makes some system calls", total)?;
    // The last steps matter most: each of them.
    let count = points();
    let spread = (0..count).map(|point| 1 + point * (total - 1) / count);
    for point in spread.chain(total - 12..=total) {
        steps_until(case, &words, point)?;
        if tree.exists() {
            let what = format!("files, killed at step {point} of {total}");
            same(&what, whole, super::mount::tree(&tree)?.len())?;
        }
        same("the next import", &id, &import(case, &tar, "")?)?;
        same(&format!("the store, after step {point} of {total}"), vec![name.clone()], names_in("layers"))?;
        let run = on(case, &["demo", &id], &[], "ls /srv | wc -l; cat /srv/39/second")?;
        run.code_is(0)?.out_has("40")?.out_has("39")?;
        remove()?;
    }
    // So with a removal.
    for point in 1..=8 {
        import(case, &tar, "")?;
        steps_until(case, &["layer", "rm", &id], point * 5)?;
        let whole_or_absent = !tree.exists() || super::mount::tree(&tree)?.len() == whole;
        holds(whole_or_absent, "a layer that was being removed is whole or absent", "a part of it")?;
        same("the import after it", &id, &import(case, &tar, "")?)?;
        remove()?;
    }
    same("names in the store at the end", Vec::<String>::new(), names_in("layers"))
}

pub fn what_killed_runners_left_is_removed(case: &Case) -> Verdict {
    let words = ["run", "--layer", "demo", "--network", "host", "--", "true"];
    let total = steps_until(case, &words, usize::MAX)?;
    same("containers after a run", Vec::<String>::new(), names_in("containers"))?;
    let count = points();
    for point in 0..count {
        steps_until(case, &words, 1 + point * (total - 1) / count)?;
        eventually("the next run removes what a killed one left", || {
            on(case, &["demo"], &[], "true")?.code_is(0)?;
            Ok(names_in("containers").is_empty())
        })?;
    }
    // Somebody else's kept container is not touched by that.
    on(case, &["demo"], &["--name", "quay", "--keep"], "touch /mine")?.code_is(0)?;
    on(case, &["demo"], &[], "true")?.code_is(0)?;
    let mine = fs::exists(Path::new(STATE).join("containers/quay/upper/mine"))?;
    holds(mine, "a kept container stays as it was", "its file is gone")
}
