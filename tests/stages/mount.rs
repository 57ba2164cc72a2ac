//! Stage 2: what is claimed of `mount`, the runner of chapter 2. The attacks stand in `mount_attacks.rs`.
//!
//! As in stage 1, the tests of an exercise need it and those before it, and nothing behind it. Hence
//! `--bare` nearly everywhere: `/proc`, `/sys` and `/dev` come with the last exercise.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use nix::mount::{MsFlags, mount};

use super::mount_attacks::{
    a_link_swapped_while_mounting_never_leads_outside, a_volume_never_lands_on_the_root_itself,
    a_walk_that_was_disturbed_is_tried_again, links_of_the_image_lead_nowhere_outside,
    no_old_root_is_reachable, own_mounts_refuse_links, the_chroot_escape_finds_the_new_root,
    the_devices_of_the_host_cannot_be_changed,
};
use crate::stage::case::{Case, Run, write};
use crate::stage::tests;
use crate::stage::verdict::{Trouble, Verdict, holds, same};

tests![
    a_mount_inside_stays_inside,
    a_mount_outside_stays_outside,
    the_folder_becomes_the_root,
    the_chroot_escape_finds_the_new_root,
    a_root_that_is_no_folder_is_refused,
    a_missing_target_is_made_inside_the_root,
    links_of_the_image_lead_nowhere_outside,
    a_link_swapped_while_mounting_never_leads_outside,
    a_walk_that_was_disturbed_is_tried_again,
    a_volume_never_lands_on_the_root_itself,
    a_volume_shows_the_same_files_on_both_sides,
    a_volume_carries_the_mounts_below_it,
    a_tmpfs_has_the_options_that_were_asked_for,
    wrong_use_gives_one_clear_line_and_leaves_nothing,
    a_read_only_volume_is_read_only_all_the_way_down,
    a_read_only_root_cannot_be_changed,
    dev_has_exactly_the_standard_nodes_and_links,
    the_devices_work,
    the_devices_of_the_host_cannot_be_changed,
    proc_and_sys_belong_to_the_container,
    no_old_root_is_reachable,
    own_mounts_refuse_links,
    a_full_container_leaves_the_root_file_system_as_it_was,
];

const NONE: Option<&str> = None;

/// Runs a script in `demo`, with nothing but what `flags` mount.
pub(super) fn bare(case: &Case, flags: &[&str], script: &str) -> Result<Run, Trouble> {
    case.sh(&[&["--rootfs", "demo", "--bare"], flags].concat(), script)
}

/// Runs a script in `demo` with everything that a container has.
pub(super) fn full(case: &Case, flags: &[&str], script: &str) -> Result<Run, Trouble> {
    case.sh(&[&["--rootfs", "demo"], flags].concat(), script)
}

/// Mounts a small file system in the lab, as the host would.
pub(super) fn mount_tmpfs(place: &Path) -> Verdict {
    fs::create_dir_all(place)?;
    Ok(mount(Some("tmpfs"), place, Some("tmpfs"), MsFlags::empty(), None::<&str>)?)
}

/// Takes it away again, with whatever is mounted below.
pub(super) fn unmount(place: &Path) -> Verdict {
    Ok(nix::mount::umount2(place, nix::mount::MntFlags::MNT_DETACH)?)
}

/// Every path below a folder, with its kind, for before and after.
pub(super) fn tree(folder: &Path) -> Result<BTreeSet<String>, Trouble> {
    let mut all = BTreeSet::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        all.insert(format!("{} {:?}", entry.path().display(), entry.file_type()?));
        if entry.file_type()?.is_dir() {
            all.extend(tree(&entry.path())?);
        }
    }
    Ok(all)
}

pub fn a_mount_inside_stays_inside(case: &Case) -> Verdict {
    fs::create_dir("/tmp/spot")?;
    let run = case.sh(&[], "mount -t tmpfs none /tmp/spot && touch /tmp/spot/inside && ls /tmp/spot")?;
    run.code_is(0)?.out_is("inside")?;
    let table = fs::read_to_string("/proc/self/mounts")?;
    let leaked = table.lines().find(|line| line.contains("/tmp/spot"));
    run.claim(
        leaked.is_none(),
        format!("no line for /tmp/spot in the host's mount table, and not: {}", leaked.unwrap_or_default()),
    )?;
    Ok(())
}

