//! 7. A disk, made by its two numbers.

use std::fs;

use super::{off, off_only_in_own_kernel, on, own_kernel};
use crate::stage::case::Case;
use crate::stage::verdict::{Trouble, Verdict, fail};

/// A block device that no driver has: 60 is kept for experiments. Opened, there is nothing to show (ENXIO). Not 7: of
/// that kind, the kernel makes a unit that is missing.
const NOBODYS: [&str; 2] = ["60", "1"];

pub fn raw_disk(case: &Case) -> Verdict {
    if own_kernel() {
        let disk = LoopDisk::new("the host's disk")?;
        let attack = ["probe", "attack", "raw-disk", "7", &disk.0];
        let all = ["run", "--device-cgroup-rule", "a *:* rwm", "--rootfs", "demo", "--"];
        let run = case.run(&[&all[..], &attack].concat())?;
        off(&run, run.out.contains("the host's disk"), "the first block of the host's disk")?;
        let run = case.run(&[&["run", "--rootfs", "demo", "--"][..], &attack].concat())?;
        on(&run, run.out.contains("the host's disk"), "not permitted")?;
        // No cgroup, no list, no node.
        let bare = ["run", "--cgroups", "disabled", "--rootfs", "demo", "--"];
        let run = case.run(&[&bare[..], &attack].concat())?;
        on(&run, run.out.contains("the host's disk"), "mknod: EPERM")
    } else {
        off_only_in_own_kernel();
        let attack = ["probe", "attack", "raw-disk", NOBODYS[0], NOBODYS[1]];
        let run = case.run(&[&["run", "--rootfs", "demo", "--"][..], &attack].concat())?;
        on(&run, run.err.contains("No such device"), "not permitted")
    }
}

/// A loop device that shows a file; its minor number.
struct LoopDisk(String);

impl LoopDisk {
    fn new(words: &str) -> Result<LoopDisk, Trouble> {
        let mut image = vec![0; 1 << 16];
        image[..words.len()].copy_from_slice(words.as_bytes());
        fs::write("/tmp/image", image)?;
        let losetup =
            std::process::Command::new("losetup").args(["--find", "--show", "/tmp/image"]).output()?;
        let device = String::from_utf8_lossy(&losetup.stdout).trim().to_owned();
        let minor =
            device.strip_prefix("/dev/loop").ok_or_else(|| fail("a loop device", format!("{losetup:?}")))?;
        Ok(LoopDisk(minor.to_owned()))
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        let device = format!("/dev/loop{}", self.0);
        // If it stays, the machine ends with it.
        let _ = std::process::Command::new("losetup").args(["--detach", &device]).status();
    }
}
