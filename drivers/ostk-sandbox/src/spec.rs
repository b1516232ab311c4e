//! What to run and inside which bounds: plain data, filled in by the daemon, checked in `plan.rs`.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::PathBuf,
    time::Duration,
};

use crate::{Guarantee, WindowSize};

/// One command and its bounds. All paths are absolute, without `.` and `..`.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Program and arguments. A program without `/` is looked up in the `PATH` of `env`.
    pub argv: Vec<OsString>,
    /// The directory it starts in.
    pub cwd: PathBuf,
    /// The whole environment; nothing is inherited. `TMPDIR` (the scratch directory) and `HOME` (`home` in the scratch
    /// directory) are added when they are not given.
    pub env: BTreeMap<OsString, OsString>,
    /// What it may read and execute, beside everything writable. A path that does not exist is left out.
    pub readable: Readable,
    /// Files and directory trees that it may change. Each must exist.
    pub writable: Vec<PathBuf>,
    /// Paths inside writable trees that it may not change all the same. A writable path inside a protected one is
    /// writable: the more specific of the two holds.
    ///
    /// One that does not exist cannot be created. In a namespace this takes an empty directory in its place, which
    /// goes when the command ends; `.git/hooks` is created for good.
    pub protected: Vec<PathBuf>,
    /// Names that are protected wherever they are found in a writable tree, as paths of one part or more: `.git/hooks`.
    /// With such a name in `.git`, everything that git obeys of the repositories there is protected.
    /// The search leaves out a few directories that tools fill, such as `node_modules`.
    pub protected_names: Vec<PathBuf>,
    /// Paths inside writable trees that it may not leave behind: what was not there before is moved into the scratch
    /// directory when it ends, and [`Outcome::refused`](crate::Outcome::refused) says so.
    pub refused: Vec<PathBuf>,
    /// Paths that it cannot see into although they are readable: private keys. Those that do not exist are left out.
    pub hidden: Vec<PathBuf>,
    /// Its own directory for temporary files, writable, created when missing and never removed here.
    pub scratch: PathBuf,
    /// Bounds on time, memory and output.
    pub limits: Limits,
    /// Standard input: these bytes and then its end. `None` is an empty input for [`run`](crate::run) and an open
    /// pipe for [`start`](crate::start).
    pub stdin: Option<Vec<u8>>,
    /// A terminal of its own in place of the three pipes, as controlling terminal of its session. What it prints there
    /// is its standard output. The end of its input is a character, as for a person: `\x04` (Ctrl-D).
    ///
    /// The jobs of a shell in it can be controlled where the machine offers process namespaces; elsewhere no process
    /// may leave the group of the command.
    pub terminal: Option<WindowSize>,
    /// Its output waits for [`Process::read`](crate::Process::read), so that a reader gets all of it: a command that is
    /// far ahead of its reader stands still. Takes an `output_bytes` of 512 KiB or more.
    pub output_waits: bool,
    /// Note what it asks the system for: [`Outcome::observed`](crate::Outcome::observed). Each such call waits for the
    /// daemon, so a command that opens many files takes a few times as long.
    pub observe: bool,
    /// What it reaches beside this machine.
    pub network: Network,
    /// The local sockets that it may connect to.
    pub local_sockets: LocalSockets,
    /// Guarantees that the operator accepted to go without, in `ostk.toml`. One that the machine can give holds all
    /// the same; one that it cannot give and that is not here is a reason to refuse the command.
    pub accepted: BTreeSet<Guarantee>,
}

impl Spec {
    /// A command that may read everything, write its scratch directory and use the network, but no socket of other
    /// programs, with the default limits and an empty environment.
    pub fn new(
        argv: impl IntoIterator<Item = impl Into<OsString>>,
        cwd: impl Into<PathBuf>,
        scratch: impl Into<PathBuf>,
    ) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            cwd: cwd.into(),
            env: BTreeMap::new(),
            readable: Readable::All,
            writable: Vec::new(),
            protected: Vec::new(),
            protected_names: Vec::new(),
            refused: Vec::new(),
            hidden: Vec::new(),
            scratch: scratch.into(),
            limits: Limits::default(),
            stdin: None,
            terminal: None,
            output_waits: false,
            observe: false,
            network: Network::Host,
            local_sockets: LocalSockets::Own,
            accepted: BTreeSet::new(),
        }
    }
}

