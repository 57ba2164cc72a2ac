//! Stage 8: the cache of filters, limits, the OOM killer's score, keys, Landlock, and what this engine does not do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;

use nix::sys::signal::Signal;
use nix::unistd::{Gid, setgroups};

use super::process_descriptors::leak_as_seven;
use super::security::{FILTERED, OPEN, filtered, has_users, open};
use super::security_seccomp::called;
use super::user::{become_ordinary, ordinary_id, own_demo};
use crate::stage::case::{Case, children_of};
use crate::stage::verdict::{Verdict, fail, holds, same};

pub fn limits_are_taken(case: &Case) -> Verdict {
    let limits = "ulimit -n; ulimit -Hn; ulimit -c";
    let flags = ["--ulimit", "nofile=64:128", "--ulimit", "core=0"];
    open(case, &flags, limits)?.code_is(0)?.out_is("64\n128\n0")?;
    // Low enough that a later step of the runner would run into it.
    open(case, &["--ulimit", "nofile=4", "-v", "/tmp:/data"], "ulimit -n")?.code_is(0)?.out_is("4")?;
    for (limit, words) in [
        ("files=1", "no such limit"),
        ("nofile=2:1", "above"),
        ("nofile", "NAME=SOFT"),
        ("nofile=-2", "number"),
        // More than any kernel lets a process have.
        ("nofile=18446744073709551614", "EPERM"),
        ("nofile=18446744073709551614", "fs.nr_open"),
    ] {
        open(case, &["--ulimit", limit], "true")?.code_is(125)?.err_has(words)?.err_is_one_line()?;
    }
    Ok(())
}

pub fn the_oom_score_is_set(case: &Case) -> Verdict {
    let score = "cat /proc/self/oom_score_adj";
    open(case, &["--oom-score-adj", "500"], score)?.code_is(0)?.out_is("500")?;
    let before = fs::read_to_string("/proc/self/oom_score_adj")?;
    open(case, &[], score)?.out_is(&before)?;
    open(case, &["--oom-score-adj", "1001"], "true")?.code_is(125)?;
    // Lower than the caller's own takes a right on the host, which tells itself where it is missing.
    let low = open(case, &["--oom-score-adj", "-1000"], score)?;
    if low.code != 0 {
        low.code_is(125)?.err_has("CAP_SYS_RESOURCE")?.err_is_one_line()?;
    } else {
        low.out_is("-1000")?;
    }
    Ok(())
}

/// A session keyring of this test's own, with a key in it.
fn with_key() -> std::io::Result<()> {
    // SAFETY: no name, and then strings that live through the call.
    let done = unsafe {
        libc::syscall(libc::SYS_keyctl, 1, std::ptr::null::<u8>());
        libc::syscall(
            libc::SYS_add_key,
            c"user".as_ptr(),
            c"harbour".as_ptr(),
            c"secret".as_ptr(),
            6_usize,
            -3,
        )
    };
    if done < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}

pub fn keys_of_the_caller_are_out_of_reach(case: &Case) -> Verdict {
    let start = |words: &[&str]| {
        case.start_with(words, |command| {
            // SAFETY: two system calls; a test has one thread.
            unsafe { command.pre_exec(with_key) };
        })?
        .wait()
    };
    let words = [&["run", "--rootfs", "demo"], &OPEN[..], &["--", "probe", "key-find", "harbour"]].concat();
    start(&words)?.code_is(0)?.out_is("ENOKEY")?;
    // It has a keyring all the same, and finds there what it puts there.
    let script = "probe key-add quay && probe key-find quay";
    let words = [&["run", "--rootfs", "demo"], &OPEN[..], &["--", "sh", "-c", script]].concat();
    start(&words)?.code_is(0)?.out_is("added\nfound")?;
    // Without the runner between them, the caller's key is found: otherwise this test would prove nothing.
    let mut alone = std::process::Command::new("probe");
    // SAFETY: as above.
    let found = unsafe { alone.args(["key-find", "harbour"]).pre_exec(with_key) }.output()?;
    same(
        "the caller's key, found without a container",
        "found",
        String::from_utf8_lossy(&found.stdout).trim(),
    )
}

/// A root caller's groups are the host's: `disk`, `docker`.
pub fn the_callers_groups_are_left(case: &Case) -> Verdict {
    if !has_users(case) {
        // Root of one id may not leave any, which must not keep it from starting.
        return open(case, &[], "echo started")?.code_is(0)?.out_is("started").map(drop);
    }
    let script = "grep Groups: /proc/self/status; id -G";
    let words = |more: [&'static str; 2]| {
        [&["run", "--rootfs", "demo"], &OPEN[..], &more, &["--", "sh", "-c", script]].concat()
    };
    let with_groups = |command: &mut std::process::Command| {
        let groups = [1, 2].map(Gid::from_raw);
        // SAFETY: one system call; a test has one thread.
        unsafe { command.pre_exec(move || setgroups(&groups).map_err(Into::into)) };
    };
    let run = case.start_with(&words(["--workdir", "/"]), with_groups)?.wait()?;
    run.code_is(0)?.out_is("Groups:\t \n0")?;
    // A user has its own.
    let run = case.start_with(&words(["--user", "1000:7"]), with_groups)?.wait()?;
    run.code_is(0)?.out_is("Groups:\t \n7")?;
    Ok(())
}

