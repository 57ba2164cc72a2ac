//! Stage 4: what is claimed of `user`, the runner of chapter 4. Users, ranges and volumes stand in `user_ids.rs`.
//!
//! The lab's own user namespace has one id where it was made by an ordinary user, and all of them where root made
//! it or in the kernel lab. So each test begins with what one id can show, which is what a learner's check
//! shows; where there are more, it goes on. An ordinary user is played by whoever has given up what makes root
//! root: uid 1000, or, where there is only one id, a process with an empty bounding set.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sys::signal::Signal;
use nix::unistd::{Gid, setgroups};

use super::mount::{mount_tmpfs, unmount};
use super::user_ids::{
    a_file_that_is_no_list_of_users_is_refused, a_range_of_ids_is_written_by_the_helpers,
    a_volume_can_keep_its_owners, the_program_runs_as_the_user_of_the_image, what_has_no_helper_is_told,
    what_is_not_in_the_map_is_told,
};
use crate::lab::Ground;
use crate::stage::case::{Case, Run, children_of, eventually, state_of, write};
use crate::stage::tests;
use crate::stage::verdict::{Trouble, Verdict, fail, same};

tests![
    root_inside_is_the_caller_outside,
    all_of_the_earlier_chapters_runs_without_rights,
    root_inside_has_no_power_outside,
    groups_that_take_rights_away_are_kept,
    the_containers_root_has_no_groups_of_the_caller,
    a_container_can_hold_another_one,
    when_the_runner_dies_the_new_root_dies,
    a_forbidden_namespace_names_its_switch,
    what_is_no_map_is_refused,
    a_range_of_ids_is_written_by_the_helpers,
    what_has_no_helper_is_told,
    the_program_runs_as_the_user_of_the_image,
    what_is_not_in_the_map_is_told,
    a_file_that_is_no_list_of_users_is_refused,
    a_volume_can_keep_its_owners,
];

/// The first id of the range that containers get in these tests.
pub(super) const FIRST: u32 = 100_000;

/// Without it, who has uid 0 may not let another namespace's root be 0, too (since Linux 5.12).
const CAP_SETFCAP: u64 = 31;

/// Whether this lab has more ids than one.
pub(super) fn has_many_ids(case: &Case) -> bool {
    case.ground == Ground::Root
}

/// The id of the ordinary user of this lab.
pub(super) fn ordinary_id(case: &Case) -> u32 {
    if has_many_ids(case) { 1000 } else { 0 }
}

/// Lets the command run as the ordinary user, a member of `groups`.
pub(super) fn become_ordinary(case: &Case, command: &mut Command, groups: &'static [u32]) {
    let many = has_many_ids(case);
    let id = ordinary_id(case);
    let give_up = move || {
        if !many {
            (0..=63).filter(|capability| *capability != CAP_SETFCAP).for_each(bounding_drop);
            return Ok(());
        }
        let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
        setgroups(&groups)?;
        nix::unistd::setgid(Gid::from_raw(id))?;
        Ok(nix::unistd::setuid(nix::unistd::Uid::from_raw(id))?)
    };
    // SAFETY: system calls, and one small list; the caller has one thread.
    unsafe { command.pre_exec(give_up) };
}

fn bounding_drop(capability: u64) {
    // SAFETY: numbers only. Numbers that are no capability are refused.
    unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
}

/// Runs a script as the ordinary user in a `demo` that is hers.
pub(super) fn ordinary(case: &Case, flags: &[&str], script: &str) -> Result<Run, Trouble> {
    own_demo(case, ordinary_id(case))?;
    let words = [&["run", "--rootfs", "demo"], flags, &["--", "sh", "-c", script]].concat();
    case.start_with(&words, |command| become_ordinary(case, command, &[]))?.wait()
}

/// Gives `demo` to a user, as far as there are such ids.
pub(super) fn own_demo(case: &Case, id: u32) -> Verdict {
    fn give(path: &Path, id: u32) -> std::io::Result<()> {
        lchown(path, Some(id), Some(id))?;
        if path.symlink_metadata()?.is_dir() {
            fs::read_dir(path)?.flatten().try_for_each(|entry| give(&entry.path(), id))?;
        }
        Ok(())
    }
    if has_many_ids(case) { Ok(give(&case.demo(), id)?) } else { Ok(()) }
}

