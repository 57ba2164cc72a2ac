//! Stage 3: what is claimed of `uts-ipc`, the runner of chapter 3. Joining and sharing stand in `uts_ipc_shared.rs`.
//!
//! As before, the tests of an exercise need it and those before it, and nothing behind it: what is said of names
//! runs with `--ipc host` and without a root file system, so that the second exercise has nothing to do.

use std::fs;
use std::process::Command;

use nix::unistd::{gethostname, sethostname};

use super::mount::full;
use super::process_descriptors::lab_path;
use super::uts_ipc_shared::{
    a_container_joins_the_names_of_another, a_kept_file_keeps_the_namespace,
    a_private_container_is_left_alone, a_shared_namespace_lives_until_its_last_process,
    the_hosts_shared_memory_can_be_shown, two_containers_share_all_of_their_ipc,
    what_is_no_such_namespace_is_refused, what_is_shared_is_for_data_only,
};
use crate::stage::case::{Case, Run};
use crate::stage::tests;
use crate::stage::verdict::{Trouble, Verdict, holds, same};

tests![
    a_name_given_is_the_containers_alone,
    a_new_name_of_the_host_does_not_come_in,
    a_name_that_does_not_fit_is_refused,
    system_v_objects_do_not_cross,
    posix_queues_do_not_cross,
    shared_memory_does_not_cross,
    dev_shm_has_a_size_and_holds_data_only,
    queues_are_seen_in_dev_mqueue,
    nothing_outlives_the_container,
    a_container_joins_the_names_of_another,
    a_kept_file_keeps_the_namespace,
    what_is_no_such_namespace_is_refused,
    two_containers_share_all_of_their_ipc,
    a_private_container_is_left_alone,
    the_hosts_shared_memory_can_be_shown,
    what_is_shared_is_for_data_only,
    a_shared_namespace_lives_until_its_last_process,
];

/// The flags under which only the names are isolated.
pub(super) const NAMES_ONLY: [&str; 2] = ["--ipc", "host"];

/// Runs a script that looks at names alone.
pub(super) fn names(case: &Case, flags: &[&str], script: &str) -> Result<Run, Trouble> {
    case.sh(&[&NAMES_ONLY, flags].concat(), script)
}

/// Runs the probe where the test stands: outside of every container.
pub(super) fn outside(words: &[&str]) -> Result<String, Trouble> {
    let output = Command::new("probe").args(words).output()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    holds(
        output.status.success(),
        format!("the test can run `probe {}`", words.join(" ")),
        String::from_utf8_lossy(&output.stderr),
    )?;
    Ok(text)
}

fn host_names() -> Result<[String; 2], Trouble> {
    let domain = fs::read_to_string("/proc/sys/kernel/domainname")?.trim().to_owned();
    Ok([gethostname()?.to_string_lossy().into_owned(), domain])
}

pub fn a_name_given_is_the_containers_alone(case: &Case) -> Verdict {
    let before = host_names()?;
    let flags = ["--hostname", "harbour", "--domainname", "sea.example"];
    let script = "hostname; cat /proc/sys/kernel/domainname; hostname hijacked && hostname";
    names(case, &flags, script)?.code_is(0)?.out_is("harbour\nsea.example\nhijacked")?;
    same("the host's names afterwards", &before, &host_names()?)?;
    // A new namespace begins as a copy.
    names(case, &[], "hostname; hostname hijacked && hostname")?
        .out_is(&format!("{}\nhijacked", before[0]))?;
    same("the host's names afterwards", &before, &host_names()?)?;
    // What is not isolated is shared, for writing too.
    let shared = names(case, &["--uts", "host"], "hostname renamed")?;
    let renamed = host_names()?;
    sethostname(&before[0])?;
    shared.code_is(0)?.claim(renamed[0] == "renamed", "with `--uts host` the names are the host's")?;
    names(case, &["--uts", "host", "--hostname", "harbour"], "true")?.code_is(125)?.err_is_one_line()?;
    Ok(())
}

pub fn a_new_name_of_the_host_does_not_come_in(case: &Case) -> Verdict {
    let [before, _] = host_names()?;
    let script = "echo ready; while ! test -e /tmp/go; do sleep 0.01; done; hostname";
    let words = [&["run"], &NAMES_ONLY[..], &["--hostname", "harbour", "--", "sh", "-c", script]].concat();
    let runner = case.start(&words)?.until_ready()?;
    sethostname("renamed")?;
    fs::write("/tmp/go", "")?;
    let run = runner.wait();
    sethostname(before)?;
    run?.out_is("ready\nharbour")?;
    Ok(())
}

