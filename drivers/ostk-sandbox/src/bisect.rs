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

/// Refuses each call of `refused` with its error, and what belongs to another table of calls; allows the rest.
///
/// A call by the table of another processor, such as the 32-bit one, ends the process: its numbers mean other calls.
pub(crate) fn program(refused: BTreeMap<c_long, i32>) -> BpfProgram {
    let numbers: Vec<_> =
        refused.into_iter().filter_map(|(call, errno)| Some((u32::try_from(call).ok()?, errno))).collect();
    let mut program = vec![
        step(LOAD, ARCHITECTURE),
        jump(JUMP_IF_EQUAL, audit_architecture(), 1, 0),
        step(RETURN, libc::SECCOMP_RET_KILL_PROCESS),
        step(LOAD, NUMBER),
    ];
    if ARCH == "x86_64" {
        program.extend([jump(JUMP_IF_AT_LEAST, X32, 0, 1), error(libc::ENOSYS)]);
    }
    program.extend(search(&numbers));
    program
}

/// Ends in an answer on every way through. The list is sorted.
fn search(refused: &[(u32, i32)]) -> BpfProgram {
    if refused.len() <= FEW {
        let compare = |(number, errno): &(u32, i32)| [jump(JUMP_IF_EQUAL, *number, 0, 1), error(*errno)];
        return refused.iter().flat_map(compare).chain([step(RETURN, libc::SECCOMP_RET_ALLOW)]).collect();
    }
    let (lower, upper) = refused.split_at(refused.len() / 2);
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

const fn error(errno: i32) -> sock_filter {
    step(RETURN, libc::SECCOMP_RET_ERRNO | errno.cast_unsigned())
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
        let (mut at, mut held, mut steps) = (0, 0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program.get(at).unwrap().clone();
            steps += 1;
            at += 1;
            match code {
                LOAD => held = if k == NUMBER { number } else { architecture },
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
    fn another_table_of_calls_is_no_way_around() {
        let program = program(BTreeMap::from([(1, 1)]));
        assert_eq!(answer(&program, 5, 0x4000_0003).0, libc::SECCOMP_RET_KILL_PROCESS);
        if ARCH == "x86_64" {
            let refused = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();
            assert_eq!(answer(&program, X32 | 5, audit_architecture()).0, refused);
        }
    }
}