pub fn root_inside_is_the_caller_outside(case: &Case) -> Verdict {
    let id = ordinary_id(case);
    let script = "id -u; id -g; cat /proc/self/uid_map; cat /proc/self/setgroups; touch /made";
    let run = ordinary(case, &[], script)?;
    let words: Vec<&str> = run.out.split_whitespace().collect();
    let expected = format!("0 0 0 {id} 1 deny");
    run.code_is(0)?
        .claim(words.join(" ") == expected, format!("ids, map and setgroups inside: {expected}"))?;
    same("the owner outside of a file made inside", id, fs::metadata(case.demo().join("made"))?.uid())?;
    let own = fs::read_link("/proc/self/ns/user")?.display().to_string();
    ordinary(case, &[], "readlink /proc/self/ns/user")?.out_has("user:[")?.out_lacks(&own)?;
    // Who has the right to share the host's ids, shares them.
    case.sh(&["--rootfs", "demo"], "readlink /proc/self/ns/user")?.out_is(&own)?;
    case.sh(&["--rootfs", "demo", "--userns", "host", "--uid-map", "0:0:1"], "true")?.code_is(125)?;
    Ok(())
}

pub fn all_of_the_earlier_chapters_runs_without_rights(case: &Case) -> Verdict {
    write(Path::new("/tmp/source/file"), "content\n")?;
    chown("/tmp/source", Some(ordinary_id(case)), Some(ordinary_id(case)))?;
    let flags = [
        "--hostname",
        "harbour",
        "--shm-size",
        "1m",
        "--tmpfs",
        "/scratch",
        "--read-only",
        "-v",
        "/tmp/source:/data",
    ];
    let script = "hostname; cat /data/file; echo x > /data/new && echo x > /scratch/new && echo x > /dev/shm/new && \
                  echo x > /dev/null && echo works; touch /file; touch /sys/file; ls /proc/1/comm /dev/mqueue; \
                  test -d /sys/kernel && head -c 3 /dev/urandom | wc -c";
    let run = ordinary(case, &flags, script)?;
    run.out_has("harbour\ncontent\nworks")?.out_has("/proc/1/comm")?.out_has("3")?;
    run.claim(run.err.matches("Read-only file system").count() == 2, "/ and /sys are read-only")?;
    // Rights in the namespaces that belong to the container: it may mount in them.
    ordinary(case, &[], "mount -t tmpfs none /mnt && echo mounted")?.out_is("mounted")?;
    Ok(())
}

pub fn root_inside_has_no_power_outside(case: &Case) -> Verdict {
    let renamed = ordinary(case, &["--uts", "host"], "hostname hijacked; hostname")?;
    renamed.out_lacks("hijacked")?.out_has(&nix::unistd::gethostname()?.to_string_lossy())?;
    ordinary(case, &[], "mknod /tmp/disk b 8 0 || echo no node")?.out_is("no node")?;
    // What the host mounted read-only is locked.
    mount_tmpfs(Path::new("/tmp/locked"))?;
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID;
    mount(None::<&str>, "/tmp/locked", None::<&str>, flags, None::<&str>)?;
    let script =
        "mount -o remount,bind,rw /data && echo unlocked; umount /data && echo gone; touch /data/new";
    let run = ordinary(case, &["-v", "/tmp/locked:/data"], script);
    let written = fs::exists("/tmp/locked/new")?;
    unmount(Path::new("/tmp/locked"))?;
    run?.out_lacks("unlocked")?
        .claim(!written, "what the host mounted read-only is read-only for the container's root")?;
    if has_many_ids(case) {
        power_over_others(case)?;
    }
    Ok(())
}

/// Files and processes of another user of the host.
fn power_over_others(case: &Case) -> Verdict {
    write(Path::new("/tmp/source/secret"), "of the host's root\n")?;
    fs::set_permissions("/tmp/source/secret", fs::Permissions::from_mode(0o600))?;
    let script = "cat /data/secret; chown 0 /data/secret && echo taken; stat -c %u /data/secret";
    let run = ordinary(case, &["-v", "/tmp/source:/data"], script)?;
    run.out_is("65534")?;
    let me = std::process::id();
    let script = format!("kill -KILL {me} && echo killed");
    ordinary(case, &["--pid", "host"], &script)?.out_lacks("killed")?;
    Ok(())
}

pub fn groups_that_take_rights_away_are_kept(case: &Case) -> Verdict {
    ordinary(case, &[], "cat /proc/self/setgroups")?.code_is(0)?.out_is("deny")?;
    if !has_many_ids(case) {
        return Ok(());
    }
    // Everybody may read it, but for the members of one group.
    write(Path::new("/tmp/source/file"), "not for the crew\n")?;
    chown("/tmp/source/file", Some(0), Some(1001))?;
    fs::set_permissions("/tmp/source/file", fs::Permissions::from_mode(0o604))?;
    let words = ["run", "--rootfs", "demo", "-v", "/tmp/source:/data", "--", "cat", "/data/file"];
    let member = case.start_with(&words, |command| become_ordinary(case, command, &[1001]))?.wait()?;
    member.out_is("")?.err_has("Permission denied")?;
    let other = case.start_with(&words, |command| become_ordinary(case, command, &[]))?.wait()?;
    other.out_is("not for the crew")?;
    Ok(())
}

