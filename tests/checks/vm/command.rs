//! A command's exit code, output, environment and working directory.

use std::fs::{self, File};

use anyhow::Result;
use workshop::vm::{Failure, Sink};

use crate::{Check, Folder, lab, sh, text};

pub const CHECKS: &[Check] = &[
    ("the_exit_code_comes_back", the_exit_code_comes_back),
    ("a_signal_is_128_plus_its_number", a_signal_is_128_plus_its_number),
    ("a_program_that_cannot_start_is_127_or_126", a_program_that_cannot_start_is_127_or_126),
    ("stdout_and_stderr_stay_apart", stdout_and_stderr_stay_apart),
    ("every_byte_passes_unchanged", every_byte_passes_unchanged),
    ("much_output_arrives_whole", much_output_arrives_whole),
    ("output_is_a_pipe_and_input_is_empty", output_is_a_pipe_and_input_is_empty),
    ("the_environment_is_exactly_what_was_given", the_environment_is_exactly_what_was_given),
    ("arguments_pass_unchanged", arguments_pass_unchanged),
    ("the_working_directory_is_the_one_given", the_working_directory_is_the_one_given),
    ("an_orphan_does_not_hold_the_machine", an_orphan_does_not_hold_the_machine),
    ("another_user_runs_without_roots_groups", another_user_runs_without_roots_groups),
];

fn the_exit_code_comes_back() -> Result<()> {
    for code in [0, 1, 42, 255] {
        assert_eq!(sh(&format!("exit {code}"))?.code, code);
    }
    Ok(())
}

fn a_signal_is_128_plus_its_number() -> Result<()> {
    assert_eq!(sh("kill -TERM $$")?.code, 143);
    assert_eq!(sh("kill -KILL $$")?.code, 137);
    Ok(())
}

fn a_program_that_cannot_start_is_127_or_126() -> Result<()> {
    let missing = lab()?.run(["/no/such/program"])?;
    assert_eq!(missing.code, 127);
    assert!(text(&missing.stderr).contains("/no/such/program"), "{}", text(&missing.stderr));
    assert_eq!(lab()?.run(["/etc/passwd"])?.code, 126);
    Ok(())
}

fn stdout_and_stderr_stay_apart() -> Result<()> {
    let outcome = sh("echo harbour; echo storm >&2; echo quay")?;
    assert_eq!(text(&outcome.stdout), "harbour\nquay");
    assert_eq!(text(&outcome.stderr), "storm");
    Ok(())
}

fn every_byte_passes_unchanged() -> Result<()> {
    let folder = Folder::new("bytes")?;
    let bytes: Vec<u8> = (0..=255).cycle().take(4096).collect();
    fs::write(folder.0.join("bytes"), &bytes)?;
    let outcome = lab()?.share(&folder.0).run(["sh", "-c", "cat bytes; cat bytes >&2"])?;
    assert!(outcome.stdout == bytes, "standard output was changed");
    assert!(outcome.stderr == bytes, "standard error was changed");
    Ok(())
}

fn much_output_arrives_whole() -> Result<()> {
    let folder = Folder::new("much")?;
    let file = folder.0.join("out");
    let machine = lab()?.stdout(Sink::File(File::create(&file)?)).stderr(Sink::Null);
    let outcome = machine.run(["sh", "-c", "seq 1 500000; seq 1 500000 >&2"])?;
    assert_eq!((outcome.code, outcome.stdout.len(), outcome.stderr.len()), (0, 0, 0));
    let expected: String = (1..=500_000).map(|number| format!("{number}\n")).collect();
    assert!(fs::read_to_string(file)? == expected, "lines are missing or changed");
    Ok(())
}

fn output_is_a_pipe_and_input_is_empty() -> Result<()> {
    // The list goes through no pipe: while the shell starts one, its ends are among the shell's own descriptors.
    let outcome = sh("cat | wc -c; test -t 1 || test -t 2 || echo no terminal; ls /proc/$$/fd; exit")?;
    assert_eq!(text(&outcome.stdout), "0\nno terminal\n0\n1\n2");
    Ok(())
}

fn the_environment_is_exactly_what_was_given() -> Result<()> {
    let machine = lab()?
        .env("HARBOUR", "deep")
        .env("ODD", "a=b \" '\n\u{e9}")
        .env("HARBOUR", "calm")
        .env("PATH", "/bin:/usr/bin");
    let outcome = machine.run(["env", "-0"])?;
    let mut seen: Vec<_> = outcome.stdout.split(|byte| *byte == 0).filter(|part| !part.is_empty()).collect();
    seen.sort();
    assert_eq!(seen, ["HARBOUR=calm".as_bytes(), "ODD=a=b \" '\n\u{e9}".as_bytes(), b"PATH=/bin:/usr/bin"]);
    Ok(())
}

fn arguments_pass_unchanged() -> Result<()> {
    let long = "x".repeat(100_000);
    let outcome = lab()?.run(["printf", "<%s>", "", "two words", "\n", "\"'$HOME", "--", long.as_str()])?;
    let expected = format!("<><two words><\n><\"'$HOME><--><{long}>");
    assert!(text(&outcome.stdout) == expected, "{} bytes came back", outcome.stdout.len());
    Ok(())
}

fn the_working_directory_is_the_one_given() -> Result<()> {
    let folder = Folder::new("first, with a comma")?;
    let shared = lab()?.share(&folder.0).run(["pwd"])?;
    assert_eq!(text(&shared.stdout), folder.0.canonicalize()?.to_string_lossy());
    assert_eq!(text(&lab()?.share(&folder.0).cwd("/usr").run(["pwd"])?.stdout), "/usr");
    match lab()?.cwd("/no/such/folder").run(["pwd"]) {
        Err(Failure::Guest(reason)) => assert!(reason.contains("/no/such/folder"), "{reason}"),
        other => panic!("a missing working directory gave {other:?}"),
    }
    Ok(())
}

fn an_orphan_does_not_hold_the_machine() -> Result<()> {
    let outcome = sh("sleep 100 & (sleep 100 &) ; echo done")?;
    assert_eq!((outcome.code, text(&outcome.stdout)), (0, "done".into()));
    assert!(outcome.total.as_secs() < 30, "it took {:?}", outcome.total);
    Ok(())
}

fn another_user_runs_without_roots_groups() -> Result<()> {
    let outcome = lab()?.uid(65534).run([
        "sh",
        "-c",
        "id -u; id -G; echo reopened > /dev/stderr; unshare -Ur id -u",
    ])?;
    assert_eq!(text(&outcome.stdout), "65534\n65534\n0", "{}", text(&outcome.stderr));
    assert_eq!(text(&outcome.stderr), "reopened");
    Ok(())
}
