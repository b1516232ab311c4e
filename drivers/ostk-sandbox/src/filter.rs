//! The system calls that a command cannot make: programs for the kernel's seccomp filter.
//!
//! Everything is allowed but a list, for a developer's tools use most of the table. What is on the list either
//! reaches into other processes, changes namespaces, mounts or the machine, or is a large surface of the kernel that
//! ordinary programs do not need.
//!
//! Two filters: the calls that are refused whatever their arguments, found by bisection (`bisect.rs`), and the few that
//! depend on them, compiled by `seccompiler`. A filter that compares with one call after the other would cost each start
//! a quarter of a millisecond, because the kernel runs it for every call of its table to learn which are always allowed.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use crate::{SandboxError, bisect};

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
const TYPING: [u64; 2] = [0x5412, 0x541c]; // TIOCSTI, TIOCLINUX
/// The part of a socket's type beside its flags.
const SOCKET_TYPE: u64 = 0xf;
const SOCK_PACKET: i32 = 10;

/// The mode bit of a program that runs as its owner, whoever starts it. A command that makes one lets every other user
/// of the machine act as this one. `openat2` takes its mode in memory, so it is absent; its users fall back to `openat`.
const SET_USER_ID: u64 = 0o4000;
/// Calls that set a mode, and the number of that argument.
const MODES: &[(c_long, u8)] =
    &[(libc::SYS_fchmod, 1), (libc::SYS_fchmodat, 2), (SYS_FCHMODAT2, 2), (libc::SYS_mknodat, 2)];
#[cfg(target_arch = "x86_64")]
const MODES_HERE: &[(c_long, u8)] = &[(libc::SYS_chmod, 1), (libc::SYS_creat, 1), (libc::SYS_mknod, 1)];
#[cfg(not(target_arch = "x86_64"))]
const MODES_HERE: &[(c_long, u8)] = &[];
/// `fchmodat2(2)`, Linux 6.6; the same number everywhere.
const SYS_FCHMODAT2: c_long = 452;
/// Calls that may create a file, and the number of the argument with the flags; the mode follows it, and means
/// something with one of [`CREATES`].
#[cfg(target_arch = "x86_64")]
const OPENS: &[(c_long, u8)] = &[(libc::SYS_open, 1), (libc::SYS_openat, 2)];
#[cfg(not(target_arch = "x86_64"))]
const OPENS: &[(c_long, u8)] = &[(libc::SYS_openat, 2)];
/// `O_CREAT`, and the bit of `O_TMPFILE` that is its own.
const CREATES: [u64; 2] = [0o100, 0o20_000_000];

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

