//! Stage 8: filters for system calls. `probe call` makes calls by number, whatever a library thinks of them.
//! What is read in a profile, and what is refused, stands in `security_profile.rs`.

use std::path::Path;

use super::mount::full;
use super::security::{FILTERED, FOURTEEN, MIGHTY, Mighty, filtered, has_users, open};
use crate::stage::case::{Case, write};
use crate::stage::verdict::{Trouble, Verdict};

/// Puts a profile into a file of the lab; the option that names it.
pub(super) fn profile(name: &str, text: &str) -> Result<String, Trouble> {
    let path = format!("/tmp/{name}.json");
    write(Path::new(&path), text)?;
    Ok(format!("seccomp={path}"))
}

/// A profile that allows everything but these rules.
pub(super) fn all_but(name: &str, rules: &str) -> Result<String, Trouble> {
    profile(name, &format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{rules}]}}"#))
}

/// A line of a script that makes a call, and what it must print.
pub(super) fn called(number: i64, arguments: &str) -> String {
    format!("probe call {number} {arguments}")
}

pub fn a_filter_forbids_what_its_profile_says(case: &Case) -> Verdict {
    let option = all_but(
        "some",
        r#"{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":28},
           {"names":["getppid"],"action":"SCMP_ACT_ERRNO"},
           {"names":["sethostname"],"action":"SCMP_ACT_KILL_PROCESS"},
           {"names":["syslog"],"action":"SCMP_ACT_TRAP"},{"names":["sync"],"action":"SCMP_ACT_LOG"},
           {"names":["ptrace"],"action":"SCMP_ACT_TRACE"}"#,
    )?;
    let flags = ["--security-opt", &option];
    let script = format!(
        "grep Seccomp: /proc/self/status; mkdir /new; {}; {}; {}; {}",
        called(libc::SYS_getppid, ""),
        called(libc::SYS_getpid, ""),
        called(libc::SYS_sync, ""),
        called(libc::SYS_ptrace, "0")
    );
    let run = filtered(case, &flags, &script)?;
    run.code_is(0)?.out_is("Seccomp:\t2\nEPERM\nok\nok\nENOSYS")?.err_has("No space left on device")?;
    // 31 is SIGSYS; a shell says 128 more.
    for call in [libc::SYS_sethostname, libc::SYS_syslog] {
        filtered(case, &flags, &format!("{}; echo $?", called(call, "")))?.out_is("159")?;
    }
    // Whatever it starts is under the same filter.
    filtered(case, &flags, &format!("sh -c 'sh -c \"{}\"'", called(libc::SYS_getppid, "")))?
        .out_is("EPERM")?;
    open(case, &[], "grep Seccomp: /proc/self/status")?.out_is("Seccomp:\t0")?;
    Ok(())
}

pub fn every_way_to_a_call_is_guarded(case: &Case) -> Verdict {
    let option = all_but("mkdir", r#"{"names":["mkdir","getppid"],"action":"SCMP_ACT_ERRNO"}"#)?;
    let flags = ["--security-opt", &option];
    filtered(case, &flags, &called(libc::SYS_getppid, ""))?.out_is("EPERM")?;
    the_program_says_so(case)?;
    if !cfg!(target_arch = "x86_64") {
        return Ok(());
    }
    // The x32 bit makes another number of the same call. Most kernels have no x32, and say so themselves.
    let x32 = |number: i64| called(number | 0x4000_0000, "");
    filtered(case, &flags, &format!("{}; {}", x32(libc::SYS_getppid), x32(libc::SYS_getpid)))?
        .out_is("ENOSYS\nENOSYS")?;
    // i386 has 20 for getpid and 64 for getppid. Where the kernel runs no 32-bit programs, there is no door to guard.
    const PROBE: [&str; 2] = ["probe call32 20", "probe call32 64"];
    if open(case, &[], PROBE[0])?.out.trim() != "ok" {
        return Ok(());
    }
    filtered(case, &flags, &PROBE.join("; "))?.out_is("ENOSYS\nENOSYS")?;
    // With a door, the rules stand behind it, too: under i386's numbers.
    let open_door = profile(
        "both",
        r#"{"defaultAction":"SCMP_ACT_ALLOW",
            "archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86","SCMP_ARCH_X32"]}],
            "syscalls":[{"names":["mkdir","getppid"],"action":"SCMP_ACT_ERRNO"}]}"#,
    )?;
    // 83 is mkdir on x86-64, and symlink on i386: it is made, and finds no names at address 0.
    let script = format!("{}; probe call32 83; {}", PROBE.join("; "), x32(libc::SYS_getppid));
    filtered(case, &["--security-opt", &open_door], &script)?.out_is("ok\nEPERM\nEFAULT\nENOSYS")?;
    Ok(())
}

