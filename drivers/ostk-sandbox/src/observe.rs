//! Watches what a command asks the system for, without tracing it: which files, programs and addresses.
//!
//! The command is contained as any other; this only listens. A thread takes the kernel's notices (`notify.rs`), reads
//! what each call asks for (`asked.rs`), notes it and lets the call go on. It is a means to learn what a task needs, not
//! a boundary: what is read of a call can change before the kernel reads it.

use std::{
    collections::BTreeSet,
    os::fd::{AsFd as _, OwnedFd},
    path::PathBuf,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec},
    io::Errno,
};

use crate::{
    SandboxError, asked,
    connect::Connects,
    handover::Handover,
    notify::{self, Call, Watched},
};

/// Paths and addresses of one command: a large build reads some ten thousand files.
const MAX_OBSERVED: usize = 32 * 1024;

/// What a command asked for. Paths are absolute and real: without links. What failed for want of a file is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// Files opened for reading.
    pub read: BTreeSet<PathBuf>,
    /// Things that were there and were opened for writing, or changed in their length, mode, owner or times.
    pub written: BTreeSet<PathBuf>,
    /// Programs started.
    pub executed: BTreeSet<PathBuf>,
    /// Files, directories, links and sockets that were not there.
    pub created: BTreeSet<PathBuf>,
    /// What was removed, moved away or replaced by something else.
    pub removed: BTreeSet<PathBuf>,
    /// Addresses: `HOST:PORT`, `unix:PATH`, or `unix:@NAME` for a socket without a path.
    pub connected: BTreeSet<String>,
    /// There was more than is kept, or could be read.
    pub truncated: bool,
}

impl Observed {
    pub(crate) fn add(&mut self, place: impl Fn(&mut Self) -> &mut BTreeSet<PathBuf>, path: PathBuf) {
        // The directory of processes is made anew for each command.
        if path.starts_with("/proc") || place(self).contains(&path) {
            return;
        }
        if self.has_room() {
            place(self).insert(path);
        }
    }

    pub(crate) fn add_address(&mut self, address: String) {
        if !self.connected.contains(&address) && self.has_room() {
            self.connected.insert(address);
        }
    }

    fn has_room(&mut self) -> bool {
        let paths = [&self.read, &self.written, &self.executed, &self.created, &self.removed];
        let held = paths.into_iter().map(BTreeSet::len).sum::<usize>() + self.connected.len();
        self.truncated |= held >= MAX_OBSERVED;
        !self.truncated
    }
}

/// The thread that watches one command. It exists before the command does, for the first notice is that of the program
/// which the command executes, and the thread that starts it stands still until then.
pub(crate) struct Observer {
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<Observed>>,
}

impl Observer {
    /// With `connects`, these are carried out on the way.
    pub(crate) fn new(connects: Option<Connects>) -> Result<(Self, Watched), SandboxError> {
        let handover = Arc::new(Handover::new()?);
        let stop = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let stop = Arc::new(stop.map_err(|errno| SandboxError::io("create an eventfd")(errno.into()))?);
        let watched = Watched::by_an_observer(Arc::clone(&handover));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("observer".into())
            .spawn(move || watch(&handover, &stopped, connects));
        let thread = Some(thread.map_err(SandboxError::io("start a thread"))?);
        Ok((Self { stop, thread }, watched))
    }

    /// What was observed. Called when the command has ended; of a process that outlived it, where there is no process
    /// namespace, the calls that would be noticed fail from now on.
    pub(crate) fn finish(mut self) -> Observed {
        self.end().unwrap_or_default()
    }

    fn end(&mut self) -> Option<Observed> {
        let thread = self.thread.take()?;
        // Fails only when the counter is full, and then the thread is told already.
        let _ = rustix::io::write(&*self.stop, &1_u64.to_ne_bytes());
        thread.join().ok()
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.end();
    }
}

fn watch(handover: &Handover, stop: &OwnedFd, mut connects: Option<Connects>) -> Observed {
    let mut observed = Observed::default();
    if wait_for(handover.ours(), stop, None) != Found::Notice {
        return observed;
    }
    let Ok(listener) = handover.take() else { return observed };
    loop {
        let patience = connects.as_ref().and_then(Connects::patience);
        match wait_for(&listener, stop, patience) {
            Found::End => return observed,
            Found::Nothing => {}
            Found::Notice => match notify::receive(&listener) {
                Ok(call) => attend(&listener, call, &mut connects, &mut observed),
                Err(Errno::NOENT | Errno::INTR | Errno::AGAIN) => {}
                Err(_) => return observed,
            },
        }
        connects.iter_mut().for_each(|connects| connects.look_again(&listener));
    }
}

/// Notes what a call asks for, and lets it go on or carries it out.
fn attend(listener: &OwnedFd, call: Call, connects: &mut Option<Connects>, observed: &mut Observed) {
    let asked = asked::asked(&call);
    if notify::is_waiting(listener, &call) {
        observed.truncated |= asked.is_err();
        asked.ok().flatten().into_iter().for_each(|asked| asked::note(asked, observed));
    }
    match connects {
        Some(connects) if call.number == libc::SYS_connect => connects.take(listener, call),
        // Fails when the thread has ended meanwhile.
        _ => drop(notify::let_go_on(listener, &call)),
    }
}

/// What came of waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Notice,
    /// The time is over.
    Nothing,
    /// Nobody is left who could be noticed, or the command has ended.
    End,
}

/// Waits for something to read, at most `patience`.
fn wait_for(source: &OwnedFd, stop: &OwnedFd, patience: Option<Duration>) -> Found {
    let timeout = patience.and_then(|patience| Timespec::try_from(patience).ok());
    loop {
        let mut fds = [
            PollFd::from_borrowed_fd(source.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(stop.as_fd(), PollFlags::IN),
        ];
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Err(Errno::INTR) => continue,
            Err(_) => return Found::End,
            Ok(0) => return Found::Nothing,
            Ok(_) => {}
        }
        let [source, stop] = fds.map(|fd| fd.revents());
        if source.contains(PollFlags::IN) {
            return Found::Notice;
        }
        if !source.is_empty() || !stop.is_empty() {
            return Found::End;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_says_so() {
        let mut observed = Observed::default();
        for number in 0..MAX_OBSERVED {
            observed.add(|o| &mut o.read, format!("/f/{number}").into());
        }
        assert!(!observed.truncated);
        observed.add(|o| &mut o.read, "/f/0".into());
        assert!(!observed.truncated);
        observed.add_address("127.0.0.1:1".into());
        assert!(observed.truncated && observed.connected.is_empty());
    }
}
