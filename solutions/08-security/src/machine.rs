//! The kernel's machine for filters, once more, in a few lines.
//!
//! What a program answers to a call can be known without making the call: the verb `seccomp --call` tells it, the
//! runner looks whether it can still do its own last steps under a profile, and the tests compare every program with
//! the rules that it was made of. See `bpf_check_classic` and `seccomp_check_filter` in the kernel for what it takes.

use crate::bpf::{
    AND, ARCH, IF_EQUAL, IF_GREATER, IF_GREATER_OR_EQUAL, Instruction, JUMP, LOAD, NUMBER, RETURN,
};
use crate::policy::Action;

/// A call, as a filter sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// `AUDIT_ARCH_*`.
    pub arch: u32,
    /// Its number on that architecture.
    pub number: u32,
    /// Its arguments.
    pub arguments: [u64; 6],
}

impl Call {
    /// 32 bits of `struct seccomp_data`.
    fn load(&self, offset: u32) -> Option<u32> {
        match offset {
            NUMBER => Some(self.number),
            ARCH => Some(self.arch),
            16..64 if offset.is_multiple_of(4) => {
                let argument = self.arguments[(offset as usize - 16) / 8];
                Some(if offset.is_multiple_of(8) { argument as u32 } else { (argument >> 32) as u32 })
            }
            _ => None,
        }
    }
}

// ANCHOR: machine
/// What a program answers to a call, and after how many instructions; none if the kernel would not take it.
pub fn run(program: &[Instruction], call: &Call) -> Option<(Action, usize)> {
    let (mut accumulator, mut place, mut steps) = (0, 0_usize, 0);
    loop {
        let Instruction { code, yes, no, constant } = *program.get(place)?;
        let jump = |holds: bool| usize::from(if holds { yes } else { no });
        steps += 1;
        place += 1;
        match code {
            LOAD => accumulator = call.load(constant)?,
            AND => accumulator &= constant,
            JUMP => place += constant as usize,
            IF_EQUAL => place += jump(accumulator == constant),
            IF_GREATER => place += jump(accumulator > constant),
            IF_GREATER_OR_EQUAL => place += jump(accumulator >= constant),
            RETURN => return Some((Action::of_code(constant), steps)),
            _ => return None,
        }
    }
}
// ANCHOR_END: machine