/// What the program itself answers, whatever this kernel has: hardly one has x32.
fn the_program_says_so(case: &Case) -> Verdict {
    let asked = |call: &str, more: &[&str]| {
        case.run(&[&["seccomp", "--profile", "/tmp/mkdir.json", "--call", call], more].concat())
    };
    asked("getpid", &[])?.code_is(0)?.out_has("allow, after")?;
    if cfg!(target_arch = "x86_64") {
        // 0x40000027 and 0x4000006e: getpid and getppid with the bit of x32.
        for call in ["0x40000027", "0x4000006e", "1073741863"] {
            asked(call, &[])?.code_is(0)?.out_has("ENOSYS, after")?;
        }
        asked("getpid", &["--i386"])?.code_is(0)?.out_has("ENOSYS, after")?;
    }
    Ok(())
}

pub fn new_calls_do_not_exist(case: &Case) -> Verdict {
    let option = profile(
        "old",
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["getppid"],"action":"SCMP_ACT_ERRNO"}]}"#,
    )?;
    let unborn = called(9999, "");
    // Allowed, and the kernel itself has none.
    filtered(case, &["--security-opt", &option], &unborn)?.out_is("ENOSYS")?;
    let text = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":13,"syscalls":[{"names":["read","openat2"],"action":"SCMP_ACT_ALLOW"}]}"#;
    profile("list", text)?;
    // Younger than openat2, and between the two.
    for (call, answer) in
        [("mount_setattr", "ENOSYS"), ("mount", "EACCES"), ("openat2", "allow"), ("4000", "ENOSYS")]
    {
        let run = case.run(&["seccomp", "--profile", "/tmp/list.json", "--call", call])?;
        run.code_is(0)?.out_has(&format!("{answer}, after"))?;
    }
    Ok(())
}

