//! Stage 7: what is left by who is killed while it unpacks or runs, at each step.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::ptrace;
use nix::unistd::Pid;

use super::network_crash::follow;
use super::overlay::{STATE, folder_of, kept, names_in, on};
use super::overlay_layers::import;
use super::overlay_tar::Tar;
use crate::lab::Ground;
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

// FS_IOC_SETFLAGS of <linux/fs.h>.
nix::ioctl_write_ptr_bad!(
    set_flags,
    nix::request_code_write!(b'f', 2, size_of::<libc::c_long>()),
    libc::c_long
);

/// `chattr +i`, or `-i`: nobody changes or removes the file. False where its file system, or we, cannot.
fn set_immutable(path: &Path, immutable: bool) -> Result<bool, Trouble> {
    let flags: libc::c_long = if immutable { 0x10 } else { 0 };
    let file = fs::File::open(path)?;
    // SAFETY: the kernel reads one number, which lives through the call.
    Ok(unsafe { set_flags(file.as_raw_fd(), &flags) }.is_ok())
}

pub fn what_cannot_be_removed_is_told_with_its_place(case: &Case) -> Verdict {
    kept(case, &["demo"], "quay", "mkdir /srv/deep; touch /srv/deep/fixed")?.code_is(0)?;
    let file = folder_of("quay").join("upper/srv/deep/fixed");
    if case.ground == Ground::User {
        // She can make none, and what she has made she can remove.
        case.run(&["containers", "rm", "quay"])?.code_is(0)?;
        return same("containers at the end", Vec::<String>::new(), names_in("containers"));
    }
    if !set_immutable(&file, true)? {
        return Err(Trouble::Skipped("no file can be made immutable here".into()));
    }
    // Whoever reads it finds the file, and may end it. Until then no other container is stopped.
    let removed = case.run(&["containers", "rm", "quay"])?;
    let next = on(case, &["demo"], &[], "echo runs")?;
    let told = next.err.split_whitespace().find(|word| word.ends_with("/fixed:"));
    let place = Path::new(told.unwrap_or_default().trim_end_matches(':'));
    let ended = place.exists() && set_immutable(place, false)?;
    removed.code_is(125)?.err_has("/fixed")?.err_has("chattr")?.err_is_one_line()?;
    next.claim(ended, "the place of the file")?.code_is(0)?.out_is("runs")?.err_is_one_line()?;
    on(case, &["demo"], &[], "true")?.code_is(0)?;
    same("containers at the end", Vec::<String>::new(), names_in("containers"))
}
