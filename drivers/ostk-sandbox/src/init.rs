//! The first process of a command's process namespace: a program of a few instructions that waits for ever.
//!
//! When it is killed, the kernel kills everything in the namespace, so nothing outlives a command. It is written out
//! here, as an ELF file in memory, because a fork of the daemon would keep the daemon's memory (its keys too) next to
//! the command for as long as that runs. It ignores SIGCHLD (`child.rs`), so the kernel reaps what it inherits.

use std::{os::fd::OwnedFd, sync::OnceLock};

use rustix::fs::MemfdFlags;

/// `again: pause(); goto again`
#[cfg(target_arch = "x86_64")]
const CODE: [u8; 9] = [
    0xb8, 34, 0, 0, 0, // mov eax, SYS_pause
    0x0f, 0x05, // syscall
    0xeb, 0xf7, // jmp again
];
/// `again: ppoll(0, 0, 0, 0); goto again`
#[cfg(target_arch = "aarch64")]
const CODE: [u8; 28] = [
    0x00, 0x00, 0x80, 0xd2, // mov x0, 0
    0x01, 0x00, 0x80, 0xd2, // mov x1, 0
    0x02, 0x00, 0x80, 0xd2, // mov x2, 0
    0x03, 0x00, 0x80, 0xd2, // mov x3, 0
    0x28, 0x09, 0x80, 0xd2, // mov x8, SYS_ppoll
    0x01, 0x00, 0x00, 0xd4, // svc 0
    0xfa, 0xff, 0xff, 0x17, // b again
];
/// On another processor there is no such program, and so no process namespace: the probe says so.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const CODE: [u8; 0] = [];

/// `e_machine` of the ELF header.
const MACHINE: u16 = if cfg!(target_arch = "x86_64") { 62 } else { 183 };
const LOADED_AT: u64 = 0x40_0000;
const HEADERS: u64 = 64 + 56;
/// Linux 6.3: says that the file is meant to be executed. Older kernels refuse the flag and need none.
const MFD_EXEC: MemfdFlags = MemfdFlags::from_bits_retain(0x10);

/// An open file with the program, made once; `None` where it cannot be.
pub(crate) fn program() -> Option<&'static OwnedFd> {
    static PROGRAM: OnceLock<Option<OwnedFd>> = OnceLock::new();
    PROGRAM.get_or_init(written).as_ref()
}

fn written() -> Option<OwnedFd> {
    if CODE.is_empty() {
        return None;
    }
    let create = |flags| rustix::fs::memfd_create(c"sandbox-init", MemfdFlags::CLOEXEC | flags);
    let file = create(MFD_EXEC).or_else(|_| create(MemfdFlags::empty())).ok()?;
    let elf = elf();
    (rustix::io::write(&file, &elf) == Ok(elf.len())).then_some(file)
}

/// The ELF header, one program header, the code.
fn elf() -> Vec<u8> {
    let length = HEADERS + CODE.len() as u64;
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let half = |value: u16, elf: &mut Vec<u8>| elf.extend(value.to_le_bytes());
    half(2, &mut elf); // an executable
    half(MACHINE, &mut elf);
    elf.extend(1_u32.to_le_bytes());
    for word in [LOADED_AT + HEADERS, 64, 0] {
        elf.extend(word.to_le_bytes()); // entry, program headers, section headers
    }
    elf.extend(0_u32.to_le_bytes());
    [64, 56, 1, 0, 0, 0].into_iter().for_each(|size| half(size, &mut elf));
    for word in [1_u32, 5] {
        elf.extend(word.to_le_bytes()); // load, readable and executable
    }
    for word in [0, LOADED_AT, LOADED_AT, length, length, 0x1000] {
        elf.extend(word.to_le_bytes()); // offset, addresses, sizes, alignment
    }
    elf.extend(CODE);
    elf
}