/// A profile can forbid everything that made the container: it comes last.
pub fn the_filter_comes_last(case: &Case) -> Verdict {
    let names = r#""mount","umount2","pivot_root","move_mount","open_tree","fsopen","mount_setattr","setresuid","setresgid",
        "setgroups","keyctl","sethostname","unshare","setns","clone3","openat2","capset","seccomp""#;
    let option = all_but("late", &format!(r#"{{"names":[{names}],"action":"SCMP_ACT_KILL_PROCESS"}}"#))?;
    let user: &[&str] = if has_users(case) { &["--user", "1000"] } else { &[] };
    let permitted = if has_users(case) { 0 } else { FOURTEEN };
    let expected = format!(
        "CapPrm:\t{permitted:016x}\nCapEff:\t{permitted:016x}\nCapBnd:\t{FOURTEEN:016x}\nSeccomp:\t2"
    );
    let script = "grep -E '^(CapPrm|CapEff|CapBnd|Seccomp):' /proc/self/status";
    let more = ["--hostname", "harbour", "--ulimit", "nofile=64", "--security-opt", &option];
    for last in [&[][..], &["--security-opt", "no-new-privileges"]] {
        // As its own user it is late, too: whoever is no longer root could not put it on without keeping a right.
        let run = filtered(case, &[user, &more, last].concat(), script)?;
        run.code_is(0)?.out_is(&expected)?;
    }
    // What the runner itself must still do cannot be forbidden; it says so before anything exists.
    for call in ["execve", "chdir", "prctl"] {
        let option = all_but(call, &format!(r#"{{"names":["{call}"],"action":"SCMP_ACT_KILL_PROCESS"}}"#))?;
        let run = filtered(case, &["--security-opt", &option], "true")?;
        run.code_is(125)?.err_has(&format!("`{call}`"))?.err_is_one_line()?;
    }
    Ok(())
}

pub fn init_runs_under_a_filter(case: &Case) -> Verdict {
    let option = all_but("init", r#"{"names":["clone3","mount"],"action":"SCMP_ACT_ERRNO","errnoRet":38}"#)?;
    let flags = ["--init", "--security-opt", &option];
    let script = "grep -E '^(CapPrm|CapEff|Seccomp):' /proc/1/status; exit 7";
    let expected = format!("CapPrm:\t{FOURTEEN:016x}\nCapEff:\t{FOURTEEN:016x}\nSeccomp:\t2");
    filtered(case, &flags, script)?.code_is(7)?.out_is(&expected)?;
    let late = all_but("no-capset", r#"{"names":["capset"],"action":"SCMP_ACT_ERRNO"}"#)?;
    let flags = ["--init", "--security-opt", &late];
    filtered(case, &flags, script)?.code_is(125)?.err_has("capset")?.err_is_one_line()?;
    let flags = [&flags[..], &["--security-opt", "no-new-privileges"]].concat();
    filtered(case, &flags, script)?.code_is(7)?.out_is(&expected)?;
    if has_users(case) {
        // It has become the program's user, too, and keeps nothing that the program has not.
        let expected = "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nSeccomp:\t2";
        filtered(case, &["--init", "--user", "1000"], script)?.code_is(7)?.out_is(expected)?;
    }
    Ok(())
}

/// Calls that Docker's default profile answers with EPERM.
const FORBIDDEN: [i64; 21] = [
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_init_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_open_by_handle_at,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_quotactl,
    libc::SYS_acct,
    libc::SYS_settimeofday,
    libc::SYS_move_mount,
];

pub fn dockers_profile_forbids_what_it_should(case: &Case) -> Verdict {
    let script: Vec<String> = FORBIDDEN.iter().map(|number| called(*number, "")).collect();
    let run = filtered(case, &[], &script.join("; "))?;
    let answers: Vec<&str> = run.out.split_whitespace().collect();
    for (index, number) in FORBIDDEN.iter().enumerate() {
        run.claim(answers.get(index) == Some(&"EPERM"), format!("EPERM for call {number}"))?;
    }
    filtered(case, &[], &called(libc::SYS_clone3, ""))?.out_is("ENOSYS")?;
    // Without the filter the kernel says something else to such nonsense, or does it: so it is the filter that speaks.
    for (number, answer) in [(libc::SYS_keyctl, "EINVAL"), (libc::SYS_clone3, "EINVAL")] {
        open(case, &[], &called(number, ""))?.out_is(answer)?;
    }
    let admin = ["--cap-add", "SYS_ADMIN"];
    filtered(case, &admin, &called(libc::SYS_clone3, ""))?.out_is("EINVAL")?;
    filtered(case, &admin, "unshare -u true && echo unshared")?.out_is("unshared")?;
    // What programs live by works.
    let script = "sh -c 'sleep 0 & wait' && ls / > /dev/null && echo x > /tmp/x && cat /tmp/x";
    filtered(case, &[], script)?.code_is(0)?.out_is("x")?;
    by_i386(case)
}

/// The same profile for 32-bit programs, where the kernel runs them: getpid, mount, keyctl, and the call that makes
/// sockets in a way that no filter can see.
fn by_i386(case: &Case) -> Verdict {
    if cfg!(target_arch = "x86_64") && open(case, &[], "probe call32 20")?.out.trim() == "ok" {
        let script = "probe call32 20; probe call32 21; probe call32 288; probe call32 102 1";
        filtered(case, &[], script)?.out_is("ok\nEPERM\nEPERM\nENOSYS")?;
    }
    Ok(())
}

pub fn arguments_are_compared_in_full(case: &Case) -> Verdict {
    let socket = |family: &str| called(libc::SYS_socket, &format!("{family} 1 0"));
    let personality = |value: &str| called(libc::SYS_personality, value);
    for (call, answer) in [
        (socket("1"), "ok"),
        (socket("2"), "ok"),
        (socket("40"), "EPERM"),
        (socket("38"), "EPERM"),
        // The kernel looks at 32 bits of a family, and the filter at 64: nothing may hide in the upper half.
        (socket("0x100000028"), "EPERM"),
        (socket("0x100000001"), "EPERM"),
        (personality("0"), "ok"),
        (personality("8"), "ok"),
        (personality("0xffffffff"), "ok"),
        (personality("0x40000"), "EPERM"),
        // Who types into a terminal of the caller types for the caller; stdin is none here, as the last one says.
        (called(libc::SYS_ioctl, "0 0x5412"), "EPERM"),
        (called(libc::SYS_ioctl, "0 0x100005412"), "EPERM"),
        (called(libc::SYS_ioctl, "0 0x541c"), "EPERM"),
        (called(libc::SYS_ioctl, "0 0x5401"), "ENOTTY"),
        // A namespace among the flags of clone, which fork needs without.
        (called(libc::SYS_clone, "0x10000011"), "EPERM"),
    ] {
        let run = filtered(case, &[], &call)?;
        run.claim(run.out.trim() == answer, format!("{answer} for {call}"))?;
    }
    // Where a profile allows all that it does not name, the same.
    let option = all_but("open", r#"{"names":["getppid"],"action":"SCMP_ACT_ERRNO"}"#)?;
    let script = format!("{}; {}", called(libc::SYS_ioctl, "0 0x5412"), called(libc::SYS_ioctl, "0 0x5401"));
    filtered(case, &["--security-opt", &option], &script)?.out_is("EPERM\nENOTTY")?;
    compared(case)?;
    masked(case)
}

/// The value is 0x2_0000_0005: of those compared with it, the first and last differ in the upper half.
fn compared(case: &Case) -> Verdict {
    let text = |op: &str| {
        format!(
            r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{{"names":["kill"],"action":"SCMP_ACT_ALLOW",
            "args":[{{"index":1,"value":8589934597,"valueTwo":4294967300,"op":"SCMP_CMP_{op}"}}]}}]}}"#
        )
    };
    let values = ["0x100000009", "0x200000004", "0x200000005", "0x200000006", "0x300000001"];
    for (op, allowed) in [
        ("EQ", [false, false, true, false, false]),
        ("NE", [true, true, false, true, true]),
        ("GT", [false, false, false, true, true]),
        ("GE", [false, false, true, true, true]),
        ("LT", [true, true, false, false, false]),
        ("LE", [true, true, true, false, false]),
    ] {
        profile("compare", &text(op))?;
        for (value, allowed) in values.iter().zip(allowed) {
            let call = format!("kill 0 {value}");
            let run = case.run(&["seccomp", "--profile", "/tmp/compare.json", "--call", &call])?;
            let answer = if allowed { "allow," } else { "EPERM," };
            run.code_is(0)?
                .claim(run.out.starts_with(answer), format!("{answer} if {value} {op} 0x200000005"))?;
        }
    }
    Ok(())
}

/// The mask is 0xf000_0000_f, the value under it 0x1_0000_0003.
fn masked(case: &Case) -> Verdict {
    profile(
        "masked",
        r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["kill"],"action":"SCMP_ACT_ALLOW",
            "args":[{"index":0,"value":64424509455,"valueTwo":4294967299,"op":"SCMP_CMP_MASKED_EQ"},
            {"index":5,"value":7,"op":"SCMP_CMP_EQ"}]}]}"#,
    )?;
    for (value, last, answer) in [
        ("0x100000003", 7, "allow"),
        ("0x1f1fffff3", 7, "EPERM"),
        ("0x1fffffff3", 8, "EPERM"),
        ("0x100ffff03", 7, "allow"),
        ("0x000000003", 7, "EPERM"),
        ("0x100000002", 7, "EPERM"),
    ] {
        let answer = if value == "0x1f1fffff3" { "allow" } else { answer };
        let call = format!("kill {value} 0 0 0 0 {last}");
        let run = case.run(&["seccomp", "--profile", "/tmp/masked.json", "--call", &call])?;
        run.code_is(0)?.claim(run.out.starts_with(answer), format!("{answer} for {call}"))?;
    }
    Ok(())
}

/// With no_new_privs a file that belongs to root gives nothing to who runs it.
pub fn privileges_do_not_come_back(case: &Case) -> Verdict {
    let no_new = ["--security-opt", "no-new-privileges"];
    let script = "grep NoNewPrivs /proc/self/status";
    full(case, &[&FILTERED[..], &no_new].concat(), script)?.out_is("NoNewPrivs:\t1")?;
    for option in ["no-new-privileges:false", "no-new-privileges=false"] {
        filtered(case, &["--security-opt", option], script)?.out_is("NoNewPrivs:\t0")?;
    }
    // As in Docker, whoever wants it says so.
    filtered(case, &[], script)?.out_is("NoNewPrivs:\t0")?;
    if !has_users(case) {
        return Ok(());
    }
    let _files = Mighty::new(case)?;
    let script = "/mighty/of-root capabilities | grep CapEff";
    let user = [&MIGHTY[..], &["--user", "1000"]].concat();
    filtered(case, &user, script)?.out_is(&format!("CapEff {FOURTEEN:016x}"))?;
    filtered(case, &[&user[..], &no_new].concat(), script)?.out_is("CapEff 0000000000000000")?;
    Ok(())
}
