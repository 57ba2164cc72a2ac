//! What the machine looks like from inside, and what of it reaches the host.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::starter::Reachable;
use crate::{Check, Folder, kernel, lab, sh, skip, text};

pub const CHECKS: &[Check] = &[
    ("a_shared_folder_is_the_hosts_own", a_shared_folder_is_the_hosts_own),
    ("a_write_elsewhere_stays_inside", a_write_elsewhere_stays_inside),
    ("the_whole_root_cannot_be_shared", the_whole_root_cannot_be_shared),
    ("the_world_is_pure_cgroup_v2", the_world_is_pure_cgroup_v2),
    ("the_lab_does_not_boot_inside_itself", the_lab_does_not_boot_inside_itself),
    ("a_memory_limit_holds", a_memory_limit_holds),
    ("every_namespace_can_be_made", every_namespace_can_be_made),
    ("mounts_are_shared_and_the_old_root_is_gone", mounts_are_shared_and_the_old_root_is_gone),
    ("the_machine_is_named_and_lo_is_up", the_machine_is_named_and_lo_is_up),
    ("memory_and_cpus_are_as_ordered", memory_and_cpus_are_as_ordered),
    ("a_kernel_argument_can_forbid_user_namespaces", a_kernel_argument_can_forbid_user_namespaces),
    ("a_kernel_that_has_nftables_does_nat", a_kernel_that_has_nftables_does_nat),
];

fn a_shared_folder_is_the_hosts_own() -> Result<()> {
    let folder = Folder::new("shared")?;
    fs::write(folder.0.join("letter"), "from the host")?;
    let outcome = lab()?.share(&folder.0).run([
        "sh",
        "-c",
        "cat letter; mkdir sub; echo answer > sub/letter; rm letter",
    ])?;
    assert_eq!(text(&outcome.stdout), "from the host", "{}", text(&outcome.stderr));
    assert_eq!(fs::read_to_string(folder.0.join("sub/letter"))?, "answer\n");
    assert!(!folder.0.join("letter").exists(), "the removal did not reach the host");
    Ok(())
}

fn a_write_elsewhere_stays_inside() -> Result<()> {
    let folder = Folder::new("elsewhere")?;
    let file = folder.0.join("ledger");
    fs::write(&file, "host\n")?;
    // Below target, so not hidden by the machine's own /tmp, unless the whole workspace lies there.
    let script = "echo guest >> \"$1\" 2>&1; touch /etc/gantry-was-here && chown 7:7 /etc/gantry-was-here && \
                  stat -c %u /etc/gantry-was-here; touch /usr/gantry-was-here /gantry-was-here && echo written";
    let outcome = lab()?.run(["sh", "-c", script, "sh", &file.to_string_lossy()])?;
    assert_eq!(
        text(&outcome.stdout).lines().skip_while(|line| *line != "7").collect::<Vec<_>>(),
        ["7", "written"]
    );
    assert_eq!(fs::read_to_string(&file)?, "host\n");
    for path in ["/etc/gantry-was-here", "/usr/gantry-was-here", "/gantry-was-here"] {
        assert!(!Path::new(path).exists(), "{path} reached the host");
    }
    Ok(())
}

fn the_whole_root_cannot_be_shared() -> Result<()> {
    let error = lab()?.share("/").run(["true"]).expect_err("sharing / must be refused");
    assert!(error.to_string().contains("share /"), "{error}");
    assert_eq!(error.exit_code(), 125);
    Ok(())
}

fn the_world_is_pure_cgroup_v2() -> Result<()> {
    // Beside it there is a tree of version 1 without a controller and without a place, for the escape lab.
    let script = "grep -c cgroup /proc/mounts; cat /proc/self/cgroup; cd /sys/fs/cgroup && \
                  echo '+cpu +memory +pids +io' > cgroup.subtree_control && mkdir quay && ls quay";
    let outcome = sh(script)?;
    let seen = text(&outcome.stdout);
    let (said, expected) = (seen.lines().take(3).collect::<Vec<_>>(), ["1", "1:name=old:/", "0::/"]);
    assert_eq!(said, expected, "{}", text(&outcome.stderr));
    for file in ["cpu.max", "memory.max", "pids.max", "io.max"] {
        assert!(seen.lines().any(|line| line == file), "{file} is missing: {seen}");
    }
    Ok(())
}