/// What a command may read and execute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readable {
    /// Whatever the user may read.
    All,
    /// Whatever the user may read, but within one tree only some files and trees, beside what is writable there.
    AllBut {
        /// Of the tree itself only names can be listed.
        tree: PathBuf,
        /// Parts of the tree.
        within: Vec<PathBuf>,
    },
    /// These files and trees only. Programs, libraries and `/dev/null` count as well.
    Only(Vec<PathBuf>),
}

/// What a command reaches over the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Network {
    /// What the daemon reaches.
    Host,
    /// Nothing. It has a loopback interface of its own where there are network namespaces; elsewhere it cannot make
    /// internet sockets at all.
    None,
    /// Nothing but what the daemon relays: in a network of its own, 127.0.0.1 listens on these ports, and whoever holds
    /// [`Process::take_relays`](crate::Process::take_relays) accepts the connections. For [`start`](crate::start) only.
    ///
    /// A machine without network namespaces cannot do this ([`Guarantee::Relays`]): where that is accepted, there is
    /// no relay and no network. Rules on ports cannot stand in, for they would hold for these ports of every host.
    Relayed {
        /// At most 16 different ones, none of them 0. In a network of its own a command finds every port free.
        ports: Vec<u16>,
    },
}

/// The sockets in the file system that a command may connect to: those of container engines, key agents and desktops
/// would let it act outside its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalSockets {
    /// Those inside what it may write. Before Landlock ABI 9 (Linux 7.1) its connections are made for it: then a server
    /// sees as its peer a process that has ended, there are no datagram sockets of the local family, and sockets without a
    /// path only where it has a network of its own. Without namespaces or notices it cannot make local sockets at all,
    /// only connected pairs.
    Own,
    /// All that the user may connect to.
    All,
}

/// Bounds on a command. `None` leaves what the daemon itself has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Wall-clock time until the process group gets SIGTERM.
    pub wall: Duration,
    /// Time from SIGTERM to SIGKILL.
    pub grace: Duration,
    /// Processor seconds of each process (`RLIMIT_CPU`).
    pub cpu_s: Option<u64>,
    /// Address space of each process (`RLIMIT_AS`). Off by default: runtimes reserve far more than they use.
    pub memory_bytes: Option<u64>,
    /// Size of a file it writes (`RLIMIT_FSIZE`).
    pub file_bytes: Option<u64>,
    /// Processes and threads (`RLIMIT_NPROC`): those of the command in a user namespace, otherwise those of the user;
    /// not enforced by Linux for root.
    pub processes: Option<u64>,
    /// Open descriptors of each process (`RLIMIT_NOFILE`).
    pub open_files: Option<u64>,
    /// Memory of all its processes together, in a control group.
    pub total_memory_bytes: Option<u64>,
    /// Processes and threads of the command, in a control group: holds for root as well.
    pub total_processes: Option<u64>,
    /// Processor time of all its processes together, in percent of one processor, in a control group.
    pub cpu_percent: Option<u32>,
    /// Bytes kept of each of standard output and standard error: half from the beginning, half from the end.
    pub output_bytes: usize,
}

impl Limits {
    /// Whether something is limited for the command as a whole.
    pub(crate) const fn have_totals(&self) -> bool {
        self.total_memory_bytes.is_some() || self.total_processes.is_some() || self.cpu_percent.is_some()
    }
}

impl Default for Limits {
    /// Two minutes, 1 MiB of each output stream, files up to 4 GiB, 4,096 open files.
    fn default() -> Self {
        Self {
            wall: Duration::from_secs(120),
            grace: Duration::from_secs(5),
            cpu_s: None,
            memory_bytes: None,
            file_bytes: Some(4 << 30),
            processes: None,
            open_files: Some(4096),
            total_memory_bytes: None,
            total_processes: None,
            cpu_percent: None,
            output_bytes: 1 << 20,
        }
    }
}