/// The filters, in the order in which they are installed. Made once for each way of standing in.
pub(crate) fn programs(extra: Extra) -> Result<Arc<[BpfProgram]>, SandboxError> {
    static MADE: Mutex<BTreeMap<Extra, Arc<[BpfProgram]>>> = Mutex::new(BTreeMap::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(programs) = made.get(&extra) {
        return Ok(Arc::clone(programs));
    }
    let programs = Arc::from(make(extra)?);
    made.insert(extra, Arc::clone(&programs));
    Ok(programs)
}

fn make(extra: Extra) -> Result<Vec<BpfProgram>, SandboxError> {
    let among_others: &[c_long] = if extra.shared_processes { &REFUSED_AMONG_OTHERS } else { &[] };
    let refused = [REFUSED, REFUSED_HERE, among_others].concat().into_iter().map(|call| (call, libc::EPERM));
    let absent = ABSENT.iter().map(|call| (*call, libc::ENOSYS));
    let outright = bisect::program(refused.chain(absent).collect());
    let conditional = rules(extra).and_then(compiled);
    Ok(vec![outright, conditional.map_err(|error| SandboxError::Filter(error.to_string()))?])
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Calls that are refused for some arguments.
fn rules(extra: Extra) -> Result<Rules, BackendError> {
    let flags = CLONE_FLAGS.map(|flag| u64::from(flag.cast_unsigned()));
    let clone = flags.map(|flag| rule([(0, SeccompCmpOp::MaskedEq(flag), flag)]));
    let typing = TYPING.map(|request| rule([(1, SeccompCmpOp::Eq, request)]));
    let mut rules = BTreeMap::from([
        (libc::SYS_clone, clone.into_iter().collect::<Result<_, _>>()?),
        (libc::SYS_ioctl, typing.into_iter().collect::<Result<_, _>>()?),
        (libc::SYS_socket, socket_rules(extra)?),
        (libc::SYS_socketpair, vec![rule([(0, SeccompCmpOp::Ne, family(libc::AF_UNIX))])?]),
    ]);
    if extra.no_local_datagrams {
        for call in [libc::SYS_socket, libc::SYS_socketpair] {
            rules.entry(call).or_default().extend(datagram_rules()?);
        }
    }
    let runs_as_owner = |argument| (argument, SeccompCmpOp::MaskedEq(SET_USER_ID), SET_USER_ID);
    for (call, mode) in MODES.iter().chain(MODES_HERE) {
        rules.insert(*call, vec![rule([runs_as_owner(*mode)])?]);
    }
    for (call, flags) in OPENS {
        let creates = |bit| rule([(*flags, SeccompCmpOp::MaskedEq(bit), bit), runs_as_owner(flags + 1)]);
        rules.insert(*call, CREATES.into_iter().map(creates).collect::<Result<_, _>>()?);
    }
    Ok(rules)
}

/// Sockets: the local family, the internet without raw packets, and the question which addresses this machine has.
fn socket_rules(extra: Extra) -> Result<Vec<SeccompRule>, BackendError> {
    let mut families = vec![libc::AF_NETLINK];
    if !extra.no_local_sockets {
        families.push(libc::AF_UNIX);
    }
    if !extra.no_network {
        families.extend([libc::AF_INET, libc::AF_INET6]);
    }
    let netlink = family(libc::AF_NETLINK);
    let mut rules = vec![
        rule(families.into_iter().map(|allowed| (0, SeccompCmpOp::Ne, family(allowed))))?,
        rule([
            (0, SeccompCmpOp::Eq, netlink),
            (2, SeccompCmpOp::Ne, u64::from(libc::NETLINK_ROUTE.cast_unsigned())),
        ])?,
    ];
    for raw in [libc::SOCK_RAW, SOCK_PACKET] {
        let raw = u64::from(raw.cast_unsigned());
        // A netlink socket is raw by its nature.
        rules.push(rule([(0, SeccompCmpOp::Ne, netlink), (1, SeccompCmpOp::MaskedEq(SOCKET_TYPE), raw)])?);
    }
    Ok(rules)
}

/// Local sockets without connections. A raw one is such a socket too (unix(7)).
fn datagram_rules() -> Result<Vec<SeccompRule>, BackendError> {
    let local = (0, SeccompCmpOp::Eq, family(libc::AF_UNIX));
    let kinds = [libc::SOCK_DGRAM, libc::SOCK_RAW].map(|kind| u64::from(kind.cast_unsigned()));
    kinds
        .map(|kind| rule([local.clone(), (1, SeccompCmpOp::MaskedEq(SOCKET_TYPE), kind)]))
        .into_iter()
        .collect()
}

fn family(family: i32) -> u64 {
    u64::from(family.cast_unsigned())
}

/// A rule whose conditions all hold; each is (number of the argument, comparison, value).
fn rule(conditions: impl IntoIterator<Item = (u8, SeccompCmpOp, u64)>) -> Result<SeccompRule, BackendError> {
    let condition = |(argument, comparison, value)| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, comparison, value)
    };
    SeccompRule::new(conditions.into_iter().map(condition).collect::<Result<_, _>>()?)
}

fn compiled(rules: Rules) -> Result<BpfProgram, BackendError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let answer = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    SeccompFilter::new(rules, SeccompAction::Allow, answer, arch)?.try_into()
}
