//! From a policy to a program for the kernel.
//!
//! Every piece of program here ends each of its paths with an answer, so pieces are put together by one means only:
//! [`when`], which runs a piece if a comparison holds and goes on behind it if not. Jumps of a comparison reach over
//! 255 instructions; longer pieces are reached by a jump of their own.
//!
//! ```text
//! whose call?  ── x86-64 ──▶ x32? closed ─▶ a tree over the numbers ─▶ rules, in order ─▶ default
//!              ── i386 ────▶               a tree over its numbers ─▶ ...
//!              ── another ─▶ closed
//! ```
//!
//! Most calls are answered alike, and so are their neighbours: the numbers fall into some dozen ranges. A tree over
//! these takes six comparisons where a list would take hundreds.

use crate::bpf::{
    AND, ARCH, IF_EQUAL, IF_GREATER, IF_GREATER_OR_EQUAL, Instruction, JUMP, LOAD, NUMBER, answer, compare,
    lower_half, plain,
};
use crate::calls::Arch;
use crate::policy::{Action, Comparison, Door, Policy, Rule, Test, X32};

/// Instructions in their order.
pub type Program = Vec<Instruction>;

// ANCHOR: when
/// Runs `piece` if the comparison holds; goes on behind it if not.
fn when(code: u16, constant: u32, piece: Program) -> Program {
    let test = if piece.len() <= usize::from(u8::MAX) {
        vec![compare(code, constant, 0, piece.len())]
    } else {
        vec![compare(code, constant, 1, 0), plain(JUMP, piece.len() as u32)]
    };
    [test, piece].concat()
}
// ANCHOR_END: when

// ANCHOR: doors
/// The program of a policy. It looks whose call it is before it looks at the number.
pub fn compile(policy: &Policy) -> Program {
    let mut program = vec![plain(LOAD, ARCH)];
    for door in &policy.doors {
        program.extend(when(IF_EQUAL, door.arch.audit(), behind(door, policy)));
    }
    program.push(answer(policy.closed));
    program
}

/// The part for the calls of one architecture. x32's calls come under the architecture of x86-64: only a bit of
/// their numbers tells them apart.
fn behind(door: &Door, policy: &Policy) -> Program {
    let mut program = vec![plain(LOAD, NUMBER)];
    if door.arch == Arch::X86_64 {
        program.extend(when(IF_GREATER_OR_EQUAL, X32, vec![answer(policy.closed)]));
    }
    program.extend(tree(&ranges(door, policy)));
    program
}
// ANCHOR_END: doors

/// Numbers from `first` to the next range's that are answered alike: by `rules`, and where none fits, by `otherwise`.
#[derive(Debug, PartialEq, Eq)]
struct Range<'a> {
    first: u32,
    rules: &'a [Rule],
    otherwise: Action,
}

// ANCHOR: ranges
/// All numbers, in ranges.
fn ranges<'a>(door: &'a Door, policy: &Policy) -> Vec<Range<'a>> {
    let mut all: Vec<Range> = Vec::new();
    let mut add = |first, rules: &'a [Rule], default| {
        let (rules, otherwise) = match rules {
            [only] if only.tests.is_empty() => (&[][..], only.action),
            rules => (rules, default),
        };
        if all.last().is_none_or(|last| (last.rules, last.otherwise) != (rules, otherwise)) {
            all.push(Range { first, rules, otherwise });
        }
    };
    let mut next = 0;
    for (number, rules) in &door.rules {
        if *number > next {
            add(next, &[], policy.default);
        }
        add(*number, rules, policy.default);
        next = number + 1;
    }
    if door.unborn > next {
        add(next, &[], policy.default);
    }
    add(door.unborn, &[], policy.unborn);
    all
}

/// Finds the range of the number in the accumulator, by halves.
fn tree(ranges: &[Range]) -> Program {
    match ranges {
        [] => Vec::new(),
        [only] => leaf(only),
        _ => {
            let (lower, upper) = ranges.split_at(ranges.len() / 2);
            [when(IF_GREATER_OR_EQUAL, upper[0].first, tree(upper)), tree(lower)].concat()
        }
    }
}

/// The rules in their order; the first that fits answers.
fn leaf(range: &Range) -> Program {
    let mut program = Program::new();
    for rule in range.rules {
        let end = vec![answer(rule.action)];
        program.extend(rule.tests.iter().rev().fold(end, |piece, test| guard(test, piece)));
    }
    program.push(answer(range.otherwise));
    program
}
// ANCHOR_END: ranges

// ANCHOR: guard
/// The bits of the lower half.
const LOWER: u64 = u32::MAX as u64;

/// Runs `piece` if the call passes a test; goes on behind it if not.
fn guard(test: &Test, piece: Program) -> Program {
    // A negation is the same comparison with its two ends exchanged.
    let negated =
        matches!(test.comparison, Comparison::NotEqual | Comparison::Less | Comparison::LessOrEqual);
    let ends = if negated { (piece.len(), 0) } else { (0, piece.len()) };
    let compared = match test.comparison {
        Comparison::Equal | Comparison::NotEqual => equal(test, u64::MAX, ends),
        // As the kernel reads many arguments: 32 bits, which one look compares.
        Comparison::MaskedEqual(LOWER) if test.value <= LOWER => {
            vec![plain(LOAD, lower_half(test.argument)), compare(IF_EQUAL, test.value as u32, ends.0, ends.1)]
        }
        Comparison::MaskedEqual(mask) => equal(test, mask, ends),
        Comparison::Greater | Comparison::LessOrEqual => ordered(test, IF_GREATER, ends),
        Comparison::GreaterOrEqual | Comparison::Less => ordered(test, IF_GREATER_OR_EQUAL, ends),
    };
    [compared, piece].concat()
}
// ANCHOR_END: guard

// ANCHOR: halves
/// Whether the argument is the value in the bits of `mask`. It has 64 bits and the accumulator 32, so it is compared in
/// halves. `yes` and `no` say how many instructions are skipped behind these, depending on the outcome.
fn equal(test: &Test, mask: u64, (yes, no): (usize, usize)) -> Program {
    let half = |offset, mask: u32| match mask {
        u32::MAX => vec![plain(LOAD, offset)],
        mask => vec![plain(LOAD, offset), plain(AND, mask)],
    };
    let lower = lower_half(test.argument);
    let low = [half(lower, mask as u32), vec![compare(IF_EQUAL, test.value as u32, yes, no)]].concat();
    // Where the upper halves differ, nobody looks at the lower ones.
    let high = compare(IF_EQUAL, (test.value >> 32) as u32, 0, low.len() + no);
    [half(lower + 4, (mask >> 32) as u32), vec![high], low].concat()
}

/// Whether the argument is more than the value; where the upper halves are the same, `last` compares the lower ones.
fn ordered(test: &Test, last: u16, (yes, no): (usize, usize)) -> Program {
    let (lower, high) = (lower_half(test.argument), (test.value >> 32) as u32);
    vec![
        plain(LOAD, lower + 4),
        compare(IF_GREATER, high, 3 + yes, 0),
        compare(IF_EQUAL, high, 0, 2 + no),
        plain(LOAD, lower),
        compare(last, test.value as u32, yes, no),
    ]
}
// ANCHOR_END: halves
