//! Stage 8: devices that are shown, and those that nobody may open.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use super::mount::{mount_tmpfs, unmount};
use super::security::{FOURTEEN, OPEN, open};
use crate::lab::Ground;
use crate::stage::case::Case;
use crate::stage::verdict::{Verdict, holds, same};

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
    looked(&[&disabled[..], &["--bare"]].concat())?.err_has("Permission denied")?;
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
