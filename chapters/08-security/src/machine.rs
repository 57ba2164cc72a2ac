//! The kernel's machine for filters, once more, in a few lines.
//!
//! What a program answers to a call can be known without making the call: the verb `seccomp --call` tells it, the
//! runner looks whether it can still do its own last steps under a profile, and the tests compare every program with
//! the rules that it was made of. See `bpf_check_classic` and `seccomp_check_filter` in the kernel for what it takes.

use std::collections::BTreeSet;

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

/// Whether a comparison holds; none if it is something else.
fn holds(code: u16, accumulator: u32, constant: u32) -> Option<bool> {
    match code {
        IF_EQUAL => Some(accumulator == constant),
        IF_GREATER => Some(accumulator > constant),
        IF_GREATER_OR_EQUAL => Some(accumulator >= constant),
        _ => None,
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
            RETURN => return Some((Action::of_code(constant), steps)),
            comparison => place += jump(holds(comparison, accumulator, constant)?),
        }
    }
}
// ANCHOR_END: machine

// ANCHOR: answers
/// All that a program may answer to a call of which only the first `known` arguments are fixed; none if the kernel would
/// not take it.
///
/// Where a comparison depends on what is not known, both ways are gone. So there may be an answer too many here (what
/// one test has found out, the next does not know), but none is missing.
pub fn answers(program: &[Instruction], call: &Call, known: usize) -> Option<Vec<Action>> {
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    let mut ways = vec![(0_usize, Some(0))];
    while let Some(way) = ways.pop() {
        if !seen.insert(way) {
            continue;
        }
        let (place, accumulator) = way;
        let Instruction { code, yes, no, constant } = *program.get(place)?;
        let mut go_on = |skipped: usize, accumulator| ways.push((place + 1 + skipped, accumulator));
        match (code, accumulator) {
            (LOAD, _) => {
                let is_known = (constant as usize) < 16 + 8 * known;
                go_on(0, Some(call.load(constant)?).filter(|_| is_known));
            }
            (AND, None) if constant == 0 => go_on(0, Some(0)),
            (AND, value) => go_on(0, value.map(|value| value & constant)),
            (JUMP, value) => go_on(constant as usize, value),
            (RETURN, _) => found.push(Action::of_code(constant)),
            (comparison, value) => {
                let one = value.map(|value| holds(comparison, value, constant));
                for (outcome, skipped) in [(true, yes), (false, no)] {
                    if one.is_none_or(|one| one == Some(outcome)) {
                        go_on(skipped.into(), value);
                    }
                }
            }
        }
    }
    Some(found).filter(|found| !found.is_empty())
}
// ANCHOR_END: answers