fn the_lab_does_not_boot_inside_itself() -> Result<()> {
    let programs = Reachable::new("inside")?;
    let outcome = lab()?.share(programs.path()).run(["./starter", "vm-starter", "run", "true"])?;
    assert_eq!(outcome.code, 99);
    assert!(text(&outcome.stderr).contains("this is the kernel lab already"), "{}", text(&outcome.stderr));
    Ok(())
}

fn a_memory_limit_holds() -> Result<()> {
    let script = "cd /sys/fs/cgroup && echo +memory > cgroup.subtree_control && mkdir small && \
                  echo 8M > small/memory.max && sh -c 'echo $$ > small/cgroup.procs; exec tail /dev/zero'; \
                  echo $?; grep oom_kill\\  small/memory.events";
    assert_eq!(text(&sh(script)?.stdout), "137\noom_kill 1");
    Ok(())
}

fn every_namespace_can_be_made() -> Result<()> {
    let outcome = lab()?.uid(1000).run([
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "--pid",
        "--fork",
        "--uts",
        "--ipc",
        "--net",
        "--cgroup",
        "--mount-proc",
        "sh",
        "-c",
        "echo $$; id -u",
    ])?;
    assert_eq!(text(&outcome.stdout), "1\n0", "{}", text(&outcome.stderr));
    Ok(())
}

fn mounts_are_shared_and_the_old_root_is_gone() -> Result<()> {
    let outcome = sh("cut -d' ' -f5,7 /proc/self/mountinfo")?;
    let seen = text(&outcome.stdout);
    assert!(seen.lines().all(|line| line.contains(" shared:")), "{seen}");
    assert_eq!(seen.lines().filter(|line| line.starts_with("/ ")).count(), 1, "{seen}");
    Ok(())
}

fn the_machine_is_named_and_lo_is_up() -> Result<()> {
    let outcome = sh("uname -n; cat /sys/class/net/lo/flags")?;
    assert_eq!(text(&outcome.stdout), "lab\n0x9");
    Ok(())
}

fn memory_and_cpus_are_as_ordered() -> Result<()> {
    let outcome = lab()?.memory(300).run(["awk", "/MemTotal/ { print int($2 / 1024) }", "/proc/meminfo"])?;
    let mib: u32 = text(&outcome.stdout).parse()?;
    assert!((200..300).contains(&mib), "{mib} MiB");
    if !kernel()?.smp() {
        let error = lab()?.cpus(2).run(["true"]).expect_err("this kernel has one CPU");
        assert!(error.to_string().contains("one CPU"), "{error}");
        return skip("this kernel has one CPU only (CONFIG_SMP)");
    }
    assert_eq!(text(&lab()?.cpus(2).run(["nproc"])?.stdout), "2");
    Ok(())
}

fn a_kernel_argument_can_forbid_user_namespaces() -> Result<()> {
    let outcome =
        lab()?.kernel_arg("sysctl.user.max_user_namespaces=0").uid(1000).run(["unshare", "-U", "true"])?;
    assert_ne!(outcome.code, 0);
    assert!(text(&outcome.stderr).contains("No space"), "{}", text(&outcome.stderr));
    Ok(())
}

fn a_kernel_that_has_nftables_does_nat() -> Result<()> {
    if let Some(need) = kernel()?.lacks().iter().find(|need| need.option.starts_with("NF")) {
        return skip(&format!("this kernel lacks CONFIG_{}", need.option));
    }
    if !Path::new("/usr/sbin/nft").exists() {
        return skip("the program nft is not installed");
    }
    let script = "nft add table ip harbour && nft add chain ip harbour post '{ type nat hook postrouting priority 100; }' \
                  && nft add rule ip harbour post oifname lo masquerade && nft add table inet quay && \
                  nft list table ip harbour";
    let outcome = sh(script)?;
    assert!(text(&outcome.stdout).contains("masquerade"), "{}", text(&outcome.stderr));
    Ok(())
}
