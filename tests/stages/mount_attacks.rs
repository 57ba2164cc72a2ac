//! Stage 2, the attacks: what a hostile image or program tries against the runner of chapter 2.
//!
//! Each test makes the attack and then looks at the place that it aimed at. Each also shows that the runner
//! does its honest work, so that a runner that does nothing does not pass.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork};

use super::mount::{bare, full, mount_tmpfs, what_is_at};
use crate::stage::case::Case;
use crate::stage::verdict::{Trouble, Verdict, holds, same};

/// The folder outside that the attacks aim at; and the volume's source.
fn outside() -> Result<&'static Path, Trouble> {
    fs::create_dir_all("/tmp/outside")?;
    fs::create_dir_all("/tmp/source")?;
    Ok(Path::new("/tmp/outside"))
}

fn must_be_empty(folder: &Path, attack: &str) -> Verdict {
    let found: Vec<_> = fs::read_dir(folder)?.flatten().map(|entry| entry.file_name()).collect();
    holds(
        found.is_empty(),
        format!("{attack}: nothing is made outside the root"),
        format!("OUTSIDE, in {}, this was made: {found:?}", folder.display()),
    )
}

pub fn the_chroot_escape_finds_the_new_root(case: &Case) -> Verdict {
    fs::write(case.demo().join("this-is-demo"), "")?;
    let run = bare(case, &[], "probe chroot-escape")?;
    run.code_is(0)?.out_has("this-is-demo")?;
    // The same attack on a plain chroot gets out: otherwise this test would prove nothing.
    let jailed = std::process::Command::new("chroot")
        .arg(case.demo())
        .args(["/bin/sh", "-c", "probe chroot-escape"])
        .output()?;
    let reached = String::from_utf8_lossy(&jailed.stdout).into_owned();
    holds(
        !reached.is_empty() && !reached.contains("this-is-demo"),
        "out of a chroot the attack reaches the host's root",
        reached,
    )
}

pub fn links_of_the_image_lead_nowhere_outside(case: &Case) -> Verdict {
    let (outside, demo) = (outside()?, case.demo());
    symlink("/tmp/outside", demo.join("absolute"))?;
    symlink("../../../../../../tmp/outside", demo.join("upwards"))?;
    symlink("/", demo.join("all"))?;
    symlink("/nowhere/at/all", demo.join("dangling"))?;
    symlink("/circle-b", demo.join("circle-a"))?;
    symlink("/circle-a", demo.join("circle-b"))?;
    // Inside, /tmp/outside does not exist: such links lead nowhere, and are refused.
    for (target, words) in [
        ("absolute/x", "nowhere"),
        ("upwards/x", "nowhere"),
        ("dangling", "nowhere"),
        ("circle-a/x", "circle"),
    ] {
        let run = bare(case, &["-v", &format!("/tmp/source:/{target}")], "true")?;
        must_be_empty(outside, target)?;
        run.code_is(125)?.err_has(words)?.err_is_one_line()?;
    }
    // A file is made with O_CREAT, which would follow a link to its end.
    fs::write("/tmp/source/file", "")?;
    symlink("/tmp/outside/file", demo.join("hanging"))?;
    let file = bare(case, &["-v", "/tmp/source/file:/hanging"], "true")?;
    must_be_empty(outside, "a link to a missing file")?;
    file.code_is(125)?.err_has("nowhere")?.err_is_one_line()?;
    // Once it exists inside, they lead there.
    fs::create_dir_all(demo.join("tmp/outside"))?;
    for target in ["absolute/one", "upwards/two", "all/tmp/outside/three"] {
        let run = bare(case, &["-v", &format!("/tmp/source:/{target}")], "true")?;
        must_be_empty(outside, target)?;
        let inside = Path::new("tmp/outside").join(Path::new(target).file_name().unwrap_or_default());
        let found = what_is_at(&demo.join(&inside));
        run.claim(
            found == "a folder",
            format!("/{target} leads to a folder made at demo/{}; {found} is there", inside.display()),
        )?;
    }
    Ok(())
}

pub fn a_link_swapped_while_mounting_never_leads_outside(case: &Case) -> Verdict {
    let (outside, demo) = (outside()?, case.demo());
    fs::create_dir_all(demo.join("spot"))?;
    fs::create_dir_all(demo.join("tmp/outside"))?;
    symlink("/tmp/outside", demo.join("link"))?;
    let attacker = swap_forever(&demo.join("spot"), &demo.join("link"))?;
    let runs = (0..40).try_for_each(|number| {
        let volume = format!("/tmp/source:/spot/new-{number}");
        bare(case, &["-v", &volume], "true").map(drop)
    });
    kill(attacker, Signal::SIGKILL)?;
    waitpid(attacker, None)?;
    runs?;
    must_be_empty(outside, "a folder swapped for a link")?;
    let folder = if demo.join("spot").is_symlink() { "link" } else { "spot" };
    let made = |place: &str| fs::read_dir(demo.join(place)).map(|entries| entries.count());
    same("targets made inside the root", 40, made(folder)? + made("tmp/outside")?)
}

/// A process that exchanges two names as fast as it can.
fn swap_forever(one: &Path, other: &Path) -> Result<Pid, Trouble> {
    neighbour(|| {
        loop {
            let _ = renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE);
        }
    })
}

