//! Rows about interfaces of the kernel: namespaces, mounts, rings, programs, settings of the machine; and about limits.
//!
//! None harms the machine when it succeeds: what is opened is held for a moment, and never written.

use crate::row::{
    Class::{Kernel, Limits},
    Need,
    Program::{Python, Shell},
    Row,
    Shows::{Held, Memory, Processes, World},
    row,
};

const RELEASE: &str = "CVE-2022-0492 (release_agent)";

pub(super) static ROWS: &[Row] = &[
    row("io-uring", Kernel, "set up an io_uring, whose calls no filter sees", "BaseIntelligence/bounty-challenge#19310; ARMO, Curing (2025)", Python("p = (ctypes.c_uint32 * 30)(); call('io_uring_setup', 4, p); time.sleep(0.4)")).shows(Held("fd:anon_inode:[io_uring]")),
    row("user-namespace", Kernel, "make a user namespace", "CVE-2022-0185; CVE-2023-0386", Shell("unshare -U sleep 0.4")).shows(Held("ns:user")).needs(&[Need::Program("unshare")]),
    row("user-namespace-by-clone", Kernel, "make one with a new process", "CVE-2022-0185", Python("pid = call('clone', 0x10000000 | 17, 0, 0, 0, 0); time.sleep(0.4); os._exit(0) if pid == 0 else os.waitpid(pid, 0)")).shows(Held("ns:user")),
    row("user-namespace-by-clone3", Kernel, "make one with clone3, whose flags no filter sees", "luckyPipewrench/pipelock#267", Python("a = (ctypes.c_uint64 * 8)(0x10000000, 0, 0, 0, 17, 0, 0, 0); pid = call('clone3', a, 64); time.sleep(0.4); os._exit(0) if pid == 0 else os.waitpid(pid, 0)")).shows(Held("ns:user")),
    row("mount-namespace", Kernel, "make a mount namespace", "CVE-2022-0185", Shell("unshare -m sleep 0.4 || unshare -Urm sleep 0.4")).shows(Held("ns:mnt")).needs(&[Need::Program("unshare")]),
    row("network-namespace", Kernel, "make a network namespace, where it is the administrator", "CVE-2020-14386", Shell("unshare -n sleep 0.4 || unshare -Urn sleep 0.4")).shows(Held("ns:net")).needs(&[Need::Program("unshare")]),
    row("namespace-entered", Kernel, "enter the mounts of a process outside", "nsenter(1) in privileged containers", Shell("nsenter -t $OUTSIDER -m touch $O/new")).needs(&[Need::Root, Need::Program("nsenter")]),
    row("mount", Kernel, "mount over a directory outside", "CVE-2021-41133 (Flatpak)", Shell("mount --bind $W/src $O/dir")).needs(&[Need::Root, Need::Program("mount")]),
    row("new-mount-calls", Kernel, "open a file system by the newer calls", "CVE-2021-41133 (Flatpak)", Python("call('fsopen', b'tmpfs', 0); time.sleep(0.4)")).shows(Held("fd:anon_inode:[fscontext]")).needs(&[Need::Root]),
    row("uncover", Kernel, "take the cover off what is protected and write it", "CVE-2021-41133 (Flatpak)", Shell("umount .git/hooks; mount -o remount,rw,bind .git/hooks; echo \"$PAYLOAD\" >> .git/hooks/post-checkout")).then("git checkout -q -b x"),
    row("chroot", Kernel, "change its root and climb out", "the classic of chroot(2)", Python("os.chroot(O); time.sleep(0.4)")).shows(Held("root")).needs(&[Need::Root]),
    row("kernel-program", Kernel, "make a map for programs in the kernel", "CVE-2021-3490; CVE-2023-2163", Python("a = (ctypes.c_uint32 * 32)(2, 4, 4, 1); call('bpf', 0, a, 128); time.sleep(0.4)")).shows(Held("fd:anon_inode:bpf-map")),
    row("performance-counter", Kernel, "watch what the processor does", "CVE-2013-2094; Docker's seccomp profile", Python("a = (ctypes.c_uint32 * 32)(1, 128); call('perf_event_open', a, 0, -1, -1, 0); time.sleep(0.4)")).shows(Held("fd:anon_inode:[perf_event]")),
    row("page-faults", Kernel, "handle page faults, to win races in the kernel", "CVE-2016-6187 and most exploits since", Python("call('userfaultfd', 0); time.sleep(0.4)")).shows(Held("fd:anon_inode:[userfaultfd]")),
    row("page-faults-by-device", Kernel, "handle page faults by the device", "userfaultfd(2), /dev/userfaultfd", Python("fcntl.ioctl(os.open('/dev/userfaultfd', os.O_RDWR), 0xaa00, 0); time.sleep(0.4)")).shows(Held("fd:anon_inode:[userfaultfd]")).needs(&[Need::Root, Need::Path("/dev/userfaultfd")]),
    row("watch-of-files", Kernel, "watch every file that anybody opens", "fanotify(7)", Python("call('fanotify_init', 0, 0); time.sleep(0.4)")).shows(Held("fd:anon_inode:[fanotify]")).needs(&[Need::Root]),
    row("kernel-keys", Kernel, "keep a key in the kernel that other processes see", "CVE-2016-0728; keyrings have no namespace", Python("call('add_key', b'user', NONCE.encode(), b'x', 1, -4); time.sleep(0.4); [call('keyctl', 9, k, -4) for k in (call('request_key', b'user', NONCE.encode(), 0, -4),)]")).shows(Held("keys")).needs(&[Need::Path("/proc/keys")]),
    row("another-kernel", Kernel, "load another kernel", "kexec_load(2)", Python("call('kexec_load', 0, 0, 0, 0)")).unshown("it would replace this machine's kernel"),
    row("machine-memory", Kernel, "read the memory of the machine", "mem(4)", Shell("exec 9< /dev/mem; sleep 0.4")).shows(Held("fd:/dev/mem")).needs(&[Need::Root, Need::Path("/dev/mem")]),
    row("kernel-memory", Kernel, "read the memory of the kernel", "/proc/kcore", Shell("exec 9< /proc/kcore; sleep 0.4")).shows(Held("fd:/proc/kcore")).needs(&[Need::Root, Need::Path("/proc/kcore")]),
    row("disk", Kernel, "read a disk beneath its files", "privileged containers", Shell("exec 9< $DISK; sleep 0.4")).shows(Held("device")).needs(&[Need::Root]),
    row("loop-device", Kernel, "make a disk of a file", "privileged containers", Shell("exec 9< /dev/loop-control; sleep 0.4")).shows(Held("fd:/dev/loop-control")).needs(&[Need::Root, Need::Path("/dev/loop-control")]),
    row("kernel-log", Kernel, "read the log of the kernel, with its addresses", "dmesg(1)", Shell("exec 9< /dev/kmsg; sleep 0.4")).shows(Held("fd:/dev/kmsg")).needs(&[Need::Root, Need::Path("/dev/kmsg")]),
    row("virtual-machine", Kernel, "reach the kernel's hypervisor", "CVE-2021-22555 and others widened by /dev/kvm", Shell("exec 9< /dev/kvm; sleep 0.4")).shows(Held("fd:/dev/kvm")).needs(&[Need::Root, Need::Path("/dev/kvm")]),
    row("console", Kernel, "listen at the console", "tty(4)", Shell("exec 9< /dev/tty0; sleep 0.4")).shows(Held("fd:/dev/tty0")).needs(&[Need::Root, Need::Path("/dev/tty0")]),
    row("core-pattern", Kernel, "name a program that the kernel starts at a crash", "CVE-2022-0492's sibling; core(5)", Shell("exec 9>> /proc/sys/kernel/core_pattern; sleep 0.4")).shows(Held("fd:/proc/sys/kernel/core_pattern")).needs(&[Need::Root]),
    row("module-loader", Kernel, "name a program that the kernel starts for modules", "modprobe_path in exploits", Shell("exec 9>> /proc/sys/kernel/modprobe; sleep 0.4")).shows(Held("fd:/proc/sys/kernel/modprobe")).needs(&[Need::Root, Need::Path("/proc/sys/kernel/modprobe")]),
    row("device-helper", Kernel, "name a program that the kernel starts for devices", "uevent_helper in container escapes", Shell("exec 9>> /sys/kernel/uevent_helper; sleep 0.4")).shows(Held("fd:/sys/kernel/uevent_helper")).needs(&[Need::Root, Need::Path("/sys/kernel/uevent_helper")]),
    row("binary-formats", Kernel, "name an interpreter for programs of everybody", "binfmt_misc in container escapes", Shell("exec 9>> /proc/sys/fs/binfmt_misc/register; sleep 0.4")).shows(Held("fd:/proc/sys/fs/binfmt_misc/register")).needs(&[Need::Root, Need::Path("/proc/sys/fs/binfmt_misc/register")]),
    row("magic-keys", Kernel, "restart the machine by a file", "sysrq", Shell("exec 9>> /proc/sysrq-trigger; sleep 0.4")).shows(Held("fd:/proc/sysrq-trigger")).needs(&[Need::Root, Need::Path("/proc/sysrq-trigger")]),
    row("release-agent", Kernel, "name a program that the kernel starts for empty control groups", RELEASE, Shell("exec 9>> $(ls /sys/fs/cgroup/*/release_agent | head -n 1); sleep 0.4")).shows(Held("fd:/sys/fs/cgroup/")).needs(&[Need::Root, Need::Path("/sys/fs/cgroup/pids/release_agent")]),
    row("control-group-left", Kernel, "leave its control groups, and their limits", RELEASE, Shell("mkdir /sys/fs/cgroup/pids/escape-$NONCE; echo 0 > /sys/fs/cgroup/pids/escape-$NONCE/cgroup.procs; sleep 0.4; echo 0 > /sys/fs/cgroup/pids/cgroup.procs; rmdir /sys/fs/cgroup/pids/escape-$NONCE")).shows(Held("cgroup")).needs(&[Need::Root, Need::Path("/sys/fs/cgroup/pids/release_agent")]),
    row("other-numbers", Kernel, "make a namespace by the numbers of 32-bit calls", "filters of one architecture", Python("thirty_two_bit_unshare()")).shows(Held("ns:user")),
    row("crash-handler", Kernel, "have the machine's crash handler look at a process of its own", "CVE-2025-5054 (apport)", Shell("sh -c 'kill -SEGV $$'")).unshown("no crash handler is set on this machine"),
    row("many-processes", Limits, "start more processes than it may", "fork bombs", Shell("i=0; while [ $i -lt 250 ]; do sleep 1.5 & i=$((i+1)); done; wait")).shows(Processes).needs(&[Need::Totals]),
    row("much-memory", Limits, "take more memory than it may", "memory bombs", Python("b = bytearray(700 << 20); b[::4096] = bytes([1]) * len(b[::4096]); time.sleep(0.4)")).shows(Memory).needs(&[Need::Totals]),
    row("much-memory-together", Limits, "take more memory than it may by many processes", "memory bombs", Python("for _ in range(8):\n    if os.fork() == 0:\n        b = bytearray(90 << 20); b[::4096] = bytes([1]) * len(b[::4096]); time.sleep(0.6); os._exit(0)\ntime.sleep(0.8)")).shows(Memory).needs(&[Need::Totals]),
    row("large-file", Limits, "make a file larger than it may", "disk bombs", Python("os.truncate(os.open('large', os.O_CREAT | os.O_RDWR), 5 << 30)")).shows(World),
];
