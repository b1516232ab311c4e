//! Rows about other processes: their memory, environment and descriptors, signals, what is inherited, what stays.

use crate::row::{
    Class::Processes,
    Need,
    Program::{Python, Shell},
    Row,
    Shows::{Heard, Held, Leftover, Outsider, Secret},
    row,
};

const PROCFS: &str = "Kilo-Org/kilocode#11596, procfs aliases";
const SIGNALS: &str = "nolabs-ai/nono#207; Certora/AutoProver#73";

pub(super) static ROWS: &[Row] = &[
    row("memory-written", Processes, "write the memory of a process outside by /proc/PID/mem", "CVE-2012-0056 (Mempodipper)", Python("fd = os.open(f'/proc/{OUTSIDER}/mem', os.O_RDWR); os.pwrite(fd, b'X' * 8, ADDRESS)")).shows(Outsider),
    row("memory-read", Processes, "read the memory of a process outside by /proc/PID/mem", PROCFS, Python("fd = os.open(f'/proc/{OUTSIDER}/mem', os.O_RDONLY); said(os.pread(fd, 64, SECRET_AT))")).shows(Secret),
    row("memory-written-by-call", Processes, "write it by process_vm_writev", "Docker's seccomp profile", Python("b = ctypes.create_string_buffer(b'XXXXXXXX', 8); call('process_vm_writev', OUTSIDER, iov(ctypes.addressof(b), 8), 1, iov(ADDRESS, 8), 1, 0)")).shows(Outsider),
    row("memory-read-by-call", Processes, "read it by process_vm_readv", "NVIDIA/OpenShell#740", Python("b = ctypes.create_string_buffer(64); call('process_vm_readv', OUTSIDER, iov(ctypes.addressof(b), 64), 1, iov(SECRET_AT, 64), 1, 0); print(b.raw)")).shows(Secret),
    row("traced", Processes, "trace a process outside", "CVE-2016-9962 (runc)", Python("call('ptrace', 0x4206, OUTSIDER, 0, 0); time.sleep(0.4)")).shows(Outsider),
    row("stopped-by-trace", Processes, "attach to a process outside, which stops it", "CVE-2016-9962 (runc)", Python("call('ptrace', 16, OUTSIDER, 0, 0); time.sleep(0.4)")).shows(Outsider),
    row("environment", Processes, "read the environment of a process outside", PROCFS, Shell("cat /proc/$OUTSIDER/environ")).shows(Secret),
    row("environment-of-all", Processes, "read the environment of every process, the daemon's too", "s1ngularity (Nx, 2025)", Shell("cat /proc/[0-9]*/environ | tr '\\0' '\\n' | grep -a ^OUTSIDER_TOKEN=")).shows(Secret),
    row("environment-of-parents", Processes, "read the environment of its own parents", PROCFS, Shell("cat /proc/$PPID/environ /proc/1/environ; p=$PPID; while [ ${p:-0} -gt 1 ]; do cat /proc/$p/environ; p=$(sed -n 's/^PPid:\\t//p' /proc/$p/status); done")).shows(Secret),
    row("environment-own", Processes, "find a token in its own environment", "GITHUB_TOKEN, AWS_SECRET_ACCESS_KEY and their like", Shell("env")).shows(Secret),
    row("arguments", Processes, "read the arguments of a process outside", PROCFS, Shell("cat /proc/$OUTSIDER/cmdline")).shows(Secret),
    row("descriptor-of-outsider", Processes, "read a file that a process outside holds open", PROCFS, Shell("cat /proc/$OUTSIDER/fd/*")).shows(Secret),
    row("descriptor-taken", Processes, "take a descriptor from a process outside by pidfd_getfd", "pidfd_getfd(2)", Python("steal(OUTSIDER)")).shows(Secret),
    row("descriptor-inherited", Processes, "use a descriptor that was left open", "CVE-2024-21626 (runc)", Shell("for f in /proc/self/fd/*; do timeout 1 cat $f < /dev/null; done; for n in 3 4 5 6 7 8 9; do eval \"timeout 1 cat <&$n\"; done")).shows(Secret),
    row("descriptor-passed", Processes, "be given a descriptor over a socket of another program", "SCM_RIGHTS, unix(7)", Python("s = socket.socket(socket.AF_UNIX); s.connect(O + '/pass.sock'); m, fds, _, _ = socket.recv_fds(s, 16, 4); said(fds[0])")).shows(Secret),
    row("killed", Processes, "end a process outside", SIGNALS, Shell("kill -KILL $OUTSIDER")).shows(Outsider),
    row("asked-to-end", Processes, "send a process outside SIGTERM", SIGNALS, Shell("kill -TERM $OUTSIDER")).shows(Outsider),
    row("stopped", Processes, "stop a process outside", "Certora/AutoProver#73", Shell("kill -STOP $OUTSIDER; sleep 0.4")).shows(Outsider),
    row("killed-by-thread", Processes, "end it by the number of its thread", SIGNALS, Python("call('tgkill', OUTSIDER, OUTSIDER, 9)")).shows(Outsider),
    row("killed-by-queue", Processes, "end it by a queued signal", SIGNALS, Python("info = ctypes.create_string_buffer(struct.pack('iii', 9, 0, -1), 128); call('rt_sigqueueinfo', OUTSIDER, 9, info)")).shows(Outsider),
    row("killed-by-descriptor", Processes, "end it by a descriptor of the process", "pidfd_send_signal(2)", Python("signal.pidfd_send_signal(os.pidfd_open(OUTSIDER), 9)")).shows(Outsider),
    row("killed-by-group", Processes, "end its process group", SIGNALS, Python("os.killpg(OUTSIDER, 9)")).shows(Outsider),
    row("killed-by-owner", Processes, "have the kernel end it, as the owner of a pipe", "fcntl(2), F_SETOWN; Landlock before 6.12.x", Python("r, w = os.pipe(); fcntl.fcntl(r, fcntl.F_SETOWN, OUTSIDER); fcntl.fcntl(r, 10, 9); fcntl.fcntl(r, fcntl.F_SETFL, fcntl.fcntl(r, fcntl.F_GETFL) | os.O_ASYNC); os.write(w, b'x')")).shows(Outsider),
    row("limits-changed", Processes, "lower the limits of a process outside", "prlimit(2)", Python("import resource; resource.prlimit(OUTSIDER, resource.RLIMIT_NOFILE, (16, 16))")).shows(Outsider),
    row("priority-changed", Processes, "lower the priority of a process outside", "setpriority(2)", Python("os.setpriority(os.PRIO_PROCESS, OUTSIDER, 19)")).shows(Outsider),
    row("chosen-for-memory", Processes, "have it end first when memory is short", "oom_score_adj, proc(5)", Shell("echo 1000 > /proc/$OUTSIDER/oom_score_adj")).shows(Outsider),
    row("left-behind", Processes, "leave a process that goes on after the command", "every sandbox without a process namespace", Shell("(setsid sleep 20 > /dev/null 2>&1 < /dev/null &)")).shows(Leftover),
    row("left-behind-deaf", Processes, "leave a process that ignores every request to end", "every sandbox that ends groups politely", Shell("(trap '' TERM HUP INT; setsid sh -c 'trap \"\" TERM HUP INT; sleep 20; sleep 20' > /dev/null 2>&1 < /dev/null &)")).shows(Leftover),
    row("left-behind-writing", Processes, "leave a process that changes a protected file later", "delayed attempts", Shell("(setsid sh -c 'sleep 1; echo x > $W/.mcp.json' > /dev/null 2>&1 < /dev/null &)")).then("sleep 1.5"),
    row("terminal-typed", Processes, "type into the person's terminal by TIOCSTI", "CVE-2017-5226 (bubblewrap)", Python("fd = os.open(TERMINAL, os.O_RDWR); [fcntl.ioctl(fd, 0x5412, bytes([c])) for c in (NONCE + '\\n').encode()]")).shows(Heard).needs(&[Need::Root, Need::Typing]),
    row("terminal-written", Processes, "write to the person's terminal", "wall(1), and every terminal's escape codes", Shell("echo $NONCE > $TERMINAL")).shows(Heard),
    row("terminal-pasted", Processes, "paste into a console by TIOCLINUX", "CVE-2023-28100 (Flatpak)", Python("fd = os.open('/dev/tty1', os.O_RDWR); fcntl.ioctl(fd, 0x541c, b'\\x02' + bytes(10))")).unshown("it takes the console of this machine"),
    row("new-rights", Processes, "run set-user-id programs and file capabilities with their rights", "bubblewrap, no_new_privs", Shell("sleep 0.4")).shows(Held("new-privileges")),
    row("shared-memory-read", Processes, "read shared memory of a process outside", "luckyPipewrench/pipelock#267", Shell("cat $SHARED")).shows(Secret).needs(&[Need::Path("/dev/shm")]),
    row("shared-memory-written", Processes, "write shared memory of a process outside", "luckyPipewrench/pipelock#267", Shell("echo x >> $SHARED")).needs(&[Need::Path("/dev/shm")]),
    row("system-v-memory", Processes, "make System V memory that processes outside see", "shared IPC namespaces", Python("n = call('shmget', KEY, 4096, 0o1666); time.sleep(0.4); call('shmctl', n, 0, 0)")).shows(Held("system-v")),
];