/// A process that copies its mount namespace, with a hundred mounts more than the lab has, and throws the copy
/// away, as fast as it can.
fn mount_forever() -> Result<Pid, Trouble> {
    neighbour(|| {
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        let _ = unshare(CloneFlags::CLONE_NEWNS)
            .and_then(|()| mount(None::<&str>, "/", None::<&str>, private, None::<&str>));
        (0..100).for_each(|_| drop(mount_tmpfs(Path::new("/tmp/many"))));
        loop {
            let _ = unshare(CloneFlags::CLONE_NEWNS);
        }
    })
}

/// A process that does this until it is killed.
fn neighbour(forever: impl FnOnce()) -> Result<Pid, Trouble> {
    // SAFETY: a test has one thread.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            forever();
            std::process::exit(0)
        }
    }
}

pub fn a_walk_that_was_disturbed_is_tried_again(case: &Case) -> Verdict {
    outside()?;
    symlink("usr/../".repeat(20), case.demo().join("winding"))?;
    let neighbour = mount_forever()?;
    let runs = (0..40).try_for_each(|number| {
        let run = bare(case, &["-v", &format!("/tmp/source:/winding/new-{number}/one/two")], "true")?;
        run.claim(!run.err.contains("EAGAIN"), "no word of EAGAIN").map(drop)
    });
    kill(neighbour, Signal::SIGKILL)?;
    waitpid(neighbour, None)?;
    runs?;
    let made = (0..40).filter(|number| case.demo().join(format!("new-{number}/one/two")).is_dir());
    same("targets made inside the root", 40, made.count())
}

pub fn a_volume_never_lands_on_the_root_itself(case: &Case) -> Verdict {
    outside()?;
    symlink("/", case.demo().join("all"))?;
    symlink("..", case.demo().join("parent"))?;
    for target in ["/all", "/parent"] {
        let run = bare(case, &["-v", &format!("/tmp/source:{target}")], "true")?;
        run.code_is(125)?.err_has("the container's root itself")?.err_is_one_line()?;
    }
    let run = bare(case, &["-v", "/tmp/source:/all/data"], "true")?;
    let found = what_is_at(&case.demo().join("data"));
    run.claim(
        found == "a folder",
        format!("below the same link, which leads to /, a folder is made at demo/data; {found} is there"),
    )?;
    Ok(())
}

pub fn the_devices_of_the_host_cannot_be_changed(case: &Case) -> Verdict {
    let before = fs::metadata("/dev/null")?.permissions();
    let run =
        full(case, &[], "probe chmod /dev/null; rm -f /dev/zero; echo still > /dev/null && echo writable")?;
    run.out_is("writable")?.err_has("Read-only file system")?;
    same("the mode of the host's /dev/null", before, fs::metadata("/dev/null")?.permissions())
}

pub fn no_old_root_is_reachable(case: &Case) -> Verdict {
    fs::write(case.demo().join("this-is-demo"), "")?;
    let places =
        ["/..", "/proc/1/root", "/proc/self/root", "/proc/1/cwd", "/proc/self/cwd/..", "/proc/1/root/../.."];
    for place in places {
        full(case, &[], &format!("ls {place}/"))?.code_is(0)?.out_has("this-is-demo")?;
    }
    full(case, &[], "probe chroot-escape")?.code_is(0)?.out_has("this-is-demo")?;
    full(case, &[], "probe fds")?.out_is("0 1 2")?;
    // Nor by a volume: in the /proc that is mounted already, `self` is the runner's child, not yet inside.
    let outside = outside()?;
    for link in ["self/root", "self/cwd", "1/root"] {
        let volume = format!("/tmp/source:/proc/{link}/tmp/outside/new");
        let run = full(case, &["-v", &volume], "true")?;
        must_be_empty(outside, link)?;
        run.code_is(125)?.err_is_one_line()?;
    }
    let table = full(case, &[], "cat /proc/self/mountinfo")?;
    let places: Vec<&str> = table.out.lines().filter_map(|line| line.split(' ').nth(4)).collect();
    let expected = ["/", "/proc", "/sys", "/dev", "/dev/pts"];
    let devices = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];
    let foreign: Vec<_> =
        places.iter().filter(|place| !expected.contains(place) && !devices.contains(place)).collect();
    table.code_is(0)?.claim(
        foreign.is_empty() && places.len() >= 5,
        "the mount table holds the container's mounts and no others",
    )?;
    Ok(())
}

pub fn own_mounts_refuse_links(case: &Case) -> Verdict {
    let demo = case.demo();
    for (name, target) in [("proc", "/etc"), ("sys", "/tmp"), ("dev", "../.."), ("dev", "/etc")] {
        fs::remove_dir(demo.join(name))?;
        symlink(target, demo.join(name))?;
        let run = full(case, &[], "true")?;
        run.claim(
            run.code == 125 && run.err.contains("symbolic link"),
            format!(
                "refused with exit code 125 and the word `symbolic link`: demo/{name} is a link to {target}, and \
                 `Links::Refuse` (src/resolve.rs) forbids it"
            ),
        )?;
        run.err_is_one_line()?;
        fs::remove_file(demo.join(name))?;
        fs::create_dir(demo.join(name))?;
    }
    full(case, &[], "test -d /proc/1")?.code_is(0)?;
    // Nor may a volume cover the kernel's files: who writes there later would believe that the kernel heard it
    // (CVE-2019-16884).
    fs::create_dir_all("/tmp/source")?;
    symlink("/proc/self/attr", demo.join("attr"))?;
    symlink("/proc", demo.join("kernel"))?;
    for target in ["attr", "kernel/sys"] {
        let run = full(case, &["-v", &format!("/tmp/source:/{target}")], "true")?;
        run.code_is(125)?.err_has("it leads into /proc")?.err_is_one_line()?;
    }
    Ok(())
}
