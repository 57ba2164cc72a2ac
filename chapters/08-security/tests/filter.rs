//! A program says what its rules say: over random rules and random calls, and over Docker's profile.

use std::collections::BTreeMap;

use my_security::bpf::{Instruction, decode, disassemble, encode};
use my_security::calls::{Arch, numbers};
use my_security::capability::Set;
use my_security::filter::compile;
use my_security::machine::{Call, answers, run};
use my_security::policy::{Action, Comparison, Door, Policy, Rule, Test, X32};
use my_security::profile::{DEFAULT, parse};
use my_security::resolve::{Facts, resolve};

/// Numbers without end that look like chance, the same in every run; xorshift64*.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 11) % end
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }

    /// A value whose halves are often the same as another's, or next to it.
    fn value(&mut self) -> u64 {
        let half = |chance: &mut Chance| match chance.below(6) {
            0 => chance.next() as u32,
            1 => u32::MAX,
            2 => 0x8000_0000,
            other => other as u32 - 3,
        };
        u64::from(half(self)) << 32 | u64::from(half(self))
    }

    fn action(&mut self) -> Action {
        let message = self.below(4096) as u16;
        self.of(&[
            Action::Allow,
            Action::Errno(message),
            Action::Errno(1),
            Action::Log,
            Action::Trap,
            Action::Trace(message),
            Action::KillProcess,
            Action::KillThread,
        ])
    }

    fn test(&mut self, argument: u8) -> Test {
        let mask = self.value();
        let comparison = self.of(&[
            Comparison::Equal,
            Comparison::NotEqual,
            Comparison::Greater,
            Comparison::GreaterOrEqual,
            Comparison::Less,
            Comparison::LessOrEqual,
            Comparison::MaskedEqual(mask),
        ]);
        let value = self.value();
        let value = if matches!(comparison, Comparison::MaskedEqual(_)) { value & mask } else { value };
        Test { argument, comparison, value }
    }

    fn rules(&mut self) -> Vec<Rule> {
        if self.below(3) == 0 {
            return vec![Rule { tests: Vec::new(), action: self.action() }];
        }
        let rule = |chance: &mut Chance| {
            let arguments: Vec<u8> = (0..6).filter(|_| chance.below(3) == 0).collect();
            let mut tests: Vec<Test> = arguments.into_iter().map(|argument| chance.test(argument)).collect();
            if tests.is_empty() {
                tests.push(chance.test(0));
            }
            Rule { tests, action: chance.action() }
        };
        (0..=self.below(9)).map(|_| rule(self)).collect()
    }

    fn door(&mut self, arch: Arch) -> Door {
        let most = self.of(&[0, 1, 5, 60, 400]);
        let rules: BTreeMap<u32, Vec<Rule>> =
            (0..most).map(|_| (self.below(500) as u32, self.rules())).collect();
        let unborn = rules.keys().max().map_or(0, |number| number + 1) + self.below(3) as u32;
        Door { arch, rules, unborn }
    }

    fn policy(&mut self) -> Policy {
        let arches = self.of(&[&[Arch::X86_64][..], &[Arch::X86_64, Arch::I386], &[Arch::Aarch64]]);
        let doors = arches.iter().map(|arch| self.door(*arch)).collect();
        Policy { doors, default: self.action(), unborn: self.action(), closed: self.action() }
    }

    fn call(&mut self) -> Call {
        let known = self.of(&Arch::ALL).audit();
        let arch = if self.below(20) == 0 { self.next() as u32 } else { known };
        let number = match self.below(10) {
            0 => self.next() as u32,
            1 => X32 | self.below(500) as u32,
            _ => self.below(505) as u32,
        };
        Call { arch, number, arguments: std::array::from_fn(|_| self.value()) }
    }
}

/// All that a program answers must be what the policy says; the most instructions that a call took.
fn compare(policy: &Policy, program: &[Instruction], calls: impl Iterator<Item = Call>) -> usize {
    let mut most = 0;
    for call in calls {
        let (said, steps) = run(program, &call).unwrap_or_else(|| panic!("{call:?} has no answer"));
        assert_eq!(said, policy.answer(call.arch, call.number, &call.arguments), "{call:?}");
        most = most.max(steps);
    }
    most
}