pub fn files_can_be_limited_to_places(case: &Case) -> Verdict {
    let flags = ["--security-opt", "landlock=ro:/", "--security-opt", "landlock=rw:/tmp"];
    let script = "echo x > /tmp/new && cat /tmp/new; echo x > /new; echo x > /tmp/../srv/new";
    let run = open(case, &flags, script)?;
    if run.code == 125 && run.err.contains("Landlock") {
        // A kernel without it says so, in one line, and starts nothing.
        run.err_is_one_line()?;
        return Ok(());
    }
    run.out_is("x")?;
    run.claim(run.err.matches("Permission denied").count() == 2, "nothing is written outside of /tmp")?;
    let no_new = ["--security-opt", "no-new-privileges"];
    open(case, &[&flags[..], &no_new].concat(), "echo x > /new")?.err_has("Permission denied")?;
    // To say what is allowed takes descriptors, more than the program will have.
    open(case, &[&flags[..], &["--ulimit", "nofile=4"]].concat(), "ulimit -n")?.code_is(0)?.out_is("4")?;
    if has_users(case) {
        open(case, &[&flags[..], &["--user", "1000"]].concat(), "grep -c . /etc/passwd && echo read")?
            .out_has("read")?;
    }
    // What it does not name cannot even be executed.
    let run = open(case, &["--security-opt", "landlock=rw:/tmp"], "true")?;
    run.code_is(126)?.err_has("EACCES")?;
    for (rule, words) in [("landlock=rx:/tmp", "ro:/PATH"), ("landlock=ro:/nowhere", "/nowhere")] {
        open(case, &["--security-opt", rule], "true")?.code_is(125)?.err_has(words)?.err_is_one_line()?;
    }
    open(case, &[], "echo x > /new && cat /new")?.out_is("x")?;
    Ok(())
}

/// The host's root, open as descriptor 7 of a careless caller (CVE-2024-21626).
pub fn no_descriptor_leads_outside(case: &Case) -> Verdict {
    for (flags, program) in [
        (&["-w", "/proc/self/fd/7"][..], "/bin/true"),
        (&["-w", "/proc/self/fd/7/tmp"], "/bin/true"),
        (&[], "/proc/self/fd/7/bin/true"),
        (&["--init"], "/proc/self/fd/7/bin/true"),
    ] {
        let words = [&["run", "--rootfs", "demo"], &OPEN[..], flags, &["--", program]].concat();
        let root = fs::File::open("/")?;
        let run = case.start_with(&words, |command| leak_as_seven(command, root))?.wait()?;
        run.claim(run.code != 0, "a descriptor of the caller is closed before it can be a path")?;
        run.err_has("ENOENT")?.err_is_one_line()?;
    }
    let words = [&["run", "--rootfs", "demo"], &OPEN[..], &["-w", "/usr", "--", "pwd"]].concat();
    case.run(&words)?.code_is(0)?.out_is("/usr")?;
    Ok(())
}

/// The file of the init of `--init` is the runner's, on the host (CVE-2019-5736).
pub fn the_runners_file_is_out_of_reach(case: &Case) -> Verdict {
    // The lab's own programs are read-only already; a user's are not.
    fs::copy(case.program(), "/tmp/runner")?;
    let script = "readlink /proc/1/exe; probe flags /proc/1/exe";
    let look = ["--init", "--cap-add", "SYS_PTRACE", "--", "sh", "-c", script];
    let words = [&["run", "--rootfs", "demo"], &OPEN[..], &look].concat();
    let run = std::process::Command::new("/tmp/runner").args(&words).output()?;
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    holds(
        said.contains("/proc/1/exe ro") && !said.contains("/tmp/runner"),
        "the file of PID 1 is on a read-only mount, and has no place: /proc/1/exe ro",
        said + &String::from_utf8_lossy(&run.stderr),
    )?;
    if has_users(case) {
        // Who may not mount has a copy in memory.
        own_demo(case, ordinary_id(case))?;
        let program = ["--init", "--", "sh", "-c", "echo ready; exec sleep 1000"];
        let words = [&["run", "--rootfs", "demo"], &OPEN[..], &program].concat();
        let runner = case.start_with(&words, |command| become_ordinary(case, command, &[]))?.until_ready()?;
        let file = children_of(runner.pid()).first().map(|init| fs::read_link(format!("/proc/{init}/exe")));
        runner.signal(Signal::SIGTERM)?;
        runner.wait()?;
        let file = file.ok_or_else(|| fail("PID 1 of a container", "none"))??;
        holds(
            file.to_string_lossy().starts_with("/memfd:gantry"),
            "the file of PID 1 is a copy in memory",
            file.display(),
        )?;
    }
    Ok(())
}

