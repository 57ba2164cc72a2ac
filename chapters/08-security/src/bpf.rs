//! Instructions of the classic BPF machine, and what they look like to a person.
//!
//! The machine has one accumulator of 32 bits, reads the call (`struct seccomp_data`: number, architecture, instruction
//! pointer, six arguments of 64 bits), compares, jumps forward only, and returns. Of its instructions a filter needs six.
//! See seccomp(2), the kernel's Documentation/networking/filter.rst.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::calls::{self, Arch};
use crate::policy::Action;

// ANCHOR: instruction
/// `struct sock_filter`: what to do, how many instructions to skip if a comparison holds and if not, and a constant.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// What to do, one of the constants here.
    pub code: u16,
    /// Skipped if it holds.
    pub yes: u8,
    /// Skipped if not.
    pub no: u8,
    /// The constant.
    pub constant: u32,
}

/// Loads 32 bits of the call into the accumulator.
pub const LOAD: u16 = 0x20;
/// Keeps the bits of the constant in the accumulator.
pub const AND: u16 = 0x54;
/// Skips as many instructions as the constant says.
pub const JUMP: u16 = 0x05;
/// Compares the accumulator: is it the constant?
pub const IF_EQUAL: u16 = 0x15;
/// Is it more?
pub const IF_GREATER: u16 = 0x25;
/// Is it more or the same?
pub const IF_GREATER_OR_EQUAL: u16 = 0x35;
/// Ends with the constant as the answer.
pub const RETURN: u16 = 0x06;

/// Where the number of the call lies in `struct seccomp_data`.
pub const NUMBER: u32 = 0;
/// Where the architecture lies.
pub const ARCH: u32 = 4;

/// Where the lower half of an argument lies, on the little-endian machines that we know; the upper one behind it.
pub fn lower_half(argument: u8) -> u32 {
    16 + 8 * u32::from(argument)
}

/// An instruction that skips nothing.
pub fn plain(code: u16, constant: u32) -> Instruction {
    Instruction { code, yes: 0, no: 0, constant }
}

/// A comparison, and how many instructions are skipped if it holds and if not.
pub fn compare(code: u16, constant: u32, yes: usize, no: usize) -> Instruction {
    let short = |length: usize| u8::try_from(length).expect("a test of arguments is short");
    Instruction { code, yes: short(yes), no: short(no), constant }
}

/// The end of every path.
pub fn answer(action: Action) -> Instruction {
    plain(RETURN, action.code())
}
// ANCHOR_END: instruction

/// Instructions as bytes, eight each, for a file.
pub fn encode(program: &[Instruction]) -> Vec<u8> {
    let bytes = |i: &Instruction| {
        let [a, b] = i.code.to_le_bytes();
        let [c, d, e, f] = i.constant.to_le_bytes();
        [a, b, i.yes, i.no, c, d, e, f]
    };
    program.iter().flat_map(bytes).collect()
}

/// The instructions in such bytes; none if their number is odd, or more than the kernel takes.
pub fn decode(bytes: &[u8]) -> Option<Vec<Instruction>> {
    const MOST: usize = 4096;
    let whole = bytes.len().is_multiple_of(8) && !bytes.is_empty() && bytes.len() / 8 <= MOST;
    let instruction = |b: &[u8]| Instruction {
        code: u16::from_le_bytes([b[0], b[1]]),
        yes: b[2],
        no: b[3],
        constant: u32::from_le_bytes([b[4], b[5], b[6], b[7]]),
    };
    whole.then(|| bytes.chunks_exact(8).map(instruction).collect())
}

/// What is known of the machine before an instruction: whose call it is, and what was loaded.
#[derive(Clone, Copy, Default)]
struct Known {
    arch: Option<Arch>,
    loaded: Option<u32>,
}

// ANCHOR: disassemble
/// A program for a person, one instruction a line, with the names of calls and of errors.
pub fn disassemble(program: &[Instruction]) -> String {
    let names: BTreeMap<u32, _> = Arch::ALL.iter().map(|arch| (arch.audit(), calls::names(*arch))).collect();
    let mut known = vec![Known::default(); program.len() + 1];
    let mut text = String::new();
    for (place, instruction) in program.iter().enumerate() {
        let Instruction { code, constant, .. } = *instruction;
        let (yes, no) = (place + 1 + usize::from(instruction.yes), place + 1 + usize::from(instruction.no));
        let now = known[place];
        let value = value(now, constant, &names);
        let mut pass_on = |to: usize, next: Known| {
            if let Some(known) = known.get_mut(to) {
                *known = next;
            }
        };
        let line = match code {
            LOAD => {
                pass_on(place + 1, Known { loaded: Some(constant), ..now });
                format!("load {}", part(constant))
            }
            AND => {
                pass_on(place + 1, now);
                format!("keep the bits {constant:#x}")
            }
            JUMP => {
                pass_on(place + 1 + constant as usize, now);
                format!("go to {:04}", place + 1 + constant as usize)
            }
            RETURN => format!("answer {}", Action::of_code(constant).text()),
            _ => {
                let is_arch = now.loaded == Some(ARCH) && code == IF_EQUAL;
                let arch = Arch::ALL.into_iter().find(|arch| is_arch && arch.audit() == constant);
                pass_on(yes, Known { arch: arch.or(now.arch), ..now });
                pass_on(no, now);
                format!("if {} {value} go to {yes:04}, else to {no:04}", sign(code))
            }
        };
        let _ = writeln!(text, "{place:04}  {line}");
    }
    text
}
// ANCHOR_END: disassemble

fn sign(code: u16) -> &'static str {
    match code {
        IF_EQUAL => "=",
        IF_GREATER => ">",
        IF_GREATER_OR_EQUAL => ">=",
        _ => "?",
    }
}

/// What lies at an offset of `struct seccomp_data`.
fn part(offset: u32) -> String {
    match offset {
        NUMBER => "the number".into(),
        ARCH => "the architecture".into(),
        _ if offset.is_multiple_of(8) => format!("argument {}, lower half", (offset.max(16) - 16) / 8),
        _ => format!("argument {}, upper half", (offset.max(16) - 16) / 8),
    }
}

/// A constant, with its name where it has one.
fn value(known: Known, constant: u32, names: &BTreeMap<u32, BTreeMap<u32, &str>>) -> String {
    match known.loaded {
        Some(ARCH) => Arch::ALL
            .into_iter()
            .find(|arch| arch.audit() == constant)
            .map_or_else(|| format!("{constant:#x}"), |arch| format!("{arch:?}")),
        Some(NUMBER) => {
            let name = known.arch.and_then(|arch| names.get(&arch.audit())?.get(&constant));
            name.map_or_else(|| format!("{constant}"), |name| format!("{constant} ({name})"))
        }
        _ => format!("{constant:#x}"),
    }
}
