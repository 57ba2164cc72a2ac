//! Using up what a control group gives, in amounts that are known.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use super::told;

/// What O_DIRECT asks of a buffer and of each write.
const BLOCK: usize = 64 << 10;

#[repr(align(4096))]
struct Aligned([u8; BLOCK]);

/// Touches so many bytes, says so, and holds them until SIGTERM.
pub fn eat(words: &[String]) -> Result<String, String> {
    let bytes = bytes(words.first().ok_or("MEMORY is needed: 16m")?)?;
    let mut all = Vec::<u8>::new();
    told("allocate", all.try_reserve_exact(bytes))?;
    all.resize(bytes, 0);
    // One write a page: memory is counted when it is touched.
    all.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    let end = hold(&[])?;
    Ok(format!("{end} with {} bytes", all.len()))
}

/// Keeps a processor busy for so long; what it got of it.
pub fn burn(words: &[String]) -> Result<String, String> {
    let seconds: f64 = told("SECONDS", words.first().ok_or("SECONDS is needed")?.parse())?;
    let (start, before) = (Instant::now(), processor()?);
    println!("ready");
    while start.elapsed() < Duration::from_secs_f64(seconds) {
        std::hint::spin_loop();
    }
    let (wall, own) = (start.elapsed(), processor()?.saturating_sub(before));
    let share = 100.0 * own.as_secs_f64() / wall.as_secs_f64();
    Ok(format!("{} us of {} us, {share:.1} percent", own.as_micros(), wall.as_micros()))
}

/// What this process has used of processors.
fn processor() -> Result<Duration, String> {
    let used = told("getrusage", getrusage(UsageWho::RUSAGE_SELF))?;
    let micros = [used.user_time(), used.system_time()]
        .into_iter()
        .map(|time| time.tv_sec() * 1_000_000 + time.tv_usec());
    Ok(Duration::from_micros(micros.sum::<i64>() as u64))
}

/// Writes so many bytes, past the page cache where the file system can, and waits until they are there.
pub fn write(words: &[String]) -> Result<String, String> {
    let [file, amount] = words else { return Err("FILE and BYTES are needed".into()) };
    let total = bytes(amount)?;
    let open = |flags| File::options().create(true).write(true).custom_flags(flags).open(file);
    let mut out = told("open", open(libc::O_DIRECT).or_else(|_| open(libc::O_DSYNC)))?;
    let block = Box::new(Aligned([7; BLOCK]));
    let start = Instant::now();
    for _ in 0..total.div_ceil(BLOCK) {
        told("write", out.write_all(&block.0))?;
    }
    told("fsync", out.sync_all())?;
    Ok(format!("{total} bytes in {} ms", start.elapsed().as_millis()))
}

/// Says `ready` and waits for SIGTERM, which PID 1 would not hear otherwise.
pub fn hold(_: &[String]) -> Result<String, String> {
    let signals = terminations()?;
    println!("ready");
    told("read a signal", signals.read_signal())?;
    Ok("ended".to_owned())
}

/// Counts, a line each few milliseconds, until SIGTERM.
pub fn ticks(_: &[String]) -> Result<String, String> {
    let signals = terminations()?;
    let mut count = 0;
    while told("poll", poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], 5u16))? == 0 {
        count += 1;
        println!("ready {count}");
    }
    Ok(format!("ended after {count}"))
}

fn terminations() -> Result<SignalFd, String> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGTERM);
    told("block SIGTERM", set.thread_block())?;
    told("signalfd", SignalFd::new(&set))
}

/// Makes the device node /dev/probe-node, and opens it for reading and writing.
pub fn device(words: &[String]) -> Result<String, String> {
    let [kind, major, minor] = words else { return Err("b|c, MAJOR and MINOR are needed".into()) };
    let kind = if kind == "b" { SFlag::S_IFBLK } else { SFlag::S_IFCHR };
    let number = |word: &String| told("a number", word.parse::<u64>());
    let node = "/dev/probe-node";
    let made = mknod(node, kind, Mode::from_bits_truncate(0o600), makedev(number(major)?, number(minor)?));
    told("mknod", made)?;
    told("open", File::options().read(true).write(true).open(node))?;
    Ok(format!("{node} can be opened"))
}

/// `16m` in bytes.
fn bytes(word: &str) -> Result<usize, String> {
    let digits = word.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match &word[digits.len()..] {
        "" | "b" => 1,
        "k" | "K" => 1 << 10,
        "m" | "M" => 1 << 20,
        "g" | "G" => 1 << 30,
        other => return Err(format!("{other}: no unit; b, k, m and g are")),
    };
    Ok(told(word, digits.parse::<usize>())? * unit)
}
