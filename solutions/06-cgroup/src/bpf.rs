//! Rules for devices as a program: version 2 has no file for them, but asks a BPF program at each `open` and `mknod`.
//!
//! The kernel calls it with three numbers: what kind of device and access, major, minor. It answers 1 (yes) or 0 (no).
//! Ours tests one rule after the other, and says no in the end. The instructions are data; a test runs them.
//! See the kernel's cgroup-v2 "Device controller", bpf(2), and `<linux/bpf.h>` for all numbers here.
//!
//! Left out: maps, helpers, loops; nobody needs them here.

use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use process::{Error, Result};

use crate::Folder;
use crate::devices::{Kind, Rule};

// ANCHOR: instruction
/// `struct bpf_insn`: an operation, two registers of four bits each, a distance, a number.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    number: i32,
}

fn instruction(code: u8, to: u8, from: u8, offset: i16, number: i32) -> Instruction {
    Instruction { code, registers: from << 4 | to, offset, number }
}

/// `to = *(u32 *)(from + offset)`
const LOAD: u8 = 0x61;
/// `to = from`, 32 bits
const COPY: u8 = 0xbc;
/// `to = number`
const SET: u8 = 0xb7;
/// `to &= number`, 32 bits
const AND: u8 = 0x54;
/// `to >>= number`, 32 bits
const SHIFT: u8 = 0x74;
/// `if to != number`, skip `offset` instructions
const SKIP_IF_NOT: u8 = 0x55;
/// `return r0`
const EXIT: u8 = 0x95;

/// Registers: the answer, the numbers that the kernel gives (a pointer, at first), and where we keep them.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
/// Free once all is loaded.
const SCRATCH: u8 = 1;
// ANCHOR_END: instruction

// ANCHOR: program
/// The program for a list of rules.
pub fn program(rules: &[Rule]) -> Vec<Instruction> {
    let mut all = vec![
        // The first number has the kind in its lower half, the access in its upper.
        instruction(LOAD, KIND, CONTEXT, 0, 0),
        instruction(LOAD, MAJOR, CONTEXT, 4, 0),
        instruction(LOAD, MINOR, CONTEXT, 8, 0),
        instruction(COPY, ACCESS, KIND, 0, 0),
        instruction(AND, KIND, 0, 0, 0xffff),
        instruction(SHIFT, ACCESS, 0, 0, 16),
    ];
    rules.iter().for_each(|rule| all.extend(one(rule)));
    all.extend(answer(0));
    all
}

/// Answers yes if the rule allows it, else goes on behind its end.
fn one(rule: &Rule) -> Vec<Instruction> {
    let mut tests = Vec::new();
    match rule.kind {
        Kind::Any => {}
        Kind::Block => tests.push((KIND, 1)),
        Kind::Character => tests.push((KIND, 2)),
    }
    tests.extend(rule.major.map(|major| (MAJOR, major)));
    tests.extend(rule.minor.map(|minor| (MINOR, minor)));
    // Last, by its own register: nothing of the access is left when what the rule allows is taken away.
    tests.push((SCRATCH, 0));
    let mut all =
        vec![instruction(COPY, SCRATCH, ACCESS, 0, 0), instruction(AND, SCRATCH, 0, 0, !rule.access as i32)];
    let yes = answer(1);
    for (passed, (register, number)) in tests.iter().enumerate() {
        let behind = (tests.len() - passed - 1 + yes.len()) as i16;
        all.push(instruction(SKIP_IF_NOT, *register, 0, behind, *number as i32));
    }
    all.extend(yes);
    all
}

fn answer(number: i32) -> [Instruction; 2] {
    [instruction(SET, ANSWER, 0, 0, number), instruction(EXIT, 0, 0, 0, 0)]
}
// ANCHOR_END: program

// ANCHOR: attach
/// `BPF_PROG_LOAD` and `BPF_PROG_ATTACH`, with the beginning of `union bpf_attr` that each of them reads.
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log: [u32; 4],
    kernel: u32,
    flags: u32,
}

#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

