//! Stage 8: profiles, which rules of them count, and those that are refused before anything is made.

use std::fs;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::security::{FOURTEEN, filtered, open};
use super::security_seccomp::{all_but, profile};
use crate::stage::case::Case;
use crate::stage::verdict::Verdict;

pub fn a_profile_depends_on_the_container(case: &Case) -> Verdict {
    let text = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":13,
        "archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]}],
        "syscalls":[{"names":["read","fly"],"action":"SCMP_ACT_ALLOW"},
        {"names":["mount"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN"]}},
        {"names":["umount2"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN","CAP_KILL"]}},
        {"names":["clone3"],"action":"SCMP_ACT_ERRNO","errnoRet":38,"excludes":{"caps":["CAP_SYS_ADMIN","CAP_SYS_TIME"]}},
        {"names":["ptrace"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"4.8"}},
        {"names":["bpf"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"99.0"}},
        {"names":["kill"],"action":"SCMP_ACT_LOG","excludes":{"minKernel":"4.8"}},
        {"names":["tkill"],"action":"SCMP_ACT_LOG","includes":{"arches":["s390x"]}},
        {"names":["syslog"],"action":"SCMP_ACT_TRAP","includes":{"arches":["amd64","arm64"]}}]}"#;
    profile("conditions", text)?;
    let explain = ["seccomp", "--profile", "/tmp/conditions.json", "--explain"];
    let run = case.run(&explain)?;
    run.code_is(0)?
        .out_has("allow: read ptrace\n")?
        .out_has("ENOSYS: clone3\n")?
        .out_has("SIGSYS: syslog\n")?;
    let rest = run.out.lines().find(|line| line.starts_with("EACCES")).unwrap_or_default().to_owned();
    for name in ["mount", "umount2", "bpf", "kill", "tkill", "write"] {
        run.claim(
            rest.split(' ').any(|word| word == name),
            format!("{name} among those that no rule counts for, answered EACCES"),
        )?;
    }
    let admin = case.run(&[&explain[..], &["--cap-add", "SYS_ADMIN"]].concat())?;
    admin.out_has("allow: read ptrace mount umount2\n")?.out_lacks("ENOSYS")?;
    let admin = case.run(&[&explain[..], &["--cap-add", "SYS_ADMIN", "--cap-drop", "KILL"]].concat())?;
    admin.out_has("allow: read ptrace mount\n")?;
    case.run(&[&explain[..], &["--i386"]].concat())?.code_is(0)?.out_has("allow: ")?;
    Ok(())
}

pub fn a_profile_that_is_none_is_told(case: &Case) -> Verdict {
    for (name, text, words) in [
        ("json", "{", "EOF"),
        ("action", r#"{"defaultAction":"SCMP_ACT_FLY"}"#, "SCMP_ACT_FLY"),
        ("notify", r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#, "SCMP_ACT_NOTIFY"),
        ("key", r#"{"defaultAction":"SCMP_ACT_ALLOW","sycalls":[]}"#, "sycalls"),
        ("empty", r#"{"syscalls":[]}"#, "defaultAction"),
        (
            "argument",
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["kill"],"action":"SCMP_ACT_LOG",
               "args":[{"index":6,"value":1,"op":"SCMP_CMP_EQ"}]}]}"#,
            "six arguments",
        ),
        (
            "kernel",
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["kill"],"action":"SCMP_ACT_ERRNO",
               "includes":{"minKernel":"v4.8"}}]}"#,
            "`4.8`",
        ),
    ] {
        let option = profile(name, text)?;
        let run = open(case, &["--security-opt", &option], "true")?;
        run.code_is(125)?.err_has(words)?.err_is_one_line()?;
    }
    let run = open(case, &["--security-opt", "seccomp=/tmp/nowhere.json"], "true")?;
    run.code_is(125)?.err_has("/tmp/nowhere.json")?.err_has("ENOENT")?.err_is_one_line()?;
    what_is_no_file_is_not_read(case)?;
    open(case, &["--security-opt", "seccomp="], "true")?.code_is(125)?.err_is_one_line()?;
    let good = profile("good", r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#)?;
    case.run(&["seccomp", "--profile", good.trim_start_matches("seccomp="), "--explain"])?.code_is(0)?;
    Ok(())
}

/// No end of it can be waited for, or read.
fn what_is_no_file_is_not_read(case: &Case) -> Verdict {
    mkfifo("/tmp/pipe.json", Mode::S_IRUSR)?;
    for (path, words) in [
        ("/tmp/pipe.json", "no file"),
        ("/dev/zero", "no file"),
        ("/tmp", "no file"),
        ("/tmp/long.json", "1 MiB"),
    ] {
        fs::write("/tmp/long.json", " ".repeat((1 << 20) + 1))?;
        let run = open(case, &["--security-opt", &format!("seccomp={path}")], "true")?;
        run.code_is(125)?.err_has(words)?.err_is_one_line()?;
    }
    Ok(())
}

/// An answer that is no error and no call either, for some arguments: whoever is told so believes that it was done.
fn lie(name: &str, index: u8) -> String {
    let test = format!(r#"{{"index":{index},"value":0,"op":"SCMP_CMP_NE"}}"#);
    format!(r#"{{"names":["{name}"],"action":"SCMP_ACT_ERRNO","errnoRet":0,"args":[{test}]}}"#)
}

/// A profile that forbids what the runner needs for some arguments only, which nobody can know before.
pub fn a_profile_cannot_lie_to_the_runner(case: &Case) -> Verdict {
    let killed = lie("execve", 0).replace("SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS");
    for (name, rule) in [("close_range", lie("close_range", 1)), ("execve", killed)] {
        let option = all_but(name, &rule)?;
        let run = filtered(case, &["--security-opt", &option], "ls /proc/self/fd")?;
        run.code_is(125)?.err_has(&format!("`{name}`"))?.err_is_one_line()?;
    }
    let option = all_but("half-capset", &lie("capset", 0))?;
    let run = filtered(case, &["--init", "--security-opt", &option], "true")?;
    run.code_is(125)?.err_has("`capset`")?.err_is_one_line()?;
    // Without init, exec itself takes what capset would have taken.
    let script = "grep -E '^Cap(Prm|Eff):' /proc/self/status";
    let expected = format!("CapPrm:\t{FOURTEEN:016x}\nCapEff:\t{FOURTEEN:016x}");
    filtered(case, &["--security-opt", &option], script)?.code_is(0)?.out_is(&expected)?;
    // What the runner does not need may depend on what it likes.
    let option = all_but("half-mount", &lie("mount", 0))?;
    filtered(case, &["--init", "--security-opt", &option], "echo started")?.out_is("started")?;
    Ok(())
}
