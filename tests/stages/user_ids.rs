//! Stage 4: ranges of ids and the programs that write them, the program's user, and volumes that keep their owners.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::mount::{mount_tmpfs, unmount};
use super::user::{FIRST, become_ordinary, has_many_ids, ordinary_id, own_demo};
use crate::stage::case::{Case, Run, write};
use crate::stage::verdict::{Trouble, Verdict, same};

/// The first group id of that range.
const FIRST_GROUP: u32 = 200_000;

/// The users and groups of the image.
const PASSWD: &str =
    "root:x:0:0:root:/root:/bin/sh\ncook:x:0:0::/galley:/bin/sh\nmate:x:1000:1000::/home/mate:/bin/sh\n";
const GROUP: &str = "root:x:0:\nmate:x:1000:\ndeck:x:20:mate\nhold:x:21:mate\n";

/// A map that every lab can write, and one with the ids of `PASSWD` where there are many.
fn map(case: &Case) -> &'static str {
    if has_many_ids(case) { "0:100000:65536" } else { "0:0:1" }
}

/// Gives the image the users above.
fn furnish(case: &Case) -> Verdict {
    write(&case.demo().join("etc/passwd"), PASSWD)?;
    write(&case.demo().join("etc/group"), GROUP)
}

/// Runs a script as `user` in a user namespace of its own.
fn as_user(case: &Case, user: &str, script: &str) -> Result<Run, Trouble> {
    case.sh(&["--rootfs", "demo", "--uid-map", map(case), "--user", user], script)
}

