//! Makes system calls by their numbers, also such as no library makes, and asks for what a process may do.

use std::ffi::CString;

use nix::errno::Errno;

use super::told;

/// `NUMBER [ARGUMENT...]`: numbers as `40`, `0x28` or `-1`.
fn numbers(words: &[String]) -> Result<Vec<u64>, String> {
    let number = |word: &String| {
        let parsed = match word.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16),
            None => word.parse::<i64>().map(|value| value as u64).or_else(|_| word.parse()),
        };
        told(word, parsed)
    };
    let mut all = words.iter().map(number).collect::<Result<Vec<_>, _>>()?;
    if all.is_empty() {
        return Err("NUMBER is needed".into());
    }
    all.resize(7, 0);
    Ok(all)
}

/// A system call with whatever arguments; pointers are the caller's business, and 0 is always wrong enough.
pub fn call(words: &[String]) -> Result<String, String> {
    let n = numbers(words)?;
    // SAFETY: none: the call is what the user asks for. This process does nothing else and ends.
    let done = Errno::result(unsafe { libc::syscall(n[0] as i64, n[1], n[2], n[3], n[4], n[5], n[6]) });
    Ok(done.map_or_else(|errno| format!("{errno:?}"), |_| "ok".into()))
}

/// The same through the door of 32-bit programs, which is open to 64-bit ones, too.
#[cfg(target_arch = "x86_64")]
pub fn call32(words: &[String]) -> Result<String, String> {
    let n = numbers(words)?;
    let mut answer = n[0];
    // SAFETY: none: the call is what the user asks for. rbx belongs to the compiler, so it is exchanged and put back;
    // the kernel may leave anything in r8 to r11.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {first}", "int 0x80", "xchg rbx, {first}",
            first = inout(reg) n[1] => _,
            inout("rax") answer,
            in("rcx") n[2], in("rdx") n[3], in("rsi") n[4], in("rdi") n[5],
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    let answer = answer as i32;
    Ok(if (-4095..0).contains(&answer) { format!("{:?}", Errno::from_raw(-answer)) } else { "ok".into() })
}

/// Other machines have no such door.
#[cfg(not(target_arch = "x86_64"))]
pub fn call32(_: &[String]) -> Result<String, String> {
    Err("there is no `int 0x80` on this machine".into())
}

#[repr(C)]
#[derive(Default, Clone, Copy)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Each set as 16 hexadecimal digits behind its name in `/proc/PID/status`.
pub fn capabilities(_: &[String]) -> Result<String, String> {
    let (header, mut halves) = ([0x2008_0522_u32, 0], [Half::default(); 2]);
    // SAFETY: both have the kernel's layout for this version, and live through the call.
    let done = unsafe {
        libc::syscall(libc::SYS_capget, header.as_ptr(), halves.as_mut_ptr().cast::<libc::c_void>())
    };
    told("capget", Errno::result(done))?;
    let whole = |part: fn(&Half) -> u32| u64::from(part(&halves[0])) | u64::from(part(&halves[1])) << 32;
    let all =
        |is_in: fn(u64) -> bool| (0..64).filter(|number| is_in(*number)).map(|number| 1 << number).sum();
    let lines = [
        ("CapInh", whole(|half| half.inheritable)),
        ("CapPrm", whole(|half| half.permitted)),
        ("CapEff", whole(|half| half.effective)),
        ("CapBnd", all(is_under_the_ceiling)),
        ("CapAmb", all(is_ambient)),
    ];
    Ok(lines.map(|(name, set)| format!("{name} {set:016x}")).join("\n"))
}

fn is_under_the_ceiling(number: u64) -> bool {
    // SAFETY: numbers only.
    unsafe { libc::prctl(libc::PR_CAPBSET_READ, number, 0, 0, 0) == 1 }
}

fn is_ambient(number: u64) -> bool {
    // SAFETY: numbers only.
    unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_IS_SET, number, 0, 0) == 1 }
}

/// The session keyring of this process, whatever its number.
const SESSION: i32 = -3;

fn key_name(words: &[String]) -> Result<CString, String> {
    told("read NAME", CString::new(words.first().ok_or("NAME is needed")?.as_str()))
}

/// A key with the payload `secret`.
pub fn key_add(words: &[String]) -> Result<String, String> {
    let (name, secret) = (key_name(words)?, b"secret");
    // SAFETY: strings and a buffer that live through the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_add_key,
            c"user".as_ptr(),
            name.as_ptr(),
            secret.as_ptr(),
            secret.len(),
            SESSION,
        )
    };
    told("add_key", Errno::result(done)).map(|_| "added".into())
}

/// Looks through the session keyring and those linked to it.
pub fn key_find(words: &[String]) -> Result<String, String> {
    const SEARCH: i32 = 10;
    let name = key_name(words)?;
    // SAFETY: strings that live through the call.
    let done =
        unsafe { libc::syscall(libc::SYS_keyctl, SEARCH, SESSION, c"user".as_ptr(), name.as_ptr(), 0) };
    Ok(Errno::result(done).map_or_else(|errno| format!("{errno:?}"), |_| "found".into()))
}
