//! Stage 8: files of the kernel, covered or read-only, and the switches of a container.

use std::fs;

use super::mount::full;
use super::security::{FILTERED, open};
use crate::stage::case::{Case, Run};
use crate::stage::verdict::{Trouble, Verdict};

/// Runs a script in `demo` with all of this chapter but the switches.
fn covered(case: &Case, flags: &[&str], script: &str) -> Result<Run, Trouble> {
    full(case, &[&FILTERED[..2], flags].concat(), script)
}

/// Runs a script in `demo` with everything, and a network of its own without neighbours.
fn whole(case: &Case, flags: &[&str], script: &str) -> Result<Run, Trouble> {
    full(case, &[&["--network", "none"], flags].concat(), script)
}

/// Those that nearly every kernel has.
const SECRETS: [&str; 3] = ["/proc/keys", "/proc/interrupts", "/proc/timer_list"];

pub fn secrets_of_the_kernel_are_covered(case: &Case) -> Verdict {
    for path in SECRETS.into_iter().filter(|path| fs::metadata(path).is_ok()) {
        let run = covered(case, &[], &format!("test -c {path} && cat {path}"))?;
        run.code_is(0)?.claim(run.out.is_empty(), format!("{path} reads as empty"))?;
    }
    for path in
        ["/proc/acpi", "/sys/firmware", "/proc/scsi"].into_iter().filter(|path| fs::metadata(path).is_ok())
    {
        let run = covered(case, &[], &format!("ls -A {path}; touch {path}/new"))?;
        run.claim(run.out.is_empty(), format!("{path} is an empty folder"))?
            .err_has("Read-only file system")?;
    }
    // What covers them cannot be taken away by the fourteen, and not moved; and it is no way to write.
    let script = "umount /proc/keys; mount --move /proc/keys /tmp; echo x > /proc/interrupts; cat /proc/keys";
    covered(case, &[], script)?.out_is("")?;
    // The rest of /proc works.
    covered(case, &[], "cat /proc/1/comm; grep -q MemTotal /proc/meminfo && echo full")?.out_has("full")?;
    Ok(())
}

pub fn switches_of_the_machine_are_read_only(case: &Case) -> Verdict {
    let script = "for file in /proc/sys/kernel/printk /proc/sysrq-trigger /proc/sys/kernel/core_pattern; do \
                  test ! -e $file || echo x > $file; done";
    let flags = ["--cgroups", "disabled", "--cap-add", "ALL", "--security-opt", "seccomp=unconfined"];
    let run = covered(case, &flags, script)?;
    run.out_is("")?.err_has("Read-only file system")?;
    run.claim(
        run.err.lines().all(|line| line.contains("Read-only file system")),
        "each of them is read-only",
    )?;
    for path in ["/proc/irq", "/proc/bus", "/proc/fs"].into_iter().filter(|path| fs::metadata(path).is_ok()) {
        let run = covered(case, &[], &format!("probe flags {path}"))?;
        run.out_is(&format!("{path} ro nosuid nodev noexec"))?;
    }
    // Reading is what they are for.
    covered(case, &[], "cat /proc/sys/kernel/ostype")?.out_is("Linux")?;
    Ok(())
}

pub fn a_file_that_is_not_the_null_device_is_not_mounted(case: &Case) -> Verdict {
    // CVE-2025-31133: what stands at /dev/null would be mounted over /proc/keys and others, writable.
    fs::write("/tmp/false", "not from the kernel\n")?;
    for source in ["/tmp/false", "/dev/zero"] {
        let run = covered(case, &["-v", &format!("{source}:/dev/null")], "cat /proc/keys")?;
        run.code_is(125)?.err_has("/dev/null")?.err_has("not the null device")?.err_is_one_line()?;
    }
    covered(case, &["-v", "/dev/null:/dev/null"], "cat /proc/keys")?.code_is(0)?.out_is("")?;
    Ok(())
}

pub fn the_covers_can_be_left_out(case: &Case) -> Verdict {
    let run = covered(case, &["--security-opt", "systempaths=unconfined"], "probe flags /proc/sys")?;
    run.code_is(0)?.out_is("/proc/sys nosuid nodev noexec")?;
    covered(case, &["--bare"], "ls /")?.code_is(0)?;
    covered(case, &[], "probe flags /proc/sys")?.out_is("/proc/sys ro nosuid nodev noexec")?;
    Ok(())
}

pub fn a_privileged_container_sees_everything(case: &Case) -> Verdict {
    let script = "grep Seccomp: /proc/self/status; probe flags /proc/sys /sys; test -c /dev/kmsg && echo devices; \
                  mount -t tmpfs none /mnt && echo mounted";
    let run = covered(case, &["--privileged"], script)?;
    run.code_is(0)?.out_has("Seccomp:\t0")?.out_has("/proc/sys nosuid nodev noexec")?.out_has("mounted")?;
    if fs::metadata("/dev/kmsg").is_ok() {
        run.out_has("devices")?;
    }
    // A filter that was asked for is there all the same.
    let builtin = covered(case, &["--privileged", "--security-opt", "seccomp=builtin"], script)?;
    builtin.out_has("Seccomp:\t2")?;
    // In a network of its own /sys is the container's, and open.
    whole(case, &["--privileged"], "probe flags /sys")?.out_is("/sys nosuid nodev noexec")?;
    whole(case, &["--privileged", "--cap-drop", "SYS_ADMIN"], "mount -t tmpfs none /mnt && echo mounted")?
        .out_is("")?;
    Ok(())
}

