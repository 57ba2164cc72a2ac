//! Stage 6: disks. A loop device over a file of the lab plays one.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::time::Duration;

use nix::errno::Errno;

use super::cgroup::{on_quay, start_quay, stop};
use crate::lab::Ground;
use crate::stage::case::{Case, Run};
use crate::stage::cgroups::{NAME, hierarchy, read};
use crate::stage::verdict::{Trouble, Verdict, fail, holds, same};

/// loop(4): LOOP_CTL_GET_FREE, LOOP_SET_FD, LOOP_SET_STATUS64; a flag, and its place in struct loop_info64.
const GET_FREE: libc::c_ulong = 0x4C82;
const SET_FD: libc::c_ulong = 0x4C00;
const SET_STATUS64: libc::c_ulong = 0x4C04;
const AUTOCLEAR: u8 = 4;
const FLAGS_AT: usize = 52;

/// A disk that is gone when nobody has it open any more.
struct Disk {
    number: i32,
    _open: File,
}

impl Disk {
    /// A disk of 16 MiB in the lab's memory.
    fn new() -> Result<Disk, Trouble> {
        let file = File::options().read(true).write(true).create(true).truncate(true).open("/tmp/disk")?;
        file.set_len(16 << 20)?;
        let control = File::open("/dev/loop-control")?;
        // Another lab may take the free one before us.
        for _ in 0..20 {
            // SAFETY: without an argument; it returns a number.
            let number = Errno::result(unsafe { libc::ioctl(control.as_raw_fd(), GET_FREE) })?;
            let device = File::options().read(true).write(true).open(format!("/dev/loop{number}"))?;
            // SAFETY: both descriptors are open, and the kernel keeps neither.
            match Errno::result(unsafe { libc::ioctl(device.as_raw_fd(), SET_FD, file.as_raw_fd()) }) {
                Err(Errno::EBUSY) => continue,
                done => done?,
            };
            let mut info = [0_u8; 232];
            info[FLAGS_AT] = AUTOCLEAR;
            // SAFETY: `info` has the size of struct loop_info64 and outlives the call.
            Errno::result(unsafe { libc::ioctl(device.as_raw_fd(), SET_STATUS64, info.as_ptr()) })?;
            return Ok(Disk { number, _open: device });
        }
        Err(fail("a free loop device", "others were faster each time"))
    }

    /// Its number as the kernel writes it.
    fn id(&self) -> String {
        format!("7:{}", self.number)
    }
}

/// Writes 2 MiB to the disk, past every cache, in a container with these flags; how long it took.
fn writing(case: &Case, disk: &Disk, flags: &[&str]) -> Result<(Run, Duration), Trouble> {
    let allowed = format!("b {} rwm", disk.id());
    let script = format!("probe device b 7 {} && probe write /dev/probe-node 2m", disk.number);
    let run = on_quay(case, &[&["--device-cgroup-rule", &allowed], flags].concat(), &script)?;
    run.code_is(0)?;
    let took = run.out.split_whitespace().rev().nth(1).and_then(|word| word.parse().ok());
    let took = took.ok_or_else(|| fail("`probe write` says how long it took", &run.out))?;
    Ok((run, Duration::from_millis(took)))
}

/// A user namespace makes no nodes of disks, so there it is only looked at what is written for the kernel.
pub fn a_slow_disk_is_slow(case: &Case) -> Verdict {
    hierarchy("io")?;
    if case.ground != Ground::Root {
        return bounds_of_disks_are_written(case);
    }
    let disk = Disk::new()?;
    let path = format!("/dev/loop{}", disk.number);
    let (_, free) = writing(case, &disk, &[])?;
    let (run, slow) = writing(case, &disk, &["--device-write-bps", &format!("{path}:1m")])?;
    let (one, four) = (Duration::from_millis(1500), Duration::from_secs(5));
    run.claim((one..four).contains(&slow), "2 MiB at 1 MiB a second take 2 s, more or less")?;
    holds(free < slow, "without a bound it is faster", format!("{free:?}, with one {slow:?}"))?;
    // In blocks of 64 KiB these are 32 writes.
    let (run, slow) = writing(case, &disk, &["--device-write-iops", &format!("{path}:16")])?;
    run.claim((one..four).contains(&slow), "32 writes at 16 a second take 2 s, more or less")?;
    Ok(())
}

/// Any disk of the machine: a path, and its number as the kernel writes it. Nobody opens it.
fn any_disk() -> Result<(String, String), Trouble> {
    let mut disks: Vec<_> = fs::read_dir("/dev")?.flatten().map(|entry| entry.path()).collect();
    disks.sort_unstable();
    let found = disks.into_iter().find_map(|path| {
        let about = fs::metadata(&path).ok().filter(|about| about.file_type().is_block_device())?;
        let whole = fs::exists(format!("/sys/block/{}", path.file_name()?.to_string_lossy())).ok()?;
        let number = format!("{}:{}", libc::major(about.rdev()), libc::minor(about.rdev()));
        whole.then(|| (path.display().to_string(), number))
    });
    found.ok_or_else(|| Trouble::Skipped("there is no disk in /dev to name".to_owned()))
}

pub fn bounds_of_disks_are_written(case: &Case) -> Verdict {
    let io = hierarchy("io")?;
    let (path, id) = any_disk()?;
    let flag = |rate: &str| format!("{path}:{rate}");
    let (bytes, times) = (flag("1m"), flag("100"));
    let flags = ["--device-read-bps", &bytes, "--device-write-iops", &times, "--blkio-weight", "500"];
    let running = start_quay(case, &flags, &["probe", "hold"])?;
    let read_bps = read("io", NAME, ["blkio.throttle.read_bps_device", "io.max"])?;
    let write_iops = read("io", NAME, ["blkio.throttle.write_iops_device", "io.max"])?;
    let v2 = format!("{id} rbps=1048576 wbps=max riops=max wiops=100");
    same("bytes a second", io.pick(format!("{id} 1048576"), v2.clone()), read_bps)?;
    same("writes a second", io.pick(format!("{id} 100"), v2), write_iops)?;
    // The kernel's scheduler decides which file there is.
    let known = ["blkio.weight", "blkio.bfq.weight", "io.bfq.weight", "io.weight"];
    let group = io.group(NAME);
    let weight = known.iter().find_map(|file| fs::read_to_string(group.join(file)).ok()).unwrap_or_default();
    let weight = weight.split_whitespace().last().unwrap_or_default().to_owned();
    stop(running)?.code_is(0)?;
    holds(["500", "4950"].contains(&weight.as_str()), "a weight of 500, or 4950 of 10000", weight)?;
    // What is no disk is refused, by name.
    for wrong in ["/dev/null:1m", "/no/such/disk:1m", "demo:1m", "1m", &flag("fast"), &flag("-1")] {
        let run = on_quay(case, &["--device-read-bps", wrong], "true")?;
        run.code_is(125)?.err_is_one_line()?;
    }
    Ok(())
}
