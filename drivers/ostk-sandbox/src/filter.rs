//! The system calls that a command cannot make: programs for the kernel's seccomp filter.
//!
//! Everything is allowed but a list, for a developer's tools use most of the table. What is on the list either
//! reaches into other processes, changes namespaces, mounts or the machine, or is a large surface of the kernel that
//! ordinary programs do not need.
//!
//! One filter says all: also which calls are noticed (`notify.rs`), for each further program costs a start as much again.
//! A refusal goes before a notice. `bisect.rs` writes the program.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use libc::c_long;

use crate::{
    asked,
    bisect::{self, Answers, Case, Condition, Program},
};

/// Not permitted, whatever the arguments.
const REFUSED: &[c_long] = &[
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // Mounts and namespaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    // Around paths.
    libc::SYS_open_by_handle_at,
    // Keys of the kernel.
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    // Programs in the kernel, and looking into it.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_lookup_dcookie,
    libc::SYS_syslog,
    libc::SYS_fanotify_init,
    // The machine.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
    libc::SYS_nfsservctl,
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
];
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[c_long] = &[libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_modify_ldt, libc::SYS_uselib];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[c_long] = &[];

/// Refused to a command that shares its process and IPC namespaces with others.
const REFUSED_AMONG_OTHERS: [c_long; 6] = [
    libc::SYS_setsid,
    libc::SYS_setpgid,
    libc::SYS_shmget,
    libc::SYS_msgget,
    libc::SYS_semget,
    libc::SYS_mq_open,
];

/// As if the kernel did not have them. `clone3` takes its flags in memory, where a filter cannot look, and every
/// user of it falls back to `clone`; io_uring carries out calls that no filter sees.
const ABSENT: &[c_long] = &[
    libc::SYS_clone3,
    libc::SYS_openat2,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

/// Flags of `clone` that make a namespace (that of time namespaces cannot be given to `clone`), and the one that makes
/// the new process a child of the caller's parent: of the one that contains it, whose wait it would disturb and whose
/// end it would outlive.
const CLONE_FLAGS: [i32; 8] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_PARENT,
];
/// Requests that put input into a terminal as if it had been typed.
const TYPING: [u32; 2] = [0x5412, 0x541c]; // TIOCSTI, TIOCLINUX
/// The part of a socket's type beside its flags.
const SOCKET_TYPE: u32 = 0xf;
const SOCK_PACKET: i32 = 10;

/// The mode bit of a program that runs as its owner, whoever starts it. A command that makes one lets every other user
/// of the machine act as this one. `openat2` takes its mode in memory, so it is absent; its users fall back to `openat`.
const SET_USER_ID: u32 = 0o4000;
/// Calls that set a mode, and the number of that argument.
const MODES: &[(c_long, u32)] =
    &[(libc::SYS_fchmod, 1), (libc::SYS_fchmodat, 2), (SYS_FCHMODAT2, 2), (libc::SYS_mknodat, 2)];
#[cfg(target_arch = "x86_64")]
const MODES_HERE: &[(c_long, u32)] = &[(libc::SYS_chmod, 1), (libc::SYS_creat, 1), (libc::SYS_mknod, 1)];
#[cfg(not(target_arch = "x86_64"))]
const MODES_HERE: &[(c_long, u32)] = &[];
/// `fchmodat2(2)`, Linux 6.6; the same number everywhere.
const SYS_FCHMODAT2: c_long = 452;
/// Calls that may create a file, and the number of the argument with the flags; the mode follows it, and means
/// something with one of [`CREATES`].
#[cfg(target_arch = "x86_64")]
const OPENS: &[(c_long, u32)] = &[(libc::SYS_open, 1), (libc::SYS_openat, 2)];
#[cfg(not(target_arch = "x86_64"))]
const OPENS: &[(c_long, u32)] = &[(libc::SYS_openat, 2)];
/// `O_CREAT`, and the bit of `O_TMPFILE` that is its own.
const CREATES: u32 = 0o100 | 0o20_000_000;

/// What a filter stands in for, where the machine has no better way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Extra {
    /// No socket of the internet families.
    pub(crate) no_network: bool,
    /// No socket of the local family; pairs of connected ones are still made.
    pub(crate) no_local_sockets: bool,
    /// No socket of the local family without connections, also no pair: a message names its receiver in memory, where no
    /// filter can look, and to look at every message from outside would slow down those of other families as well.
    pub(crate) no_local_datagrams: bool,
    /// No process leaves its session or its group, so that all can be ended, or uses System V IPC or message queues,
    /// which it would share with processes outside.
    pub(crate) shared_processes: bool,
}

/// Which calls of a command are noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Noticed {
    Nothing,
    Connections,
    /// Everything that [`asked`] knows.
    All,
}

/// The filter. Made once for each way of standing in and of noticing.
pub(crate) fn program(extra: Extra, noticed: Noticed) -> Arc<Program> {
    static MADE: Mutex<BTreeMap<(Extra, Noticed), Arc<Program>>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let make = || Arc::new(bisect::program(&answers(extra, noticed)));
    Arc::clone(made.entry((extra, noticed)).or_insert_with(make))
}