pub fn a_name_that_does_not_fit_is_refused(case: &Case) -> Verdict {
    // Bytes count, not letters.
    for name in ["x".repeat(65), "é".repeat(33), "x".repeat(5000)] {
        for flag in ["--hostname", "--domainname"] {
            let run = names(case, &[flag, &name], "true")?;
            run.code_is(125)?.err_has("at most 64 bytes")?.err_is_one_line()?;
        }
    }
    let longest = "x".repeat(64);
    names(case, &["--hostname", &longest], "hostname")?.code_is(0)?.out_is(&longest)?;
    Ok(())
}

/// Makes something outside, looks for it inside, makes another one inside, and looks again on both sides.
fn does_not_cross(case: &Case, [make, find]: [&str; 2], name: &str, [outer, inner]: [&str; 2]) -> Verdict {
    same("before", "nothing".to_owned(), outside(&[find, name])?)?;
    outside(&[make, name, "outside"])?;
    let script = format!("probe {find} {name}; probe {make} {name} inside; probe {find} {name}");
    let run = case.sh(&["-e", &lab_path()], &script)?;
    let lines: Vec<&str> = run.out.lines().collect();
    run.claim(lines.first() == Some(&"nothing"), "what was made outside is not there inside")?;
    run.claim(lines.last() == Some(&inner), "inside, the same name is free, and means what was made inside")?;
    run.code_is(0)?;
    same("outside, the same name means what was made outside", outer.to_owned(), outside(&[find, name])?)
}

pub fn system_v_objects_do_not_cross(case: &Case) -> Verdict {
    let found = ["segment: outside, semaphores, queue", "segment: inside, semaphores, queue"];
    does_not_cross(case, ["sysv-make", "sysv"], "4711", found)
}

pub fn posix_queues_do_not_cross(case: &Case) -> Verdict {
    does_not_cross(case, ["queue-make", "queue"], "/bell", ["message: outside", "message: inside"])
}

pub fn shared_memory_does_not_cross(case: &Case) -> Verdict {
    fs::write("/dev/shm/outside", "")?;
    let run = full(case, &[], "ls /dev/shm; echo secret > /dev/shm/inside; ls /dev/shm")?;
    run.code_is(0)?.out_is("inside")?;
    let seen = fs::exists("/dev/shm/inside")?;
    run.claim(!seen, "a file in the container's /dev/shm is not in the host's")?;
    Ok(())
}

pub fn dev_shm_has_a_size_and_holds_data_only(case: &Case) -> Verdict {
    let script = "head -c 2000000 /dev/zero > /dev/shm/big; wc -c < /dev/shm/big; stat -c %a /dev/shm";
    let run = full(case, &["--shm-size", "1m"], script)?;
    let numbers: Vec<&str> = run.out.split_whitespace().collect();
    run.claim(numbers == ["1048576", "1777"], "1 MiB goes into /dev/shm and no more; its mode is 1777")?;
    full(case, &[], "grep ' /dev/shm ' /proc/mounts")?.out_has("size=65536k")?;
    full(case, &[], "probe flags /dev/shm /dev/mqueue")?
        .out_is("/dev/shm nosuid nodev noexec\n/dev/mqueue nosuid nodev noexec")?;
    for (mode, expected) in [("private", true), ("shareable", false)] {
        let run = full(case, &["--ipc", mode], "grep ' /dev/shm ' /proc/self/mountinfo")?;
        let words = if expected { "is unbindable" } else { "is not unbindable" };
        run.claim(
            run.out.contains("unbindable") == expected,
            format!("with --ipc {mode}, /dev/shm {words}"),
        )?;
    }
    // A tmpfs of size 0 would have no limit.
    for size in ["0", "much", "-1m"] {
        let flag = format!("--shm-size={size}");
        full(case, &[&flag], "true")?.code_is(125)?.err_has(size)?.err_is_one_line()?;
    }
    Ok(())
}

pub fn queues_are_seen_in_dev_mqueue(case: &Case) -> Verdict {
    let script = "probe queue-make /bell ding; ls /dev/mqueue; rm /dev/mqueue/bell; probe queue /bell";
    full(case, &[], script)?.code_is(0)?.out_is("made /bell\nbell\nnothing")?;
    Ok(())
}

pub fn nothing_outlives_the_container(case: &Case) -> Verdict {
    let tables = || -> Result<Vec<String>, Trouble> {
        Ok(["shm", "sem", "msg"]
            .map(|kind| fs::read_to_string(format!("/proc/sysvipc/{kind}")))
            .into_iter()
            .collect::<Result<_, _>>()?)
    };
    let before = tables()?;
    let make = "probe sysv-make 4711 x && probe queue-make /bell ding && echo x > /dev/shm/note";
    let run = full(case, &[], make)?;
    run.claim(tables()? == before, "the container's System V objects are not in the host's /proc/sysvipc")?;
    run.code_is(0)?;
    let look = "probe sysv 4711; probe queue /bell; ls /dev/shm /dev/mqueue | grep -v :";
    full(case, &[], look)?.out_is("nothing\nnothing")?;
    Ok(())
}