pub fn a_switch_of_the_container_is_set(case: &Case) -> Verdict {
    let flags = [
        "--sysctl",
        "net.ipv4.ip_forward=1",
        "--sysctl",
        "net/ipv4/conf/lo/rp_filter=2",
        "--sysctl",
        "kernel.shmmax=8192",
    ];
    let files =
        "cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/lo/rp_filter /proc/sys/kernel/shmmax";
    let before = fs::read_to_string("/proc/sys/net/ipv4/ip_forward")?;
    let memory = fs::read_to_string("/proc/sys/kernel/shmmax")?;
    whole(case, &flags, files)?.code_is(0)?.out_is("1\n2\n8192")?;
    let run = whole(case, &[], files)?;
    run.out_lacks("8192")?;
    run.claim(
        fs::read_to_string("/proc/sys/net/ipv4/ip_forward")? == before
            && fs::read_to_string("/proc/sys/kernel/shmmax")? == memory,
        "the host's switches stand as before",
    )?;
    // Set from outside, and covered from inside.
    let script = "echo 0 > /proc/sys/net/ipv4/ip_forward; cat /proc/sys/net/ipv4/ip_forward";
    whole(case, &["--sysctl", "net.ipv4.ip_forward=1"], script)?.out_is("1")?.err_has("Read-only")?;
    // What lies over /proc/sys in the container leads the write nowhere else (CVE-2025-52881): it is not asked.
    fs::create_dir_all("/tmp/over/ipv4")?;
    fs::write("/tmp/over/ipv4/ip_forward", "kept\n")?;
    let run = whole(case, &["--sysctl", "net.ipv4.ip_forward=1", "-v", "/tmp/over:/proc/sys/net"], "true")?;
    run.code_is(125)?.err_has("it leads into /proc")?;
    Ok(())
}

pub fn a_switch_of_the_machine_is_refused(case: &Case) -> Verdict {
    for (switch, words) in [
        ("kernel.core_pattern=|/evil", "the whole machine's"),
        ("vm.overcommit_memory=1", "the whole machine's"),
        ("net/../kernel/core_pattern=x", "no name"),
        ("net.ipv4.ip_forward", "NAME=VALUE"),
        ("net.ipv4.there_is_none=1", "ENOENT"),
        ("net.ipv4.ip_forward=many", "EINVAL"),
    ] {
        whole(case, &["--sysctl", switch], "true")?.code_is(125)?.err_has(words)?.err_is_one_line()?;
    }
    let shared = covered(case, &["--sysctl", "net.ipv4.ip_forward=1"], "true")?;
    shared.code_is(125)?.err_has("network of others")?.err_is_one_line()?;
    let shared = open(case, &["--ipc", "host", "--sysctl", "kernel.shmmax=8192"], "true")?;
    shared.code_is(125)?.err_has("IPC of others")?.err_is_one_line()?;
    whole(case, &["--sysctl", "net.ipv4.ip_forward=0"], "true")?.code_is(0)?;
    Ok(())
}

pub fn low_ports_are_open_in_a_network_of_ones_own(case: &Case) -> Verdict {
    let file = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start";
    whole(case, &[], file)?.code_is(0)?.out_is("0")?;
    whole(case, &["--sysctl", "net.ipv4.ip_unprivileged_port_start=1024"], file)?.out_is("1024")?;
    Ok(())
}

/// An ordinary user gets the same container: all of it is for a root to take, and a user namespace has one.
pub fn all_of_it_holds_without_rights(case: &Case) -> Verdict {
    let script = "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; cat /proc/keys; echo 1 > /proc/sys/kernel/printk; \
                  mount -t tmpfs none /mnt; unshare -m true; cat /proc/sys/net/ipv4/ip_unprivileged_port_start";
    let expected = "CapInh:\t0000000000000000\nCapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\n\
                    CapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\nNoNewPrivs:\t0\nSeccomp:\t2\n0";
    let run = super::user::ordinary(case, &["--network", "none"], script)?;
    run.code_is(0)?.out_is(expected)?.err_has("Read-only file system")?;
    // The same as root's: what Docker's own containers show.
    whole(case, &[], script)?.out_is(expected)?;
    let flags = [
        "--network",
        "none",
        "--init",
        "--security-opt",
        "no-new-privileges",
        "--sysctl",
        "net.ipv4.ip_forward=1",
    ];
    super::user::ordinary(case, &flags, "cat /proc/sys/net/ipv4/ip_forward; exit 7")?
        .code_is(7)?
        .out_is("1")?;
    Ok(())
}
