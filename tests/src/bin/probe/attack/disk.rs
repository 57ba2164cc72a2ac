//! `mknod`: a device is two numbers, and the numbers are the same in every container.

use std::fs::File;
use std::io::Read;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use super::only_in_kernel_lab;
use crate::told;

/// A kind of device that is kept for experiments, and that no driver has.
const NOBODYS: u64 = 60;

// ANCHOR: attack
/// A node is a name for a driver and a unit: `b 7:0` is the machine's first loop device, wherever the node lies. Who
/// may make one and open it reads the disk past every file system, and past every owner and mode in it.
pub fn read(words: &[String]) -> Result<String, String> {
    let [major, minor] = words else { return Err("MAJOR MINOR are needed".into()) };
    let (major, minor) = (told("read MAJOR", major.parse())?, told("read MINOR", minor.parse())?);
    if major != NOBODYS {
        only_in_kernel_lab()?;
    }
    let node = "/dev/somebodys-disk";
    let mode = Mode::S_IRUSR | Mode::S_IWUSR;
    told("mknod", mknod(node, SFlag::S_IFBLK, mode, makedev(major, minor)))?;
    let mut first = [0; 64];
    told(&format!("open b {major}:{minor}"), File::open(node))
        .and_then(|mut disk| told("read", disk.read_exact(&mut first)))?;
    let end = first.iter().position(|byte| *byte < b' ').unwrap_or(first.len());
    Ok(format!("b {major}:{minor} begins with: {}", String::from_utf8_lossy(&first[..end])))
}
// ANCHOR_END: attack
