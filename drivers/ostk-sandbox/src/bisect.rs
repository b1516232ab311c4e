//! A filter of system calls, written in the instructions of the kernel's packet filter: a search for the call by bisection,
//! and then a look at its arguments.
//!
//! A compiler that compares with one call after the other would cost each start of a command a third of a millisecond, and
//! a second program as much again: the kernel translates each, and runs it for every call of its table to learn which are
//! always allowed. Called by `filter.rs`, which says what is answered to which call.

use std::{collections::BTreeMap, env::consts::ARCH};

use libc::{c_long, sock_filter};

/// Instructions of the kernel's packet filter, as seccomp(2) takes them.
pub(crate) type Program = Vec<sock_filter>;

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
const JUMP_IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const JUMP_IF_AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const JUMP_IF_ANY: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K
/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
/// On x86-64 each call has a second number, in the x32 table, from here on.
const X32: u32 = 0x4000_0000;
/// Calls that are compared one by one at the end of the search.
const FEW: usize = 3;

/// What is answered to a call: by the first case that holds, or else `otherwise`. Answers are those of seccomp(2).
#[derive(Debug, Clone)]
pub(crate) struct Answers {
    pub(crate) cases: Vec<Case>,
    pub(crate) otherwise: u32,
}

/// An answer to a call whose arguments meet every condition.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) conditions: Vec<Condition>,
    pub(crate) answer: u32,
}

/// A condition on an argument, the first of which has the number 0. All but the last look at its lower 32 bits, which are
/// all that the kernel itself looks at there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Condition {
    Is(u32, u32),
    IsNot(u32, u32),
    /// Has one of these bits at least.
    HasAny(u32, u32),
    /// Of the bits of the first number it has exactly those of the second.
    Among(u32, u32, u32),
    /// Is not null.
    IsThere(u32),
}

impl Condition {
    /// Instructions that go on behind themselves when it holds, and over `failed` more when it does not.
    fn code(self, failed: u8) -> Program {
        match self {
            Self::Is(argument, value) => vec![load(argument), jump(JUMP_IF_EQUAL, value, 0, failed)],
            Self::IsNot(argument, value) => vec![load(argument), jump(JUMP_IF_EQUAL, value, failed, 0)],
            Self::HasAny(argument, bits) => vec![load(argument), jump(JUMP_IF_ANY, bits, 0, failed)],
            Self::Among(argument, bits, value) => {
                vec![load(argument), step(AND, bits), jump(JUMP_IF_EQUAL, value, 0, failed)]
            }
            Self::IsThere(argument) => vec![
                load(argument),
                jump(JUMP_IF_EQUAL, 0, 0, 2),
                step(LOAD, place(argument) + 4),
                jump(JUMP_IF_EQUAL, 0, failed, 0),
            ],
        }
    }
}

impl Case {
    /// Goes on behind itself when a condition does not hold.
    fn code(&self) -> Program {
        let answer = vec![step(RETURN, self.answer)];
        self.conditions.iter().rev().fold(answer, |rest, condition| {
            let code = condition.code(u8::try_from(rest.len()).unwrap_or(u8::MAX));
            [code, rest].concat()
        })
    }
}

/// Gives to each call what is listed for it, and leave to the rest.
///
/// A call by the table of another processor, such as the 32-bit one, ends the process: its numbers mean other calls.
pub(crate) fn program(answers: &BTreeMap<c_long, Answers>) -> Program {
    let calls: Vec<_> =
        answers.iter().filter_map(|(call, answers)| Some((u32::try_from(*call).ok()?, answers))).collect();
    let mut program = vec![
        step(LOAD, ARCHITECTURE),
        jump(JUMP_IF_EQUAL, audit_architecture(), 1, 0),
        step(RETURN, libc::SECCOMP_RET_KILL_PROCESS),
        step(LOAD, NUMBER),
    ];
    if ARCH == "x86_64" {
        let absent = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();
        program.extend([jump(JUMP_IF_AT_LEAST, X32, 0, 1), step(RETURN, absent)]);
    }
    program.extend(search(&calls));
    program
}

/// Ends in an answer on every way through. The list is sorted.
fn search(calls: &[(u32, &Answers)]) -> Program {
    if calls.len() <= FEW {
        let all = calls.iter().flat_map(|(number, answers)| compare(*number, answers));
        return all.chain([step(RETURN, libc::SECCOMP_RET_ALLOW)]).collect();
    }
    let (lower, upper) = calls.split_at(calls.len() / 2);
    let Some((first, _)) = upper.first() else { return Vec::new() };
    let lower = search(lower);
    let over = match u8::try_from(lower.len()) {
        Ok(length) => vec![jump(JUMP_IF_AT_LEAST, *first, length, 0)],
        // A jump with a condition is one byte long.
        Err(_) => {
            let length = u32::try_from(lower.len()).unwrap_or(u32::MAX);
            vec![jump(JUMP_IF_AT_LEAST, *first, 0, 1), step(JUMP, length)]
        }
    };
    [over, lower, search(upper)].concat()
}