pub fn a_mount_outside_stays_outside(case: &Case) -> Verdict {
    let script = "echo ready; while ! test -e /tmp/go; do sleep 0.01; done; grep -c /tmp/spot /proc/mounts";
    let runner = case.start(&["run", "--", "sh", "-c", script])?.until_ready()?;
    mount_tmpfs(Path::new("/tmp/spot"))?;
    fs::write("/tmp/go", "")?;
    let run = runner.wait()?;
    unmount(Path::new("/tmp/spot"))?;
    run.claim(
        run.out.trim() == "ready\n0",
        "on stdout `ready`, then 0: the host mounts on /tmp/spot meanwhile, and no line inside tells of it",
    )?;
    Ok(())
}

pub fn the_folder_becomes_the_root(case: &Case) -> Verdict {
    fs::write(case.demo().join("this-is-demo"), "")?;
    let run = bare(case, &[], "ls /; echo made inside > /made; pwd")?;
    run.code_is(0)?.out_has("this-is-demo")?.out_has("/\n")?;
    same("a file made inside", "made inside\n".to_owned(), fs::read_to_string(case.demo().join("made"))?)?;
    bare(case, &[], "ls /run/lab")?.out_lacks("work")?;
    // A relative folder starts where the exchange left us: in the new root, not in what is left of the old one.
    let here = case.run(&["run", "--rootfs", "demo", "--bare", "-w", ".", "--", "ls"])?;
    here.code_is(0)?.out_has("this-is-demo")?;
    Ok(())
}

pub fn a_root_that_is_no_folder_is_refused(case: &Case) -> Verdict {
    let long = format!("/{}", "x".repeat(5000));
    for (root, errno) in [("/no/such/folder", "ENOENT"), ("/etc/passwd", "ENOTDIR"), (&long, "ENAMETOOLONG")]
    {
        let run = case.run(&["run", "--rootfs", root, "--bare", "--", "true"])?;
        run.code_is(125)?.err_has(errno)?.err_is_one_line()?;
    }
    // That it is refused must not be all that this runner can do.
    bare(case, &[], "true")?.code_is(0)?;
    Ok(())
}

pub fn a_missing_target_is_made_inside_the_root(case: &Case) -> Verdict {
    write(Path::new("/tmp/source/file"), "content\n")?;
    for (source, target, kind) in
        [("/tmp/source", "new/deep/folder", "a folder"), ("/tmp/source/file", "new/other/file", "a file")]
    {
        let run = bare(case, &["-v", &format!("{source}:/{target}")], "true")?;
        let found = what_is_at(&case.demo().join(target));
        run.claim(found == kind, format!("{kind} is made at demo/{target}; {found} is there"))?;
    }
    Ok(())
}

/// What stands at a path, in words.
pub(super) fn what_is_at(path: &Path) -> &'static str {
    match fs::symlink_metadata(path) {
        Err(_) => "nothing",
        Ok(found) if found.is_dir() => "a folder",
        Ok(found) if found.is_file() => "a file",
        Ok(_) => "something else",
    }
}

pub fn a_volume_shows_the_same_files_on_both_sides(case: &Case) -> Verdict {
    write(Path::new("/tmp/source/from-outside"), "hello\n")?;
    let run =
        bare(case, &["-v", "/tmp/source:/data"], "cat /data/from-outside; echo reply > /data/from-inside")?;
    run.code_is(0)?.out_is("hello")?;
    same("what was written inside", "reply\n".to_owned(), fs::read_to_string("/tmp/source/from-inside")?)?;
    let one = bare(case, &["-v", "/tmp/source/from-outside:/etc/motd"], "cat /etc/motd; ls /data")?;
    one.out_has("hello")?.out_lacks("from-inside")?;
    // Parents first: the volume lies in the tmpfs, whatever the order of the flags.
    let nested = bare(case, &["-v", "/tmp/source:/srv/data", "--tmpfs", "/srv"], "ls /srv/data")?;
    nested.code_is(0)?.out_has("from-outside")?;
    Ok(())
}

pub fn a_volume_carries_the_mounts_below_it(case: &Case) -> Verdict {
    mount_tmpfs(Path::new("/tmp/source/below"))?;
    write(Path::new("/tmp/source/below/deep"), "deep\n")?;
    let run = bare(case, &["-v", "/tmp/source:/data"], "cat /data/below/deep")?;
    unmount(Path::new("/tmp/source/below"))?;
    run.code_is(0)?.out_is("deep")?;
    Ok(())
}

