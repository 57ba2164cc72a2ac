//! Makes and finds what an IPC namespace holds: System V objects by key, POSIX queues by name.

use std::ptr::null;

use nix::errno::Errno;
use nix::mqueue::{MQ_OFlag, MqAttr, mq_attr_member_t, mq_open, mq_receive, mq_send};
use nix::sys::stat::Mode;

use super::told;

/// The size of a segment; of a queue's message, too.
const SIZE: usize = 4096;

const MODE: i32 = 0o600;

/// `KEY TEXT`: a segment with the text in it, a semaphore set and a message queue, all with that key.
pub fn sysv_make(words: &[String]) -> Result<String, String> {
    let [key, text] = words else { return Err("KEY TEXT are needed".into()) };
    let key = told("read KEY", key.parse())?;
    let new = MODE | libc::IPC_CREAT | libc::IPC_EXCL;
    let segment = made("shmget", shmget(key, SIZE, new))?;
    with_segment(segment, |memory| {
        let bytes = text.as_bytes();
        memory[..bytes.len().min(SIZE - 1)].copy_from_slice(&bytes[..bytes.len().min(SIZE - 1)]);
    })?;
    // SAFETY: numbers only.
    made("semget", Errno::result(unsafe { libc::semget(key, 1, new) }))?;
    // SAFETY: numbers only.
    made("msgget", Errno::result(unsafe { libc::msgget(key, new) }))?;
    Ok(format!("made with key {key}"))
}

/// `KEY`: which of the three there are, and the segment's text.
pub fn sysv(words: &[String]) -> Result<String, String> {
    let key = told("read KEY", words.first().ok_or("KEY is needed")?.parse())?;
    let mut found = Vec::new();
    if let Ok(segment) = shmget(key, 0, 0) {
        let mut text = String::new();
        with_segment(segment, |memory| {
            let end = memory.iter().position(|byte| *byte == 0).unwrap_or(SIZE);
            text = String::from_utf8_lossy(&memory[..end]).into_owned();
        })?;
        found.push(format!("segment: {text}"));
    }
    // SAFETY: numbers only.
    if unsafe { libc::semget(key, 0, 0) } >= 0 {
        found.push("semaphores".into());
    }
    // SAFETY: numbers only.
    if unsafe { libc::msgget(key, 0) } >= 0 {
        found.push("queue".into());
    }
    Ok(if found.is_empty() { "nothing".into() } else { found.join(", ") })
}

/// `NAME TEXT`: a POSIX queue with one message.
pub fn queue_make(words: &[String]) -> Result<String, String> {
    let [name, text] = words else { return Err("NAME TEXT are needed".into()) };
    let attributes = MqAttr::new(0, 4, SIZE as mq_attr_member_t, 0);
    let flags = MQ_OFlag::O_CREAT | MQ_OFlag::O_EXCL | MQ_OFlag::O_WRONLY;
    let queue =
        told("mq_open", mq_open(name.as_str(), flags, Mode::from_bits_truncate(0o600), Some(&attributes)))?;
    told("mq_send", mq_send(&queue, text.as_bytes(), 1))?;
    Ok(format!("made {name}"))
}

/// `NAME`: the next message of a POSIX queue.
pub fn queue(words: &[String]) -> Result<String, String> {
    let name = words.first().ok_or("NAME is needed")?;
    let flags = MQ_OFlag::O_RDONLY | MQ_OFlag::O_NONBLOCK;
    let queue = match mq_open(name.as_str(), flags, Mode::empty(), None) {
        Err(Errno::ENOENT) => return Ok("nothing".into()),
        opened => told("mq_open", opened)?,
    };
    let mut message = vec![0; SIZE];
    let length = told("mq_receive", mq_receive(&queue, &mut message, &mut 0))?;
    Ok(format!("message: {}", String::from_utf8_lossy(&message[..length])))
}

fn made(what: &str, id: nix::Result<i32>) -> Result<i32, String> {
    told(what, id)
}

fn shmget(key: i32, size: usize, flags: i32) -> nix::Result<i32> {
    // SAFETY: numbers only.
    Errno::result(unsafe { libc::shmget(key, size, flags) })
}

/// Lends the memory of a segment of our own making.
fn with_segment(segment: i32, act: impl FnOnce(&mut [u8])) -> Result<(), String> {
    // SAFETY: the kernel chooses an address at which nothing is.
    let address = unsafe { libc::shmat(segment, null(), 0) };
    if address as isize == -1 {
        return Err(format!("shmat: {}", Errno::last()));
    }
    // SAFETY: `sysv_make` made it of this size, and it is attached until below.
    act(unsafe { std::slice::from_raw_parts_mut(address.cast(), SIZE) });
    // SAFETY: what shmat gave us; nothing refers to it any more.
    told("shmdt", Errno::result(unsafe { libc::shmdt(address) })).map(drop)
}