/// The init of `--init` is a copy of the runner, with all that the runner was told.
pub fn the_runners_memory_is_out_of_reach(case: &Case) -> Verdict {
    let script =
        "cat /proc/1/environ /proc/1/maps /proc/1/mem; ls /proc/1/cwd/; readlink /proc/1/exe /proc/1/fd/3";
    for init in [&["--init"][..], &[]] {
        let words = [&["run", "--rootfs", "demo"], &OPEN[..], init, &["--", "sh", "-c", script]].concat();
        let run = case
            .start_with(&words, |command| {
                command.env("HARBOUR_SECRET", "of the caller");
            })?
            .wait()?;
        run.out_lacks("HARBOUR_SECRET")?.claim(
            init.is_empty() || run.out.is_empty(),
            "nothing can be read of the memory, the descriptors and the file of our own PID 1",
        )?;
    }
    open(case, &["--init"], "grep -c . /proc/1/status > /dev/null && echo visible")?.out_is("visible")?;
    Ok(())
}

pub fn what_is_not_done_is_told(case: &Case) -> Verdict {
    for (option, words) in [
        ("apparmor=docker-default", "AppArmor"),
        ("label=type:container_t", "SELinux"),
        ("no-new-privileges=perhaps", "true or false"),
        ("systempaths=closed", "unconfined"),
        ("fly", "seccomp"),
    ] {
        open(case, &["--security-opt", option], "true")?.code_is(125)?.err_has(words)?.err_is_one_line()?;
    }
    for option in ["apparmor=unconfined", "label=disable"] {
        open(case, &["--security-opt", option], "true")?.code_is(0)?;
    }
    let run = case.run(&["run", "--device", "/dev/zero", "--", "true"])?;
    run.code_is(125)?.err_has("a root of the container's own")?.err_is_one_line()?;
    Ok(())
}

pub fn a_damaged_cache_is_of_no_use(case: &Case) -> Verdict {
    let state = Path::new("/tmp/gantry/seccomp");
    let script = called(libc::SYS_keyctl, "");
    filtered(case, &[], &script)?.code_is(0)?.out_is("EPERM")?;
    let files: Vec<_> = fs::read_dir(state)?.flatten().map(|entry| entry.path()).collect();
    let [file] = &files[..] else { return holds(false, "one filter in the cache", format!("{files:?}")) };
    let made = fs::metadata(file)?.modified()?;
    filtered(case, &[], &script)?.code_is(0)?.out_is("EPERM")?;
    same("the filter is used again, not made again", made, fs::metadata(file)?.modified()?)?;
    // A filter that allows everything, as an attacker would put it there; torn; and in an open folder.
    let whole = fs::read(file)?;
    let allow = [0x06, 0, 0, 0, 0, 0, 0xff, 0x7f];
    for damage in
        [[&whole[..whole.len() - 8], &allow].concat(), whole[..100].to_vec(), [&whole[..40], &allow].concat()]
    {
        fs::write(file, damage)?;
        let run = filtered(case, &[], &script)?;
        run.code_is(0)?.out_is("EPERM")?.err_has("damaged")?;
    }
    for (path, mode) in [(file.as_path(), 0o666), (state, 0o777)] {
        let before = fs::metadata(path)?.permissions();
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        let run = filtered(case, &[], &script)?;
        fs::set_permissions(path, before)?;
        run.code_is(0)?.out_is("EPERM")?.err_has("others can write")?;
    }
    fs::rename(file, "/tmp/elsewhere")?;
    std::os::unix::fs::symlink("/tmp/elsewhere", file)?;
    filtered(case, &[], &script)?.code_is(0)?.out_is("EPERM")?.err_has("ELOOP")?;
    // Another container's capabilities make another filter, which is none for this one.
    filtered(case, &["--cap-drop", "ALL", "--cap-add", "SYS_ADMIN"], &called(libc::SYS_mount, ""))?
        .out_is("EFAULT")?;
    let files: Vec<_> = fs::read_dir(state)?.flatten().map(|entry| entry.path()).collect();
    same("filters in the cache", 2, files.len())?;
    let other = files.iter().find(|other| *other != file).expect("two of them");
    fs::copy(other, file)?;
    filtered(case, &[], &called(libc::SYS_mount, ""))?.out_is("EPERM")?.err_has("damaged")?;
    another_build_has_its_own(case, state)
}

/// Another build of ours may make another filter of the same profile.
fn another_build_has_its_own(case: &Case, state: &Path) -> Verdict {
    fs::copy(case.program(), "/tmp/runner")?;
    let words = [&["run", "--rootfs", "demo"], &FILTERED[..], &["--", "true"]].concat();
    for _ in 0..2 {
        std::process::Command::new("/tmp/runner").args(&words).status()?;
        same("filters in the cache", 3, fs::read_dir(state)?.count())?;
    }
    Ok(())
}