pub fn the_containers_root_has_no_groups_of_the_caller(case: &Case) -> Verdict {
    let (map, groups) =
        if has_many_ids(case) { ("0:100000:65536", Some(FIRST + 20)) } else { ("0:0:1", None) };
    let words = ["run", "--rootfs", "demo", "--uid-map", map, "--", "id", "-G"];
    let take_groups =
        move || groups.map_or(Ok(()), |id| setgroups(&[Gid::from_raw(id)])).map_err(std::io::Error::from);
    let change = |command: &mut Command| {
        // SAFETY: one system call; the caller has one thread.
        unsafe { command.pre_exec(take_groups) };
    };
    let run = case.start_with(&words, change)?.wait()?;
    run.code_is(0)?.out_is("0")?;
    Ok(())
}

pub fn a_container_can_hold_another_one(case: &Case) -> Verdict {
    let bin = format!("{}/bin:/opt/bin:ro", crate::lab::HOME);
    let inner = format!(
        "/opt/bin/{} run --rootfs /inner --uid-map 0:0:1 -- sh -c 'id -u; echo $$; cat /proc/self/uid_map'",
        case.binary
    );
    // A second root file system, of which the first one's programs are a part.
    let make = "mkdir -p /inner/usr && for name in bin lib lib64 sbin; do cp -a /$name /inner/ 2>/dev/null; done; \
                mkdir -p /inner/proc /inner/sys /inner/dev /inner/etc /inner/tmp;";
    let flags = ["-v", &bin, "-v", "/run/lab/work/demo/usr:/inner/usr"];
    let run = ordinary(case, &flags, &format!("{make} {inner}"))?;
    let words: Vec<&str> = run.out.split_whitespace().collect();
    run.claim(words == ["0", "1", "0", "0", "1"], "root and PID 1 again, in a container in the container")?;
    Ok(())
}

pub fn when_the_runner_dies_the_new_root_dies(case: &Case) -> Verdict {
    let map = if has_many_ids(case) { "0:100000:65536" } else { "0:0:1" };
    let words = ["run", "--uid-map", map, "--", "sh", "-c", "echo ready; exec sleep 1000"];
    let runner = case.start(&words)?.until_ready()?;
    let child = children_of(runner.pid()).first().copied().ok_or_else(|| fail("the container", "none"))?;
    runner.signal(Signal::SIGKILL)?;
    runner.wait()?.code_is(137)?;
    eventually("the container is gone when its runner is, whatever id it took", || {
        Ok(state_of(child).is_none_or(|state| state == 'Z'))
    })
}

pub fn a_forbidden_namespace_names_its_switch(case: &Case) -> Verdict {
    let tried = |switch: &str, value: &str, name: &str| -> Verdict {
        let before = fs::read_to_string(switch)?;
        fs::write(switch, value)?;
        let run = ordinary(case, &[], "true");
        fs::write(switch, before)?;
        run?.code_is(125)?.err_has(name)?.err_has("sysctl")?.err_is_one_line()?;
        Ok(())
    };
    // A user namespace has a number of its own; root's lab would change the machine's, if that is not its own.
    let own_machine = fs::exists("/proc/exitcode")?;
    if !has_many_ids(case) || own_machine {
        tried("/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces")?;
    }
    let debian = "/proc/sys/kernel/unprivileged_userns_clone";
    if has_many_ids(case) && own_machine && fs::exists(debian)? {
        tried(debian, "0", "kernel.unprivileged_userns_clone")?;
    }
    ordinary(case, &[], "echo allowed")?.out_is("allowed")?;
    Ok(())
}

pub fn what_is_no_map_is_refused(case: &Case) -> Verdict {
    let table: [(&[&str], &str); 7] = [
        (&["0:0"], "INSIDE:OUTSIDE:COUNT"),
        (&["0:0:-1"], "INSIDE:OUTSIDE:COUNT"),
        (&["0:0:0"], "at least one"),
        (&["0:4294967295:2"], "none above"),
        (&["0:0:1", "0:1:1"], "overlap inside"),
        (&["0:0:1", "1:0:1"], "overlap outside"),
        (&["1:0:1"], "root"),
    ];
    for (ranges, words) in table {
        let flags: Vec<&str> = ranges.iter().flat_map(|range| ["--uid-map", range]).collect();
        let run = case.sh(&[&flags[..], &["--gid-map", "0:0:1"]].concat(), "true")?;
        run.code_is(125)?.err_has(words)?.err_is_one_line()?;
    }
    let works = case.sh(&["--uid-map", "0:0:1"], "id -u")?;
    works.code_is(0)?.out_is("0")?;
    Ok(())
}
