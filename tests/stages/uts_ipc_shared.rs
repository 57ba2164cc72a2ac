//! Stage 3, the other way round: namespaces that are entered instead of made, and what two containers share.

use std::fs;
use std::path::Path;

use nix::mount::{MsFlags, mount};

use super::mount::{full, unmount};
use super::process::ready;
use super::uts_ipc::{NAMES_ONLY, names};
use crate::stage::case::{Case, Running};
use crate::stage::verdict::{Trouble, Verdict};

/// A container that says `ready`, waits for `/tmp/go` of the host or of its own, and runs `then`.
fn waiting(case: &Case, flags: &[&str], first: &str, then: &str) -> Result<(Running, i32), Trouble> {
    let script = format!("{first} echo ready; while ! test -e /tmp/go; do sleep 0.01; done; {then}");
    ready(case, flags, &script)
}

/// Lets a container in `demo` go on.
fn go(case: &Case) -> Verdict {
    Ok(fs::write(case.demo().join("tmp/go"), "")?)
}

pub fn a_container_joins_the_names_of_another(case: &Case) -> Verdict {
    let flags = [&NAMES_ONLY[..], &["--hostname", "harbour"]].concat();
    let (first, pid) = waiting(case, &flags, "", "hostname")?;
    let by_process = names(case, &["--uts", &format!("container:{pid}")], "hostname")?;
    let by_file = names(case, &["--uts", &format!("ns:/proc/{pid}/ns/uts")], "hostname; hostname quay")?;
    fs::write("/tmp/go", "")?;
    let first = first.wait()?;
    by_process.code_is(0)?.out_is("harbour")?;
    by_file.code_is(0)?.out_is("harbour")?;
    first.claim(
        first.out.trim() == "ready\nquay",
        "the second container renamed both: the first sees `quay`",
    )?;
    Ok(())
}