/// Lets `text` stand in a file of the lab's own `/etc` until `then` is over.
fn with_file<T>(file: &str, text: &str, then: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
    let own = Path::new("/tmp/own").join(file.trim_start_matches('/'));
    write(&own, text)?;
    if !fs::exists(file)? {
        // The lab's /etc is the machine's, for reading only.
        return Err(Trouble::Skipped(format!("there is no {file} on which another could be laid")));
    }
    mount(Some(&own), file, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    let result = then();
    unmount(Path::new(file))?;
    result
}

/// `/etc/subuid` and `/etc/subgid` give the ordinary user a range.
fn with_range<T>(case: &Case, then: impl FnOnce() -> Result<T, Trouble>) -> Result<T, Trouble> {
    let text = |first| format!("somebody:300000:65536\n{}:{first}:65536\n", ordinary_id(case));
    with_file("/etc/subuid", &text(FIRST), || with_file("/etc/subgid", &text(FIRST_GROUP), then))
}

/// Runs a script as the ordinary user, who finds programs in `path`.
fn ordinary_with_path(case: &Case, path: &str, flags: &[&str], script: &str) -> Result<Run, Trouble> {
    own_demo(case, ordinary_id(case))?;
    let words = [&["run", "--rootfs", "demo"], flags, &["--", "sh", "-c", script]].concat();
    let change = |command: &mut std::process::Command| {
        command.env("PATH", path);
        become_ordinary(case, command, &[]);
    };
    case.start_with(&words, change)?.wait()
}

pub fn a_range_of_ids_is_written_by_the_helpers(case: &Case) -> Verdict {
    let id = ordinary_id(case);
    // Helpers that write down what they were asked for, and refuse.
    for name in ["newuidmap", "newgidmap"] {
        let script = format!(
            "#!/bin/sh\nreadlink /proc/$1/ns/user > /tmp/whose\nshift\necho {name} $# \"$@\" > /tmp/asked\necho 'not today' >&2\nexit 1\n"
        );
        write(&Path::new("/tmp/helpers").join(name), &script)?;
        fs::set_permissions(Path::new("/tmp/helpers").join(name), fs::Permissions::from_mode(0o755))?;
    }
    for file in ["/tmp/asked", "/tmp/whose"] {
        write(Path::new(file), "")?;
        fs::set_permissions(file, fs::Permissions::from_mode(0o666))?;
    }
    let run = with_range(case, || ordinary_with_path(case, "/tmp/helpers:/usr/bin:/bin", &[], "true"))?;
    let asked = fs::read_to_string("/tmp/asked")?;
    let wanted = format!("newgidmap 6 0 {id} 1 1 {FIRST_GROUP} 65536");
    run.claim(
        asked.trim() == wanted,
        format!("behind the PID, the name and the count of the words are: {wanted}; they were: {asked}"),
    )?;
    let (whose, own) = (fs::read_to_string("/tmp/whose")?, fs::read_link("/proc/self/ns/user")?);
    let in_another = whose.starts_with("user:") && whose.trim() != own.display().to_string();
    run.claim(in_another, format!("the PID is the child's, in a user namespace of its own, not {whose}"))?;
    run.code_is(125)?.err_has("not today")?.err_has("/etc/subgid")?.err_is_one_line()?;
    if has_many_ids(case) && fs::exists("/usr/bin/newuidmap")? { the_real_helpers(case) } else { Ok(()) }
}

/// With a line in `/etc/passwd` for the ordinary user, whom the helpers look up.
fn the_real_helpers(case: &Case) -> Verdict {
    let passwd = fs::read_to_string("/etc/passwd")? + "reader:x:1000:1000::/:/bin/sh\n";
    let script =
        "cat /proc/self/uid_map /proc/self/gid_map; cat /proc/self/setgroups; touch /made; chown 5:7 /made";
    let ranged = || with_range(case, || ordinary_with_path(case, "/usr/bin:/bin", &[], script));
    let run = with_file("/etc/passwd", &passwd, ranged)?;
    let words: Vec<&str> = run.out.split_whitespace().collect();
    let map = |first| ["0", "1000", "1", "1", first, "65536"];
    let expected = [&map("100000")[..], &map("200000")[..], &["allow"]].concat();
    run.code_is(0)?.claim(words == expected, format!("maps and setgroups: {expected:?}"))?;
    let made = fs::metadata(case.demo().join("made"))?;
    same("5:7 inside, seen from outside", (FIRST + 4, FIRST_GROUP + 6), (made.uid(), made.gid()))
}

pub fn what_has_no_helper_is_told(case: &Case) -> Verdict {
    let id = ordinary_id(case);
    let (own, range) = (format!("0:{id}:1"), format!("1:{FIRST}:100"));
    let run = ordinary_with_path(case, "/nowhere", &["--uid-map", &own, "--uid-map", &range], "true")?;
    run.code_is(125)?.err_has("newgidmap")?.err_has("package `uidmap`")?.err_is_one_line()?;
    // Without one, what was not asked for by a flag is left out: a range of the files is no reason to fail.
    let run = with_range(case, || ordinary_with_path(case, "/nowhere", &[], "cat /proc/self/uid_map"))?;
    let words: Vec<&str> = run.out.split_whitespace().collect();
    run.code_is(0)?.claim(words == ["0", &id.to_string(), "1"], format!("the map inside: 0 {id} 1"))?;
    Ok(())
}

pub fn the_program_runs_as_the_user_of_the_image(case: &Case) -> Verdict {
    furnish(case)?;
    let show = "id -u; id -g; id -G; echo $HOME; grep -E '^Cap(Eff|Prm)' /proc/self/status | cut -f 2";
    let said = |user: &str| -> Result<(Run, Vec<String>), Trouble> {
        let run = as_user(case, user, show)?;
        let lines = run.out.lines().map(str::to_owned).collect();
        Ok((run, lines))
    };
    // The same id may have two names; the one that was given says where home is.
    for (user, home) in [("cook", "/galley"), ("0", "/root"), ("0:0", "/root")] {
        let (run, lines) = said(user)?;
        run.code_is(0)?.claim(
            lines[..].get(..4).is_some_and(|start| start == ["0", "0", "0", home]),
            format!("{user} has uid, gid and group 0, and HOME {home}"),
        )?;
    }
    as_user(case, "cook", "echo $HOME")?.out_is("/galley")?;
    let flags = ["--rootfs", "demo", "--uid-map", map(case), "--user", "cook", "--env", "HOME=/elsewhere"];
    case.sh(&flags, "echo $HOME")?.out_is("/elsewhere")?;
    if has_many_ids(case) { users_of_many(said) } else { Ok(()) }
}

fn users_of_many(said: impl Fn(&str) -> Result<(Run, Vec<String>), Trouble>) -> Verdict {
    let none = "0000000000000000";
    let table = [
        ("mate", ["1000", "1000", "1000 20 21", "/home/mate"]),
        ("1000", ["1000", "1000", "1000 20 21", "/home/mate"]),
        ("mate:hold", ["1000", "21", "21", "/home/mate"]),
        ("5:6", ["5", "6", "6", "/"]),
    ];
    for (user, expected) in table {
        let (run, lines) = said(user)?;
        run.code_is(0)?.claim(
            lines[..].get(..4).is_some_and(|start| start == expected),
            format!("{user}: uid, gid, groups and HOME are {expected:?}"),
        )?;
        run.claim(lines.ends_with(&[none.into(), none.into()]), format!("{user} has no capability"))?;
    }
    Ok(())
}

pub fn what_is_not_in_the_map_is_told(case: &Case) -> Verdict {
    furnish(case)?;
    as_user(case, "0", "id -u")?.code_is(0)?.out_is("0")?;
    let outside_the_map = as_user(case, "70000", "true")?;
    outside_the_map.code_is(125)?.err_has("setresuid 70000")?.err_has("map")?.err_is_one_line()?;
    let outside_the_map = as_user(case, "0:70000", "true")?;
    outside_the_map.code_is(125)?.err_has("setresgid 70000")?.err_has("map")?.err_is_one_line()?;
    as_user(case, "pilot", "true")?.code_is(125)?.err_has("no such user")?.err_is_one_line()?;
    as_user(case, "mate:pilot", "true")?.code_is(125)?.err_has("no such group")?.err_is_one_line()?;
    Ok(())
}

pub fn a_file_that_is_no_list_of_users_is_refused(case: &Case) -> Verdict {
    furnish(case)?;
    let passwd = case.demo().join("etc/passwd");
    as_user(case, "cook", "echo $HOME")?.code_is(0)?.out_is("/galley")?;
    // A file outside, which a link of the image would like to be.
    write(Path::new("/tmp/outside/passwd"), "spy:x:0:0::/spy:/bin/sh\n")?;
    fs::remove_file(&passwd)?;
    std::os::unix::fs::symlink("/tmp/outside/passwd", &passwd)?;
    as_user(case, "spy", "echo $HOME")?.code_is(125)?.out_is("")?.err_has("no such user")?;
    fs::remove_file(&passwd)?;
    mkfifo(&passwd, Mode::from_bits_truncate(0o644))?;
    as_user(case, "cook", "true")?.code_is(125)?.err_has("no regular file")?.err_is_one_line()?;
    fs::remove_file(&passwd)?;
    write(&passwd, &"#".repeat((1 << 20) + 1))?;
    as_user(case, "cook", "true")?.code_is(125)?.err_has("1 MiB")?.err_is_one_line()?;
    Ok(())
}

pub fn a_volume_can_keep_its_owners(case: &Case) -> Verdict {
    if has_many_ids(case) {
        own_demo(case, FIRST)?;
    }
    // Of the lab's own: only who has mounted a file system may translate its owners.
    mount_tmpfs(Path::new("/tmp/source"))?;
    let verdict = owners(case);
    unmount(Path::new("/tmp/source"))?;
    verdict
}

fn owners(case: &Case) -> Verdict {
    write(Path::new("/tmp/source/root"), "of root\n")?;
    write(Path::new("/tmp/source/mate"), "of mate\n")?;
    let flags = ["--rootfs", "demo", "--uid-map", map(case)];
    let volume = [&flags[..], &["--idmap-volume", "/tmp/source:/data"]].concat();
    let options = "grep ' /data ' /proc/self/mountinfo | cut -d ' ' -f 6";
    case.sh(&volume, options)?.code_is(0)?.out_has("idmapped")?;
    case.sh(&volume, "stat -c %u /data/root; cat /data/root")?.out_is("0\nof root")?;
    let read_only = [&flags[..], &["--idmap-volume", "/tmp/source:/data:ro"]].concat();
    case.sh(&read_only, "echo x > /data/new")?
        .claim(!fs::exists("/tmp/source/new")?, "an idmapped volume can be read-only")?;
    // What the container's root does with the mount stays in the container.
    write(Path::new("/tmp/source/below/file"), "of the host\n")?;
    let cover = "mount -t tmpfs none /data/below && ls /data/below | wc -l";
    case.sh(&volume, cover)?.code_is(0)?.out_is("0")?.claim(
        fs::exists("/tmp/source/below/file")?,
        "what the container's root mounts on its volume does not reach the host",
    )?;
    std::os::unix::fs::symlink("/srv", case.demo().join("short"))?;
    let by_link = [&flags[..], &["--idmap-volume", "/tmp/source:/short"]].concat();
    case.sh(&by_link, "cat /srv/root")?.code_is(0)?.out_is("of root")?;
    if !has_many_ids(case) {
        let foreign = [&flags[..], &["--idmap-volume", "/etc:/data"]].concat();
        let run = case.sh(&foreign, "true")?;
        run.code_is(125)?.err_has("idmap /data: EPERM")?.err_has("CAP_SYS_ADMIN")?.err_is_one_line()?;
    }
    std::os::unix::fs::symlink("/", case.demo().join("loop"))?;
    let on_the_root = [&flags[..], &["--idmap-volume", "/tmp/source:/loop"]].concat();
    case.sh(&on_the_root, "true")?.code_is(125)?.err_has("the container's root itself")?;
    if has_many_ids(case) { owners_of_many(case, &flags, &volume) } else { Ok(()) }
}

fn owners_of_many(case: &Case, flags: &[&str], volume: &[&str]) -> Verdict {
    chown("/tmp/source/mate", Some(1000), Some(1000))?;
    let owners = "stat -c %u:%g /data/root /data/mate; echo new > /data/new";
    case.sh(volume, owners)?.code_is(0)?.out_is("0:0\n1000:1000")?;
    same(
        "the owner outside of a file that the container's root made",
        0,
        fs::metadata("/tmp/source/new")?.uid(),
    )?;
    // An ordinary volume shows owners that are not in the map as nobody.
    let plain = [flags, &["-v", "/tmp/source:/data"]].concat();
    case.sh(&plain, "stat -c %u /data/root; echo x > /data/root")?.out_is("65534")?;
    Ok(())
}