pub fn a_tmpfs_has_the_options_that_were_asked_for(case: &Case) -> Verdict {
    fs::write(case.demo().join("big"), vec![b'x'; 200_000])?;
    let run = bare(
        case,
        &["--tmpfs", "/scratch:size=64k,mode=1777"],
        "stat -c %a /scratch; cat /big > /scratch/big || echo full",
    )?;
    run.out_is("1777\nfull")?;
    let unused = fs::read_dir(case.demo().join("scratch"))?.count();
    same("what the run left below the tmpfs", 0, unused)?;
    let script = "echo '#!/bin/sh' > /scratch/run; chmod +x /scratch/run; /scratch/run; echo code $?";
    bare(case, &["--tmpfs", "/scratch"], script)?.out_is("code 126")?;
    bare(case, &["--tmpfs", "/scratch:exec"], script)?.out_is("code 0")?;
    bare(case, &["--tmpfs", "/scratch"], "probe flags /scratch")?.out_is("/scratch nosuid nodev noexec")?;
    // The source of a mount is its first column.
    bare(case, &["-v", "/proc:/proc", "--tmpfs", "/scratch"], "grep scratch /proc/mounts")?
        .out_has("tmpfs /scratch tmpfs")?;
    let wrong = bare(case, &["--tmpfs", "/scratch:size=much"], "true")?;
    // The last words are the kernel's own.
    wrong.code_is(125)?.err_has("size=much")?.err_has("Bad value")?.err_is_one_line()?;
    Ok(())
}

pub fn wrong_use_gives_one_clear_line_and_leaves_nothing(case: &Case) -> Verdict {
    write(Path::new("/tmp/source/file"), "")?;
    let long = format!("/tmp/source:/{}", "x".repeat(5000));
    let table = [
        ("/no/such/source:/data", "/no/such/source"),
        ("/tmp/source/file:/etc", "the source is a file, the target a folder"),
        ("/tmp/source:/etc/passwd", "the source is a folder, the target a file"),
        ("/tmp/source:data", "absolute"),
        ("/tmp/source:/a/../../b", "must not contain"),
        ("/tmp/source:/", "--rootfs"),
        ("/tmp/source", "SOURCE:TARGET"),
        ("/tmp/source:/data:rx", "`ro` or `rw`"),
        ("/tmp/source:/etc/passwd/below", "ENOTDIR"),
        (&long, "ENAMETOOLONG"),
    ];
    let before = tree(&case.demo())?;
    for (volume, words) in table {
        let run = bare(case, &["-v", volume], "true")?;
        run.code_is(125)?.err_has(words)?.err_is_one_line()?;
        holds(
            tree(&case.demo())? == before,
            format!("after `-v {volume}` the root file system is as before"),
            "it has changed",
        )?;
    }
    bare(case, &["-v", "/tmp/source:/data"], "ls /data")?.code_is(0)?.out_is("file")?;
    Ok(())
}

pub fn a_read_only_volume_is_read_only_all_the_way_down(case: &Case) -> Verdict {
    mount_tmpfs(Path::new("/tmp/source/below"))?;
    let script = "touch /data/new; touch /data/below/new; ls /data/below; rmdir /data/below";
    let run = bare(case, &["-v", "/tmp/source:/data:ro"], script)?;
    let (top, below) = (Path::new("/tmp/source/new").exists(), Path::new("/tmp/source/below/new").exists());
    fs::write("/tmp/source/below/from-outside", "")?;
    unmount(Path::new("/tmp/source/below"))?;
    run.claim(!top, "nothing can be written into a read-only volume")?;
    run.claim(!below, "nothing can be written into a mount below a read-only volume")?;
    run.err_has("Read-only file system")?;
    bare(case, &["-v", "/tmp/source:/data:rw"], "touch /data/new")?.code_is(0)?;
    Ok(())
}

pub fn a_read_only_root_cannot_be_changed(case: &Case) -> Verdict {
    mount_tmpfs(&case.demo().join("srv"))?;
    fs::create_dir_all("/tmp/source")?;
    let flags = ["--read-only", "--tmpfs", "/tmp", "-v", "/tmp/source:/new/place"];
    let script = "touch /new/file; touch /srv/file; touch /tmp/file && touch /new/place/file && echo both";
    let run = bare(case, &flags, script)?;
    let below = case.demo().join("srv/file").exists();
    unmount(&case.demo().join("srv"))?;
    run.code_is(0)?.out_is("both")?.err_has("Read-only file system")?;
    run.claim(!case.demo().join("new/file").exists(), "nothing can be written into a read-only root")?;
    run.claim(!below, "nothing can be written into what was mounted below the root before")?;
    run.claim(Path::new("/tmp/source/file").exists(), "volumes stay writable")?;
    a_locked_root_stays_locked(case)
}