/// A filter that refuses nothing and notices nothing.
pub(crate) fn none() -> Program {
    bisect::program(&BTreeMap::new())
}

const REFUSE: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned();

fn answers(extra: Extra, noticed: Noticed) -> BTreeMap<c_long, Answers> {
    let among_others: &[c_long] = if extra.shared_processes { &REFUSED_AMONG_OTHERS } else { &[] };
    let outright = |otherwise| move |call: &c_long| (*call, Answers { cases: Vec::new(), otherwise });
    let refused = [REFUSED, REFUSED_HERE, among_others].concat();
    let mut answers: BTreeMap<_, _> = refused.iter().map(outright(REFUSE)).collect();
    let absent = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();
    answers.extend(ABSENT.iter().map(outright(absent)));
    answers.extend(by_arguments(extra).into_iter().map(|(call, refused)| {
        let cases = refused.into_iter().map(|conditions| Case { conditions, answer: REFUSE }).collect();
        (call, Answers { cases, otherwise: libc::SECCOMP_RET_ALLOW })
    }));
    notice(&mut answers, noticed);
    answers
}

/// What is not refused of the noticed calls is noticed. Of `sendto`, what names an address: without one it is the common
/// `send`.
fn notice(answers: &mut BTreeMap<c_long, Answers>, noticed: Noticed) {
    const NOTICE: u32 = libc::SECCOMP_RET_USER_NOTIF;
    let calls = match noticed {
        Noticed::Nothing => Vec::new(),
        Noticed::Connections => vec![libc::SYS_connect],
        Noticed::All => {
            let addressed = Case { conditions: vec![Condition::IsThere(4)], answer: NOTICE };
            let sending = Answers { cases: vec![addressed], otherwise: libc::SECCOMP_RET_ALLOW };
            answers.insert(libc::SYS_sendto, sending);
            [asked::CALLS, asked::CALLS_HERE].concat()
        }
    };
    for call in calls {
        let noticed = answers.entry(call).or_insert(Answers { cases: Vec::new(), otherwise: NOTICE });
        if noticed.otherwise == libc::SECCOMP_RET_ALLOW {
            noticed.otherwise = NOTICE;
        }
    }
}

/// Calls that are refused for some arguments: whenever all of one group of conditions hold.
fn by_arguments(extra: Extra) -> BTreeMap<c_long, Vec<Vec<Condition>>> {
    use Condition::{HasAny, Is, IsNot};
    let namespaces = CLONE_FLAGS.into_iter().fold(0, |all, flag| all | flag.cast_unsigned());
    let mut refused = BTreeMap::from([
        (libc::SYS_clone, vec![vec![HasAny(0, namespaces)]]),
        (libc::SYS_ioctl, TYPING.map(|request| vec![Is(1, request)]).to_vec()),
        (libc::SYS_socket, sockets(extra)),
        (libc::SYS_socketpair, vec![vec![IsNot(0, libc::AF_UNIX.cast_unsigned())]]),
    ]);
    if extra.no_local_datagrams {
        for call in [libc::SYS_socket, libc::SYS_socketpair] {
            refused.entry(call).or_default().extend(local_datagrams());
        }
    }
    for (call, mode) in MODES.iter().chain(MODES_HERE) {
        refused.insert(*call, vec![vec![HasAny(*mode, SET_USER_ID)]]);
    }
    for (call, flags) in OPENS {
        refused.insert(*call, vec![vec![HasAny(*flags, CREATES), HasAny(flags + 1, SET_USER_ID)]]);
    }
    refused
}

/// Sockets: the local family, the internet without raw packets, and the question which addresses this machine has.
fn sockets(extra: Extra) -> Vec<Vec<Condition>> {
    use Condition::{Among, Is, IsNot};
    let netlink = libc::AF_NETLINK.cast_unsigned();
    let mut families = vec![libc::AF_NETLINK];
    if !extra.no_local_sockets {
        families.push(libc::AF_UNIX);
    }
    if !extra.no_network {
        families.extend([libc::AF_INET, libc::AF_INET6]);
    }
    let other = families.into_iter().map(|family| IsNot(0, family.cast_unsigned())).collect();
    // A netlink socket is raw by its nature.
    let raw = |kind: i32| vec![IsNot(0, netlink), Among(1, SOCKET_TYPE, kind.cast_unsigned())];
    let other_netlink = vec![Is(0, netlink), IsNot(2, libc::NETLINK_ROUTE.cast_unsigned())];
    vec![other, other_netlink, raw(libc::SOCK_RAW), raw(SOCK_PACKET)]
}

/// Local sockets without connections. A raw one is such a socket too (unix(7)).
fn local_datagrams() -> [Vec<Condition>; 2] {
    let local = Condition::Is(0, libc::AF_UNIX.cast_unsigned());
    [libc::SOCK_DGRAM, libc::SOCK_RAW]
        .map(|kind| vec![local, Condition::Among(1, SOCKET_TYPE, kind.cast_unsigned())])
}