#[test]
fn a_program_answers_what_its_rules_say() {
    let mut chance = Chance(0x6761_6e74_7279);
    for _ in 0..150 {
        let policy = chance.policy();
        let program = compile(&policy);
        compare(&policy, &program, (0..4000).map(|_| chance.call()));
        assert_eq!(decode(&encode(&program)), Some(program.clone()).filter(|program| program.len() <= 4096));
    }
}

/// With fewer arguments known there are more answers, and the true one is always among them.
#[test]
fn what_is_not_known_hides_no_answer() {
    let mut chance = Chance(0x0068_6172_626f_7572);
    for _ in 0..60 {
        let policy = chance.policy();
        let program = compile(&policy);
        for _ in 0..400 {
            let call = chance.call();
            let (said, _) = run(&program, &call).unwrap();
            assert_eq!(answers(&program, &call, 6), Some(vec![said]), "{call:?}");
            let mut before = 1;
            for known in (0..6).rev() {
                let all = answers(&program, &call, known).unwrap();
                assert!(all.contains(&said) && all.len() >= before, "{call:?}, {known} known: {all:?}");
                before = all.len();
            }
            // With nothing known, it is the same whatever the arguments are.
            let other = Call { arguments: chance.call().arguments, ..call };
            assert!(answers(&program, &call, 0).unwrap().contains(&run(&program, &other).unwrap().0));
        }
    }
}

#[test]
fn dockers_profile_is_one_small_program() {
    let facts =
        Facts { capabilities: Set::of_docker(), arch: Arch::X86_64, kernel: (6, 1), shared_terminal: true };
    let policy = resolve(&parse(DEFAULT, "Docker's").unwrap(), &facts).unwrap();
    let program = compile(&policy);
    let arguments = |value| [value; 6];
    let values = (0..60).chain([1 << 32, 1 << 32 | 38, u64::MAX, 0xffff_ffff, 0x2_0000, 0x2_0008]);
    let all = values.flat_map(|value| {
        let call = move |arch: Arch, number| Call { arch: arch.audit(), number, arguments: arguments(value) };
        Arch::ALL.into_iter().flat_map(move |arch| (0..600).map(move |number| call(arch, number)))
    });
    let most = compare(&policy, &program, all);
    assert!(program.len() < 800, "{} instructions", program.len());
    assert!(most < 150, "up to {most} instructions a call");
    let read = Call { arch: Arch::X86_64.audit(), number: 0, arguments: [0; 6] };
    assert!(run(&program, &read).unwrap().1 < 15);
}

#[test]
fn a_program_can_be_read() {
    let rule = |tests, action| Rule { tests, action };
    let is_vsock = Test { argument: 0, comparison: Comparison::Equal, value: 40 };
    let rules = [
        (numbers(Arch::X86_64)["read"], vec![rule(vec![], Action::Allow)]),
        (numbers(Arch::X86_64)["socket"], vec![rule(vec![is_vsock], Action::Errno(97))]),
    ];
    let door = Door { arch: Arch::X86_64, rules: rules.into(), unborn: 42 };
    let policy = Policy {
        doors: vec![door],
        default: Action::Errno(1),
        unborn: Action::NO_SUCH_CALL,
        closed: Action::KillProcess,
    };
    let text = disassemble(&compile(&policy));
    for words in
        ["load the architecture", "= X86_64", "(socket)", "argument 0, upper half", "= 0x28", "EAFNOSUPPORT"]
    {
        assert!(text.contains(words), "{words} in\n{text}");
    }
    assert!(text.ends_with("answer kill the process\n"), "{text}");
}

#[test]
fn what_is_no_program_is_known() {
    assert_eq!(decode(&[]), None);
    assert_eq!(decode(&[0; 12]), None);
    assert_eq!(decode(&vec![0; 8 * 4097]), None);
    assert_eq!(run(&[], &Call { arch: 0, number: 0, arguments: [0; 6] }), None);
}