const PROG_LOAD: u32 = 5;
const PROG_ATTACH: u32 = 8;
/// `BPF_PROG_TYPE_CGROUP_DEVICE`, and `BPF_CGROUP_DEVICE`.
const TYPE_CGROUP_DEVICE: u32 = 15;
const AT_CGROUP_DEVICE: u32 = 6;
/// Others may attach theirs as well, further in or here: then all must say yes.
const ALLOW_MULTI: u32 = 2;

/// Lets the kernel ask `program` about all devices that the processes of a cgroup open.
///
/// # Errors
/// EPERM: it takes CAP_BPF and CAP_NET_ADMIN on the machine. EINVAL: this kernel has no such programs.
pub fn attach(folder: &Folder, program: &[Instruction]) -> Result<()> {
    let load = Load {
        kind: TYPE_CGROUP_DEVICE,
        count: program.len() as u32,
        instructions: program.as_ptr() as u64,
        license: c"MIT".as_ptr() as u64,
        log: [0; 4],
        kernel: 0,
        flags: 0,
    };
    let cannot = |step| {
        let subject = folder.path.display().to_string();
        move |errno| {
            Error::new(step, subject, errno).because("the rules for devices need BPF programs of the kernel")
        }
    };
    let loaded = bpf(PROG_LOAD, &load).map_err(cannot("load the program for"))?;
    // SAFETY: the kernel gave us this new descriptor, and nobody else knows it.
    let loaded = unsafe { OwnedFd::from_raw_fd(loaded) };
    let attach = Attach {
        target: folder.as_fd().as_raw_fd() as u32,
        program: loaded.as_raw_fd() as u32,
        kind: AT_CGROUP_DEVICE,
        flags: ALLOW_MULTI,
    };
    // The cgroup keeps it from now on, until it is removed.
    bpf(PROG_ATTACH, &attach).map(drop).map_err(cannot("attach a program to"))
}

/// bpf(2); what the number means depends on the command.
fn bpf<T>(command: u32, attributes: &T) -> nix::Result<i32> {
    // SAFETY: the attributes, and all that they point to, outlive the call, and the kernel only reads them.
    let done = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    Errno::result(done).map(|number| number as i32)
}
// ANCHOR_END: attach

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::{MAKE, READ, WRITE, default};

    /// The few operations that we use, as the kernel carries them out.
    fn run(program: &[Instruction], context: [u32; 3]) -> u64 {
        let (mut registers, mut at) = ([0_u64; 11], 0);
        loop {
            let Instruction { code, registers: pair, offset, number } = program[at];
            let (to, from) = (usize::from(pair & 15), usize::from(pair >> 4));
            at += 1;
            match code {
                LOAD => registers[to] = u64::from(context[offset as usize / 4]),
                COPY => registers[to] = registers[from] & 0xffff_ffff,
                SET => registers[to] = number as u64,
                AND => registers[to] &= u64::from(number as u32),
                SHIFT => registers[to] >>= number,
                SKIP_IF_NOT => at += if registers[to] == number as u64 { 0 } else { offset as usize },
                EXIT => return registers[0],
                other => panic!("operation {other:#x}"),
            }
        }
    }

    #[test]
    fn the_program_says_what_the_rules_say() {
        let (block, character) = (1, 2);
        let all = program(&default());
        let asks = |kind: u32, access: u32, major, minor| run(&all, [access << 16 | kind, major, minor]) == 1;
        assert!(asks(character, READ | WRITE, 1, 3), "null");
        assert!(asks(character, WRITE, 136, 17), "a terminal");
        assert!(asks(block, MAKE, 8, 0), "the node of a disk");
        assert!(!asks(block, READ, 8, 0), "the disk itself");
        assert!(!asks(character, READ, 1, 1), "memory");
        assert!(!asks(character, READ | MAKE, 10, 237), "making alone is allowed");
        let none = program(&[]);
        assert_eq!(run(&none, [READ << 16 | character, 1, 3]), 0);
        let any = program(&[Rule { kind: Kind::Any, major: None, minor: None, access: READ }]);
        assert_eq!(run(&any, [READ << 16 | block, 8, 0]), 1);
        assert_eq!(run(&any, [(READ | WRITE) << 16 | block, 8, 0]), 0);
    }
}
