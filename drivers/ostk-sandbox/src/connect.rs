//! Carries out the `connect` calls of a command in its place, where no rule of the kernel says to which local sockets a
//! process may connect: Landlock does from ABI 9 on (Linux 7.1).
//!
//! Each call is noticed (`notify.rs`) and none is ever let go on. If one were, another thread could meanwhile change the
//! address in its memory, or put another socket in the place of its descriptor; so letting go on is not even harmless for
//! an internet address. Instead the address is copied once, the socket is taken out of the process, what the path leads to
//! is opened in the process's own view (`view.rs`) and judged by where that file is, and the connection is made to that
//! very file. Nothing is read a second time. No other call reaches a local socket by its path: those without connections
//! cannot be made (`filter.rs`), and io_uring is absent.
//!
//! The sockets themselves hold the rest: an internet socket stays in the network of the process that made it, and refuses
//! an address of another family, as a local socket does.

use std::{
    ffi::OsStr,
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::PathBuf,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::OFlags,
    io::Errno,
    net::{
        AddressFamily,
        sockopt::{self, Timeout},
    },
};

use crate::{
    deputy::{self, Deputies},
    notify::{self, Call},
    view::{self, Thread},
};

/// Calls of one command that wait for a server at the same time: each holds two descriptors of the daemon.
const MAX_WAITING: usize = 128;
/// How often a waiting call is looked at.
const PATIENCE: Duration = Duration::from_millis(4);
/// Longer than the kernel tries to reach a server over the internet.
const LONGEST: Duration = Duration::from_secs(300);
/// Where the path begins in the address of a local socket (unix(7)).
const PATH_AT: usize = 2;

/// The connections of one command.
pub(crate) struct Connects {
    within: Vec<PathBuf>,
    nameless: bool,
    waiting: Vec<Waiting>,
    deputies: Deputies,
}

/// A call whose server has not answered yet.
struct Waiting {
    call: Call,
    attempt: Attempt,
    until: Instant,
}

struct Attempt {
    socket: OwnedFd,
    to: To,
}

/// What a connection is made to.
enum To {
    /// A copy of the address.
    Internet(Vec<u8>),
    /// A local socket without a path: a copy of the address.
    Nameless(Vec<u8>),
    /// A local socket, opened.
    File(OwnedFd),
}

impl Connects {
    /// Local sockets in the trees `within`, and those without a path if `nameless`, which is right only when every such
    /// socket in this network was made by the command itself.
    pub(crate) fn new(within: Vec<PathBuf>, nameless: bool) -> Self {
        Self { within, nameless, waiting: Vec::new(), deputies: Deputies::default() }
    }

    /// How soon [`Connects::look_again`] is due; `None` when nothing waits.
    pub(crate) fn patience(&self) -> Option<Duration> {
        (!self.waiting.is_empty()).then_some(PATIENCE)
    }

    /// Carries out a call, or begins to.
    pub(crate) fn take(&mut self, listener: &OwnedFd, call: Call) {
        let begun = self.begin(listener, &call).map(|attempt| (self.connect(&attempt), attempt));
        let looked = begun.map(|(outcome, attempt)| match outcome {
            // A server on this machine has answered by now.
            Err(Errno::INPROGRESS) if attempt.waits() => (self.outcome(&attempt), attempt),
            outcome => (outcome, attempt),
        });
        let outcome = match looked {
            Ok((Err(Errno::INPROGRESS | Errno::ALREADY | Errno::AGAIN), attempt)) if attempt.waits() => {
                return self.wait(listener, call, attempt);
            }
            Ok((outcome, _)) => outcome,
            Err(errno) => Err(errno),
        };
        // Fails when the thread has ended meanwhile.
        let _ = notify::answer(listener, &call, outcome);
    }

    fn wait(&mut self, listener: &OwnedFd, call: Call, attempt: Attempt) {
        if self.waiting.len() >= MAX_WAITING {
            let _ = notify::answer(listener, &call, Err(Errno::AGAIN));
            return;
        }
        let until = Instant::now() + attempt.patience();
        self.waiting.push(Waiting { call, attempt, until });
    }

    /// Looks at the calls that wait.
    pub(crate) fn look_again(&mut self, listener: &OwnedFd) {
        for waiting in std::mem::take(&mut self.waiting) {
            let over = Instant::now() >= waiting.until;
            match self.outcome(&waiting.attempt) {
                Err(Errno::INPROGRESS | Errno::ALREADY | Errno::AGAIN) if !over => {
                    if notify::is_waiting(listener, &waiting.call) {
                        self.waiting.push(waiting);
                    }
                }
                // As connect(2) says it of a socket with a time limit.
                outcome => drop(notify::answer(listener, &waiting.call, outcome)),
            }
        }
    }

