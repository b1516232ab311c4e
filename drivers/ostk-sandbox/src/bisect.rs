//! A filter that refuses a list of system calls, whatever their arguments: a search by bisection, written in the
//! instructions of the kernel's packet filter.
//!
//! Called by `filter.rs`, which says what is on the list.

use std::{collections::BTreeMap, env::consts::ARCH};

use libc::c_long;
use seccompiler::{BpfProgram, sock_filter};

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const JUMP_IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const JUMP_IF_AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K
/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
/// On x86-64 each call has a second number, in the x32 table, from here on.
const X32: u32 = 0x4000_0000;
/// Calls that are compared one by one at the end of the search.
const FEW: usize = 3;

/// An argument of a call is 64 bits long, and an instruction looks at 32 of them.
const FIFTH_ARGUMENT: [u32; 2] = [48, 52];

/// Refuses each call of `refused` with its error, and what belongs to another table of calls; allows the rest.
///
/// A call by the table of another processor, such as the 32-bit one, ends the process: its numbers mean other calls.
pub(crate) fn program(refused: BTreeMap<c_long, i32>) -> BpfProgram {
    let refuse = |errno: i32| libc::SECCOMP_RET_ERRNO | errno.cast_unsigned();
    answering(Vec::new(), refused.into_iter().map(|(call, errno)| (call, refuse(errno))).collect())
}

/// Gives `answer` to the call `sending` when its fifth argument, an address, is not null, and to the others what is
/// listed for them.
pub(crate) fn with_address(sending: c_long, answer: u32, answers: BTreeMap<c_long, u32>) -> BpfProgram {
    let [lower, upper] = FIFTH_ARGUMENT;
    let sending = u32::try_from(sending).unwrap_or(u32::MAX);
    let first = vec![
        jump(JUMP_IF_EQUAL, sending, 0, 6),
        step(LOAD, lower),
        jump(JUMP_IF_EQUAL, 0, 0, 2),
        step(LOAD, upper),
        jump(JUMP_IF_EQUAL, 0, 1, 0),
        step(RETURN, answer),
        step(RETURN, libc::SECCOMP_RET_ALLOW),
    ];
    answering(first, answers)
}

/// `first` runs with the number of the call in hand, and keeps it there unless it answers.
pub(crate) fn answering(first: BpfProgram, answers: BTreeMap<c_long, u32>) -> BpfProgram {
    let numbers: Vec<_> =
        answers.into_iter().filter_map(|(call, answer)| Some((u32::try_from(call).ok()?, answer))).collect();
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
    program.extend(first);
    program.extend(search(&numbers));
    program
}

/// Ends in an answer on every way through. The list is sorted.
fn search(answers: &[(u32, u32)]) -> BpfProgram {
    if answers.len() <= FEW {
        let compare =
            |(number, answer): &(u32, u32)| [jump(JUMP_IF_EQUAL, *number, 0, 1), step(RETURN, *answer)];
        return answers.iter().flat_map(compare).chain([step(RETURN, libc::SECCOMP_RET_ALLOW)]).collect();
    }
    let (lower, upper) = answers.split_at(answers.len() / 2);
    let Some((first, _)) = upper.first() else { return Vec::new() };
    let lower = search(lower);
    // A jump is one byte long: 255 instructions are a list of more than a hundred calls in this half.
    let Ok(over) = u8::try_from(lower.len()) else {
        return vec![step(RETURN, libc::SECCOMP_RET_KILL_PROCESS)];
    };
    [vec![jump(JUMP_IF_AT_LEAST, *first, over, 0)], lower, search(upper)].concat()
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
    fn answer(program: &BpfProgram, number: u32, architecture: u32) -> (u32, usize) {
        answer_with(program, number, architecture, 0)
    }

    fn answer_with(program: &BpfProgram, number: u32, architecture: u32, fifth: u64) -> (u32, usize) {
        let (mut at, mut held, mut steps) = (0, 0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program.get(at).unwrap().clone();
            steps += 1;
            at += 1;
            match code {
                LOAD if k == NUMBER => held = number,
                LOAD if k == ARCHITECTURE => held = architecture,
                LOAD => held = if k == FIFTH_ARGUMENT[0] { fifth as u32 } else { (fifth >> 32) as u32 },
                JUMP_IF_EQUAL => at += usize::from(if held == k { jt } else { jf }),
                JUMP_IF_AT_LEAST => at += usize::from(if held >= k { jt } else { jf }),
                _ => return (k, steps),
            }
        }
    }

    #[test]
    fn exactly_the_listed_calls_are_refused_each_with_its_error_in_a_few_steps() {
        for step in [1, 3, 7] {
            let refused: BTreeMap<c_long, i32> =
                (0..500).step_by(step).map(|call| (call, i32::try_from(call % 90).unwrap() + 1)).collect();
            let refused: BTreeMap<_, _> = refused.into_iter().take(80).collect();
            let program = program(refused.clone());
            for number in 0..600 {
                let expected = refused
                    .get(&c_long::from(number))
                    .map_or(libc::SECCOMP_RET_ALLOW, |errno| libc::SECCOMP_RET_ERRNO | errno.cast_unsigned());
                let (found, steps) = answer(&program, number, audit_architecture());
                assert_eq!(found, expected, "{number}");
                assert!(steps < 20, "{steps}");
            }
        }
    }

    #[test]
    fn a_call_with_an_address_is_told_from_one_without() {
        let (noticed, allowed) = (libc::SECCOMP_RET_USER_NOTIF, libc::SECCOMP_RET_ALLOW);
        let program = with_address(44, noticed, BTreeMap::from([(2, noticed)]));
        let answer = |number, fifth| answer_with(&program, number, audit_architecture(), fifth).0;
        assert_eq!([answer(44, 0), answer(44, 8), answer(44, 1 << 32)], [allowed, noticed, noticed]);
        assert_eq!([answer(2, 0), answer(3, 8)], [noticed, allowed]);
    }

    #[test]
    fn another_table_of_calls_is_no_way_around() {
        let program = program(BTreeMap::from([(1, 1)]));
        assert_eq!(answer(&program, 5, 0x4000_0003).0, libc::SECCOMP_RET_KILL_PROCESS);
        if ARCH == "x86_64" {
            let refused = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();
            assert_eq!(answer(&program, X32 | 5, audit_architecture()).0, refused);
        }
    }
}
