//! Stage 8: the cache of filters, limits, the OOM killer's score, keys, devices, Landlock, and what this engine does not do.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;

use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{Gid, setgroups};

use super::mount::{mount_tmpfs, unmount};
use super::process_descriptors::leak_as_seven;
use super::security::{FILTERED, FOURTEEN, OPEN, filtered, has_users, open};
use super::security_seccomp::called;
use super::user::{become_ordinary, ordinary_id, own_demo};
use crate::lab::Ground;
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

pub fn a_device_is_shown(case: &Case) -> Verdict {
    let list = "probe devices | grep -c .; test -c /dev/zero-too && head -c 2 /dev/zero-too | wc -c";
    let without = open(case, &[], "probe devices | grep -c .")?;
    let run = open(case, &["--device", "/dev/zero:/dev/zero-too"], list)?;
    let count =
        |text: &str| text.lines().next().and_then(|line| line.trim().parse::<u32>().ok()).unwrap_or(0);
    run.code_is(0)?.claim(count(&run.out) == count(&without.out) + 1, "one device more, and no other")?;
    run.claim(run.out.trim().ends_with('2'), "the device works")?;
    open(case, &["--device", "/dev/full:/srv/deep/full:rwm"], "echo x > /srv/deep/full")?
        .err_has("No space left")?;
    // Its node is the host's, and stays as it is.
    let before = fs::metadata("/dev/full")?.permissions();
    open(case, &["--device", "/dev/full:/dev/other"], "chmod 0 /dev/other")?
        .err_has("Read-only file system")?;
    same("the mode of the host's device", before, fs::metadata("/dev/full")?.permissions())?;
    for (device, words) in [
        ("/etc/passwd", "no device"),
        ("/dev/there-is-none", "ENOENT"),
        ("zero", "absolute"),
        ("/dev/zero:/dev/../x", "absolute"),
        ("/dev/zero:/dev/x:z", "HOST:CONTAINER"),
    ] {
        open(case, &["--device", device], "true")?.code_is(125)?.err_has(words)?.err_is_one_line()?;
    }
    the_list_of_devices_knows_it(case)?;
    // Links of the image lead it nowhere.
    std::os::unix::fs::symlink("/etc", case.demo().join("link"))?;
    open(case, &["--device", "/dev/zero:/link/passwd"], "true")?.code_is(125)?.err_has("symbolic link")?;
    Ok(())
}

/// What is shown can be used, as far as it was said; what lies there all the same cannot.
fn the_list_of_devices_knows_it(case: &Case) -> Verdict {
    let device =
        ["/dev/fuse", "/dev/kmsg", "/dev/loop-control"].into_iter().find(|path| File::open(path).is_ok());
    let Some(device) = device else { return Ok(()) };
    let read = ": < /dev/shown && echo read; : >> /dev/shown && echo written";
    let shown = |access: &str| format!("{device}:/dev/shown{access}");
    open(case, &["--device", &shown("")], read)?.out_has("read")?.out_has("written")?;
    if case.ground != Ground::Root {
        // Without rights over the machine there is no list.
        return open(case, &["--device", &shown(":r")], read)?.code_is(125)?.err_has("devices").map(drop);
    }
    open(case, &["--device", &shown(":r")], read)?.out_has("read")?.out_lacks("written")?;
    open(case, &["-v", &shown("")], read)?.out_lacks("read")?.err_has("not permitted")?;
    open(case, &["-v", &shown(""), "--privileged"], read)?.out_has("written")?;
    Ok(())
}

/// Root of the machine may make nodes, as long as a list says which of them can be opened. Without a list it makes none.
pub fn no_disk_is_open_without_a_list(case: &Case) -> Verdict {
    // 60 is kept for experiments: no driver has it, and opened, there is nothing to show.
    let script = "probe attack raw-disk 60 1; probe capabilities | grep CapBnd";
    let bounding = |set: u64| format!("CapBnd {set:016x}");
    let bare = ["--cgroups", "disabled"];
    let run = open(case, &bare, script)?;
    if case.ground != Ground::Root {
        // In a user namespace no list is needed: the kernel makes no node there.
        return run.err_has("mknod: EPERM")?.out_has(&bounding(FOURTEEN)).map(drop);
    }
    run.err_has("mknod: EPERM")?.out_has(&bounding(FOURTEEN & !(1 << 27)))?;
    open(case, &[&bare[..], &["--uid-map", "0:0:1"]].concat(), script)?
        .err_has("mknod: EPERM")?
        .out_has(&bounding(FOURTEEN))?;
    // Who wants it all the same says so by name.
    let named = open(case, &[&bare[..], &["--cap-add", "MKNOD"]].concat(), script)?;
    named.err_has("No such device")?.out_has(&bounding(FOURTEEN))?;
    open(case, &[], script)?.err_has("not permitted")?.out_has(&bounding(FOURTEEN))?;
    nodes_of_the_image_are_shut(case)?;
    no_list_is_no_container(case)
}

/// What root may not make, the image might have brought along.
fn nodes_of_the_image_are_shut(case: &Case) -> Verdict {
    // Of the lab's own folders, no node opens.
    let image = Path::new("/tmp/image");
    mount_tmpfs(image)?;
    std::process::Command::new("cp").arg("-a").arg(case.demo()).arg(image).status()?;
    let node = image.join("demo/disk");
    mknod(&node, SFlag::S_IFBLK, Mode::empty(), makedev(60, 1))?;
    fs::set_permissions(&node, fs::Permissions::from_mode(0o666))?;
    let verdict = ["--rootfs", "--layer"].iter().try_for_each(|kind| node_is_shut(case, kind));
    unmount(image)?;
    verdict
}

fn node_is_shut(case: &Case, kind: &str) -> Verdict {
    let image = [kind, "/tmp/image/demo"];
    let looked = |flags: &[&str]| case.sh(&[&image, &OPEN[..], flags].concat(), "cat /disk");
    let disabled = ["--cgroups", "disabled"];
    looked(&[&disabled[..], &["--cap-add", "MKNOD"]].concat())?.err_has("No such device")?;
    for flags in [&[][..], &["--uid-map", "0:0:1"], &["--uid-map", "0:100000:65536"]] {
        looked(&[&disabled[..], flags].concat())?.err_has("Permission denied")?;
    }
    looked(&["--uid-map", "0:0:1", "--privileged"])?.err_has("Permission denied")?;
    Ok(())
}

/// Where no cgroup can be made, a container that would need its list is not made, and says why.
fn no_list_is_no_container(case: &Case) -> Verdict {
    let program = case.program().display().to_string();
    for (flags, code, words) in
        [("", 125, "--cgroups disabled"), ("--cgroups disabled", 0, ""), ("--privileged", 0, "")]
    {
        let script = format!(
            "mount -t tmpfs none /sys/fs/cgroup && exec {program} run --rootfs demo {} {flags} -- true",
            OPEN.join(" ")
        );
        let run = std::process::Command::new("unshare").args(["-m", "sh", "-c", &script]).output()?;
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        let is_so = run.status.code() == Some(code) && said.contains(words);
        holds(is_so, format!("without cgroups, run {flags} ends with {code}: {words}"), said)?;
    }
    Ok(())
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