    /// What has become of an attempt.
    fn outcome(&mut self, attempt: &Attempt) -> Result<(), Errno> {
        if !matches!(attempt.to, To::Internet(_)) {
            // A local server that has no room says nothing when it has.
            return self.connect(attempt);
        }
        let mut fds = [PollFd::from_borrowed_fd(attempt.socket.as_fd(), PollFlags::OUT)];
        match rustix::event::poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? {
            0 => Err(Errno::INPROGRESS),
            _ => sockopt::socket_error(&attempt.socket)?,
        }
    }

    /// Reads what a call asks for, and decides.
    fn begin(&self, listener: &OwnedFd, call: &Call) -> Result<Attempt, Errno> {
        let [descriptor, address, length, ..] = call.arguments;
        let thread = Thread::of(call)?;
        let address = thread.address(address, length)?;
        let socket = thread.descriptor(descriptor)?;
        let family = sockopt::socket_domain(&socket)?;
        let to = match family {
            AddressFamily::INET | AddressFamily::INET6 => To::Internet(address),
            AddressFamily::UNIX => self.local(&thread, address)?,
            // Nobody connects the sockets of the kernel's own tables: those are bound, and sent to.
            _ => return Err(Errno::PERM),
        };
        // Whatever was read, was read of the thread that waits, and not of a later one with its number.
        notify::is_waiting(listener, call).then_some(Attempt { socket, to }).ok_or(Errno::SRCH)
    }

    fn local(&self, thread: &Thread, address: Vec<u8>) -> Result<To, Errno> {
        let (Some(family), Some(name)) = (address.get(..PATH_AT), address.get(PATH_AT..)) else {
            return Err(Errno::INVAL);
        };
        if family != libc::sa_family_t::try_from(libc::AF_UNIX).unwrap_or_default().to_ne_bytes() {
            return Err(Errno::INVAL);
        }
        if name.first().is_none_or(|first| *first == 0) {
            return if self.nameless { Ok(To::Nameless(address)) } else { Err(Errno::PERM) };
        }
        let path = name.split(|byte| *byte == 0).next().unwrap_or_default();
        let file = view::open(thread, OsStr::from_bytes(path).as_ref())?;
        let place = view::place(&file)?;
        // The answer that Landlock gives.
        self.within.iter().any(|tree| place.starts_with(tree)).then_some(To::File(file)).ok_or(Errno::ACCESS)
    }

    /// Connects without waiting. While it does, the socket itself is set not to wait, which its owner could see; but it has
    /// no connection yet, on which that would make a difference.
    fn connect(&mut self, attempt: &Attempt) -> Result<(), Errno> {
        let socket = &attempt.socket;
        let flags = rustix::fs::fcntl_getfl(socket)?;
        let waits = !flags.contains(OFlags::NONBLOCK);
        if waits {
            rustix::fs::fcntl_setfl(socket, flags | OFlags::NONBLOCK)?;
        }
        let done = match &attempt.to {
            To::Internet(address) => deputy::connect(socket.as_fd(), address),
            // A server asks the system who connected, and must not be told: the daemon.
            To::Nameless(address) => self.deputies.connect(socket.as_fd(), address),
            To::File(file) => self.deputies.connect(socket.as_fd(), &address_of(file)),
        };
        if waits {
            rustix::fs::fcntl_setfl(socket, flags)?;
        }
        done
    }
}

impl Attempt {
    /// Whether the call waits for its server.
    fn waits(&self) -> bool {
        rustix::fs::fcntl_getfl(&self.socket).is_ok_and(|flags| !flags.contains(OFlags::NONBLOCK))
    }

    /// How long.
    fn patience(&self) -> Duration {
        sockopt::socket_timeout(&self.socket, Timeout::Send).ok().flatten().unwrap_or(LONGEST).min(LONGEST)
    }
}

/// The address of an open file, for a process that has the descriptor.
fn address_of(file: &OwnedFd) -> Vec<u8> {
    let family = libc::sa_family_t::try_from(libc::AF_UNIX).unwrap_or_default();
    let path = format!("/proc/self/fd/{}\0", file.as_raw_fd());
    [&family.to_ne_bytes(), path.as_bytes()].concat()
}