pub fn a_kept_file_keeps_the_namespace(case: &Case) -> Verdict {
    let kept = Path::new("/tmp/kept");
    fs::write(kept, "")?;
    let flags = [&NAMES_ONLY[..], &["--hostname", "harbour"]].concat();
    let (first, pid) = waiting(case, &flags, "", "true")?;
    let namespace = format!("/proc/{pid}/ns/uts");
    mount(Some(namespace.as_str()), kept, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
    fs::write("/tmp/go", "")?;
    first.wait()?.code_is(0)?;
    let run = names(case, &["--uts", "ns:/tmp/kept"], "hostname");
    unmount(kept)?;
    run?.code_is(0)?.out_is("harbour")?;
    Ok(())
}

pub fn what_is_no_such_namespace_is_refused(case: &Case) -> Verdict {
    let table = [
        ("container:4194304", "ESRCH"),
        ("ns:/no/such/file", "ENOENT"),
        ("ns:/etc/passwd", "no namespace of the kind"),
        ("ns:/proc/self/ns/mnt", "no namespace of the kind"),
        ("container:harbour", "there are private"),
        ("container:-1", "there are private"),
        ("ns:", "there are private"),
        ("nonsense", "there are private"),
    ];
    for (mode, words) in table {
        let run = names(case, &["--uts", mode], "true")?;
        run.code_is(125)?.err_has(words)?.err_is_one_line()?;
    }
    let own = format!("container:{}", std::process::id());
    names(case, &["--uts", &own], "true")?.code_is(0)?;
    names(case, &["--uts", &own, "--hostname", "x"], "true")?.code_is(125)?.err_is_one_line()?;
    Ok(())
}

/// A shareable container with one object of each kind; it ends when told to.
fn sharing(case: &Case, more: &str) -> Result<(Running, i32), Trouble> {
    let first = format!(
        "exec 3>&1 >/dev/null; probe sysv-make 4711 first; probe queue-make /bell ding; echo note > /dev/shm/note; {more} exec >&3;"
    );
    let then = "cat /dev/shm/reply; probe sysv 12";
    waiting(case, &["--rootfs", "demo", "--ipc", "shareable", "--shm-size", "1m"], &first, then)
}

pub fn two_containers_share_all_of_their_ipc(case: &Case) -> Verdict {
    let (first, pid) = sharing(case, "")?;
    let look = "probe sysv 4711; probe queue /bell; ls /dev/mqueue; cat /dev/shm/note; \
                echo reply > /dev/shm/reply; probe sysv-make 12 second";
    let second = full(case, &["--ipc", &format!("container:{pid}")], look)?;
    go(case)?;
    let first = first.wait()?;
    second
        .code_is(0)?
        .out_is("segment: first, semaphores, queue\nmessage: ding\nbell\nnote\nmade with key 12")?;
    first.out_has("reply\nsegment: second, semaphores, queue")?;
    // Without a /dev of its own there is nothing to show, and the rest is shared all the same.
    case.run(&["run", "--ipc", &format!("container:{}", std::process::id()), "--", "true"])?.code_is(0)?;
    case.run(&["run", "--ipc", "ns:/proc/self/ns/ipc", "--", "true"])?.code_is(125)?.err_is_one_line()?;
    Ok(())
}

pub fn a_private_container_is_left_alone(case: &Case) -> Verdict {
    let (first, pid) = waiting(case, &["--rootfs", "demo"], "echo secret > /dev/shm/secret;", "true")?;
    let mode = format!("container:{pid}");
    let second = full(case, &["--ipc", &mode], "cat /dev/shm/secret")?;
    let without_files = case.run(&["run", "--ipc", &mode, "--", "true"])?;
    go(case)?;
    first.wait()?.code_is(0)?;
    without_files.code_is(125)?.err_has("--ipc shareable")?.err_is_one_line()?;
    second.out_lacks("secret")?.code_is(125)?.err_has("--ipc shareable")?.err_is_one_line()?;
    Ok(())
}

pub fn the_hosts_shared_memory_can_be_shown(case: &Case) -> Verdict {
    fs::write("/dev/shm/outside", "of the host\n")?;
    let script = "cat /dev/shm/outside; echo reply > /dev/shm/inside; probe flags /dev/shm";
    let run = full(case, &["--ipc", "host"], script)?;
    run.code_is(0)?.out_is("of the host\n/dev/shm nosuid nodev noexec")?;
    let reply = fs::read_to_string("/dev/shm/inside").unwrap_or_default();
    run.claim(reply == "reply\n", "the host sees what the container writes there")?;
    full(case, &["--ipc", "host", "--shm-size", "1m"], "true")?.code_is(125)?.err_is_one_line()?;
    Ok(())
}

/// What an owner may do to the restrictions of its own mounts.
const REMOUNT: &str = "for place in shm mqueue; do mount -o remount,bind,exec,suid,dev /dev/$place; done;";

pub fn what_is_shared_is_for_data_only(case: &Case) -> Verdict {
    let (first, pid) = sharing(case, REMOUNT)?;
    let mode = format!("container:{pid}");
    let second = full(case, &["--ipc", &mode], "probe flags /dev/shm /dev/mqueue")?;
    go(case)?;
    first.wait()?;
    second.code_is(0)?.out_is("/dev/shm nosuid nodev noexec\n/dev/mqueue nosuid nodev noexec")?;
    // And what is called /dev/shm must be it.
    fs::remove_file(case.demo().join("tmp/go"))?;
    let (first, pid) = sharing(case, "umount /dev/shm; rmdir /dev/shm; ln -s /etc /dev/shm;")?;
    let mode = format!("container:{pid}");
    let second = full(case, &["--ipc", &mode], "ls /dev/shm/")?;
    go(case)?;
    first.wait()?;
    second.code_is(125)?.err_has("symbolic link")?.err_is_one_line()?;
    Ok(())
}

pub fn a_shared_namespace_lives_until_its_last_process(case: &Case) -> Verdict {
    let (first, pid) = sharing(case, "")?;
    let wait =
        "echo ready; while ! test -e /tmp/stop; do sleep 0.01; done; probe sysv 4711; cat /dev/shm/note";
    let mode = format!("container:{pid}");
    let flags = ["run", "--rootfs", "demo", "--ipc", &mode, "--", "sh", "-c", wait];
    let second = case.start(&flags)?.until_ready()?;
    go(case)?;
    first.wait()?;
    fs::write(case.demo().join("tmp/stop"), "")?;
    second.wait()?.out_is("ready\nsegment: first, semaphores, queue\nnote")?;
    full(case, &["--ipc", &mode], "true")?.code_is(125)?.err_has("ESRCH")?;
    Ok(())
}