/// What the host had mounted read-only is not made writable either, not even to make a mount point.
fn a_locked_root_stays_locked(case: &Case) -> Verdict {
    let locked = Path::new("/tmp/locked");
    fs::create_dir(locked)?;
    mount(Some(&case.demo()), locked, NONE, MsFlags::MS_BIND, NONE)?;
    let kept = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(NONE, locked, NONE, MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | kept, NONE)?;
    let flags = ["run", "--rootfs", "/tmp/locked", "--bare", "--read-only"];
    let run = case.run(&[&flags[..], &["-v", "/tmp/source:/newer", "--", "true"]].concat());
    let works = case.run(&[&flags[..], &["--", "true"]].concat());
    unmount(locked)?;
    run?.code_is(125)?.err_has("EROFS")?.err_is_one_line()?;
    works?.code_is(0)?;
    Ok(())
}

/// What `probe devices` must print: the OCI runtime specification's default devices and links.
const STANDARD_DEV: &str = "c 1:3 null\nc 1:5 zero\nc 1:7 full\nc 1:8 random\nc 1:9 urandom\nc 5:0 tty\nd pts\n\
    l fd -> /proc/self/fd\nl ptmx -> pts/ptmx\nl stderr -> /proc/self/fd/2\nl stdin -> /proc/self/fd/0\nl stdout -> /proc/self/fd/1";

pub fn dev_has_exactly_the_standard_nodes_and_links(case: &Case) -> Verdict {
    full(case, &[], "probe devices")?.code_is(0)?.out_is(STANDARD_DEV)?;
    // A terminal of the host, which the container's /dev/pts must not show.
    let _terminal = nix::pty::openpty(None, None)?;
    full(case, &[], "ls /dev/pts")?.out_is("ptmx")?;
    let table = full(case, &[], "grep -E ' /dev(/pts)? ' /proc/mounts")?;
    for (place, options) in
        [("tmpfs /dev tmpfs", "size=65536k,mode=755"), ("devpts /dev/pts devpts", "mode=620,ptmxmode=666")]
    {
        let line = table.out.lines().find(|line| line.starts_with(place)).unwrap_or_default();
        table.claim(line.contains(options), format!("in /proc/mounts a line `{place} …{options}…`"))?;
    }
    let flags = full(case, &[], "probe flags /dev /dev/pts /dev/null")?;
    flags.out_has("/dev nosuid")?.out_has("/dev/pts nosuid noexec")?;
    flags.out_has("/dev/null ro nosuid noexec")?;
    Ok(())
}

pub fn the_devices_work(case: &Case) -> Verdict {
    let run = full(
        case,
        &[],
        "head -c 5 /dev/zero | wc -c; echo gone > /dev/null; echo x > /dev/full; head -c 3 /dev/urandom | wc -c",
    )?;
    let numbers: Vec<&str> = run.out.split_whitespace().collect();
    run.claim(numbers == ["5", "3"], "5 zeroes and 3 random bytes")?.err_has("No space left")?;
    let big = full(case, &[], "head -c 70000000 /dev/zero > /dev/big && echo 'no limit'")?;
    big.out_is("")?;
    full(case, &[], "echo through > /dev/stdout")?.out_is("through")?;
    full(case, &[], "ls /dev/fd/0")?.code_is(0)?;
    Ok(())
}

pub fn proc_and_sys_belong_to_the_container(case: &Case) -> Verdict {
    let run = full(
        case,
        &[],
        "echo /proc/[0-9]*; cat /proc/1/comm; echo x > /sys/kernel/profiling; touch /sys/new",
    )?;
    run.out_has("/proc/1")?.err_has("Read-only file system")?;
    let shown = run.out.lines().next().unwrap_or_default().split_whitespace().count();
    run.claim(shown <= 2, "/proc shows the container's processes and no others")?;
    let flags = full(case, &[], "probe flags /proc /sys")?;
    flags.out_is("/proc nosuid nodev noexec\n/sys ro nosuid nodev noexec")?;
    let own = full(case, &[], "readlink /proc/self/ns/mnt; readlink /proc/self/ns/pid")?;
    for kind in ["mnt", "pid"] {
        let host = fs::read_link(format!("/proc/self/ns/{kind}"))?.display().to_string();
        own.code_is(0)?.out_has(&format!("{kind}:["))?.out_lacks(&host)?;
    }
    Ok(())
}

pub fn a_full_container_leaves_the_root_file_system_as_it_was(case: &Case) -> Verdict {
    let before = tree(&case.demo())?;
    full(case, &[], "test -c /dev/null && test -d /proc/1")?.code_is(0)?;
    full(case, &["--read-only"], "ls /proc/1/comm")?.code_is(0)?;
    same(
        "changes of the root file system",
        Vec::new(),
        tree(&case.demo())?.symmetric_difference(&before).cloned().collect(),
    )
}