/// What is answered to one call; goes on behind itself with another.
fn compare(number: u32, answers: &Answers) -> Program {
    let mut code: Program = answers.cases.iter().flat_map(Case::code).collect();
    code.push(step(RETURN, answers.otherwise));
    match u8::try_from(code.len()) {
        Ok(length) => [vec![jump(JUMP_IF_EQUAL, number, 0, length)], code].concat(),
        // Some fifty conditions on one call, of which none has ten.
        Err(_) => vec![step(RETURN, libc::SECCOMP_RET_KILL_PROCESS)],
    }
}

/// Where an argument is in `struct seccomp_data`: its lower half, and four bytes later the upper.
const fn place(argument: u32) -> u32 {
    16 + 8 * argument
}

const fn load(argument: u32) -> sock_filter {
    step(LOAD, place(argument))
}

const fn step(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}

const fn jump(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

/// The kernel's name for this processor's table of calls (`AUDIT_ARCH_*`).
fn audit_architecture() -> u32 {
    match ARCH {
        "x86_64" => 0xC000_003E,
        "aarch64" => 0xC000_00B7,
        "riscv64" => 0xC000_00F3,
        // No call has this: every process ends at once, and the probe's own tests say so.
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a program answers to a call, and in how many steps.
    fn answer(program: &Program, number: u32, architecture: u32, arguments: [u64; 6]) -> (u32, usize) {
        let (mut at, mut held, mut steps) = (0, 0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            steps += 1;
            at += 1;
            let jump = |holds| usize::from(if holds { jt } else { jf });
            match code {
                LOAD if k == NUMBER => held = number,
                LOAD if k == ARCHITECTURE => held = architecture,
                LOAD => {
                    let argument = arguments[(k as usize - 16) / 8];
                    held = if k % 8 == 0 { argument as u32 } else { (argument >> 32) as u32 };
                }
                AND => held &= k,
                JUMP => at += k as usize,
                JUMP_IF_EQUAL => at += jump(held == k),
                JUMP_IF_AT_LEAST => at += jump(held >= k),
                JUMP_IF_ANY => at += jump(held & k != 0),
                RETURN => return (k, steps),
                _ => panic!("no such instruction"),
            }
        }
    }

    fn here(program: &Program, number: u32, arguments: [u64; 6]) -> u32 {
        answer(program, number, audit_architecture(), arguments).0
    }

    fn refused(errno: u32) -> Answers {
        Answers { cases: Vec::new(), otherwise: libc::SECCOMP_RET_ERRNO | errno }
    }

    #[test]
    fn exactly_the_listed_calls_are_answered_each_with_its_own_in_a_few_steps() {
        for step in [1, 3, 7] {
            let all = (0..500).step_by(step).map(|call| (c_long::from(call), refused(call % 90 + 1)));
            for few in [80, 500] {
                let listed: BTreeMap<_, _> = all.clone().take(few).collect();
                let program = program(&listed);
                for number in 0..600 {
                    let expected = listed.get(&number.into());
                    let expected = expected.map_or(libc::SECCOMP_RET_ALLOW, |answers| answers.otherwise);
                    let (found, steps) = answer(&program, number, audit_architecture(), [0; 6]);
                    assert_eq!(found, expected, "{number}");
                    assert!(steps < 28, "{steps}");
                }
            }
        }
    }

    #[test]
    fn the_first_case_whose_conditions_all_hold_answers() {
        use Condition::*;
        let case = |conditions: &[Condition], answer| Case { conditions: conditions.to_vec(), answer };
        let answers = Answers {
            cases: vec![
                case(&[Is(0, 1), IsNot(1, 2)], 10),
                case(&[HasAny(0, 6), Among(1, 0xf, 3)], 11),
                case(&[IsThere(4)], 12),
            ],
            otherwise: 13,
        };
        let others = (100..140).map(|call| (call, refused(1)));
        let program = program(&others.chain([(5, answers)]).collect());
        let answer = |first, second, fifth| here(&program, 5, [first, second, 0, 0, fifth, 0]);
        assert_eq!([answer(1, 0, 0), answer(1, 3, 9), answer(1, 2, 0)], [10, 10, 13]);
        assert_eq!(
            [answer(4, 0x13, 0), answer(2, 3, 9), answer(6, 0x14, 0), answer(8, 3, 0)],
            [11, 11, 13, 13]
        );
        assert_eq!([answer(0, 0, 8), answer(0, 0, 1 << 32), answer(0, 0, 0)], [12, 12, 13]);
        // Only the lower half of a number counts.
        assert_eq!(answer(7 << 32 | 1, 0, 0), 10);
    }

    #[test]
    fn another_table_of_calls_is_no_way_around() {
        let program = program(&BTreeMap::from([(1, refused(1))]));
        assert_eq!(answer(&program, 5, 0x4000_0003, [0; 6]).0, libc::SECCOMP_RET_KILL_PROCESS);
        if ARCH == "x86_64" {
            let refused = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();
            assert_eq!(here(&program, X32 | 5, [0; 6]), refused);
        }
    }
}
