//! How machines end, and that nothing of them stays.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::unistd::Uid;
use workshop::vm::{Failure, Sink};

use crate::starter::Reachable;
use crate::{Check, lab, text};

pub const CHECKS: &[Check] = &[
    ("time_runs_out_of_a_sleeping_command", time_runs_out_of_a_sleeping_command),
    ("time_runs_out_of_a_chatting_command", time_runs_out_of_a_chatting_command),
    ("a_kernel_panic_is_told_with_its_last_words", a_kernel_panic_is_told_with_its_last_words),
    ("a_reboot_is_the_end", a_reboot_is_the_end),
    ("a_kernel_that_never_boots_is_told_with_its_last_words", a_kernel_that_never_boots),
    ("the_hidden_init_refuses_to_run_on_a_host", the_hidden_init_refuses_to_run_on_a_host),
    ("an_ordinary_user_can_start_one_and_nothing_stays", an_ordinary_user_can_start_one),
    ("a_starter_killed_at_work_leaves_nothing", || a_killed_starter_leaves_nothing("while :; do :; done")),
    ("a_starter_killed_at_rest_leaves_nothing", || a_killed_starter_leaves_nothing("sleep 1000")),
    ("a_starter_killed_while_forking_leaves_nothing", || {
        a_killed_starter_leaves_nothing("while :; do /bin/true; sleep 1000 & done")
    }),
];

fn time_runs_out_of_a_sleeping_command() -> Result<()> {
    let begin = Instant::now();
    let failure = lab()?.limit(Duration::from_secs(5)).run(["sleep", "1000"]).expect_err("time must run out");
    assert!(matches!(failure, Failure::Time { started: true, .. }), "{failure}");
    assert_eq!(failure.exit_code(), 124);
    assert!(begin.elapsed() < Duration::from_secs(20), "it took {:?}", begin.elapsed());
    Ok(())
}

fn time_runs_out_of_a_chatting_command() -> Result<()> {
    let machine = lab()?.limit(Duration::from_secs(5)).stdout(Sink::Null);
    let failure = machine.run(["cat", "/dev/zero"]).expect_err("time must run out");
    assert_eq!(failure.exit_code(), 124, "{failure}");
    Ok(())
}

fn a_kernel_panic_is_told_with_its_last_words() -> Result<()> {
    let script = "echo c > /proc/sysrq-trigger; sleep 1000";
    let failure = lab()?.run(["sh", "-c", script]).expect_err("a panic gives no exit code");
    assert_eq!(failure.exit_code(), 125);
    let text = failure.to_string();
    assert!(text.contains("before its command did") && text.contains("Kernel panic"), "{text}");
    Ok(())
}

fn a_reboot_is_the_end() -> Result<()> {
    let failure =
        lab()?.run(["sh", "-c", "echo b > /proc/sysrq-trigger; sleep 1000"]).expect_err("no exit code");
    assert_eq!(failure.exit_code(), 125, "{failure}");
    Ok(())
}

fn a_kernel_that_never_boots() -> Result<()> {
    let failure =
        lab()?.kernel_arg("rootfstype=harbour").run(["true"]).expect_err("there is no such file system");
    assert!(failure.to_string().contains("Unable to mount root"), "{failure}");
    Ok(())
}

fn the_hidden_init_refuses_to_run_on_a_host() -> Result<()> {
    let output = std::process::Command::new(crate::workshop()).arg("vm-init").output()?;
    assert_eq!(output.status.code(), Some(125));
    assert!(text(&output.stderr).contains("kernel lab"), "{}", text(&output.stderr));
    Ok(())
}

fn an_ordinary_user_can_start_one() -> Result<()> {
    let programs = Reachable::new("ordinary")?;
    let script = "id -u; cat /etc/shadow >/dev/null 2>&1 || echo unreadable; \
                  mknod /dev/quay c 1 3 && chown 5:5 /dev/quay && mount -t tmpfs tmpfs /mnt && echo all powers of root";
    let output = programs.command("run", &["sh", "-c", script]).stdin(Stdio::null()).output()?;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "0\nunreadable\nall powers of root");
    assert!(programs.processes().is_empty(), "left: {:?}", programs.processes());
    nothing_owned_by(programs.stranger)
}

fn a_killed_starter_leaves_nothing(script: &str) -> Result<()> {
    let programs = Reachable::new("killed")?;
    let script = format!("echo running; {script}");
    let starter = programs
        .command("run", &["sh", "-c", &script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut starter = Mortal(starter);
    wait_for_word(&mut starter.0)?;
    sleep(Duration::from_millis(500));
    // Starter, keeper and kernel; guests are known by their user only, so not when he is ourselves.
    let at_least = if Uid::effective().is_root() { 4 } else { 3 };
    assert!(programs.processes().len() >= at_least, "too few: {:?}", programs.processes());
    drop(starter);
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end && !programs.processes().is_empty() {
        sleep(Duration::from_millis(20));
    }
    assert!(programs.processes().is_empty(), "left: {:?}", programs.processes());
    nothing_owned_by(programs.stranger)
}

/// A starter that is killed when it is dropped, also when the check fails first.
struct Mortal(Child);

impl Drop for Mortal {
    fn drop(&mut self) {
        // SIGKILL, by the standard library's promise.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for the guest's first output.
fn wait_for_word(starter: &mut Child) -> Result<()> {
    let mut word = [0; 7];
    let out = starter.stdout.as_mut().context("the starter's output is piped")?;
    std::io::Read::read_exact(out, &mut word).context("the machine said nothing")?;
    assert_eq!(&word, b"running");
    Ok(())
}

fn nothing_owned_by(stranger: u32) -> Result<()> {
    if !Uid::effective().is_root() {
        return Ok(());
    }
    for folder in ["/tmp", "/var/tmp", "/dev/shm", "/run", "/run/lock"] {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for entry in entries.flatten() {
            let uid = entry.metadata().map_or(0, |meta| meta.uid());
            assert_ne!(uid, stranger, "left: {}", entry.path().display());
        }
    }
    Ok(())
}
