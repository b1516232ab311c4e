//! Hearing of changes as they happen, by inotify.
//!
//! Only directories that git does not ignore are watched. Events are gathered for a moment and handed over as paths: a
//! hint where to look, not a record of what happened. When too much happens at once the watcher says so and the caller
//! scans everything; the scanner, not the watcher, is what correctness rests on. One thread does all; the kernel's
//! queue of events is the only one.

use std::{
    os::fd::OwnedFd,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    io::retry_on_intr,
};

use crate::{FilesError, Workspace, WorkspacePath, news::News, watched::WatchedTree};

/// Changes are handed over after this long (30 ms) without another one.
const QUIET: Timespec = Timespec { tv_sec: 0, tv_nsec: 30_000_000 };

/// Changes are handed over after this long even if more keep coming.
const MAX_DELAY: Duration = Duration::from_millis(250);

/// What the watcher reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchEvent {
    /// These paths were created, changed or removed: sorted, each once. A removed directory appears as itself, a
    /// renamed one with what it holds under both names.
    Changed(Vec<WorkspacePath>),
    /// More happened than could be told, or the ignore rules changed: scan everything.
    Overflow,
    /// From now on a part of the workspace is not watched, for this reason. Scans still see it.
    Unwatched(String),
}

/// A watch that could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The user's inotify watches are used up. The advice is the most that Linux sets by default, which depends on the
    /// memory, so it lowers no machine's limit.
    #[error(
        "all inotify watches are in use after {watched} directories; \
         raise the limit with: sysctl fs.inotify.max_user_watches=1048576"
    )]
    LimitReached {
        /// How many directories could be watched.
        watched: usize,
    },
    /// The user's inotify instances, or this process's file descriptors, are used up.
    #[error(
        "all inotify instances or file descriptors are in use; \
         raise the limit with: sysctl fs.inotify.max_user_instances=1024"
    )]
    TooManyWatchers,
    /// The system refused.
    #[error("cannot watch the workspace: {0}")]
    Inotify(std::io::Error),
    /// The thread that gathers events could not be started.
    #[error("cannot start the watcher: {0}")]
    Thread(std::io::Error),
    /// The workspace could not be read.
    #[error(transparent)]
    Files(#[from] FilesError),
}

/// Watches until it is dropped.
#[derive(Debug)]
pub struct Watcher {
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Watches `workspace` and calls `on_change` from a thread of its own. When this returns, all watches are set.
    ///
    /// The thread sleeps until something changes. Needs `/proc`.
    pub fn start(
        workspace: Workspace,
        on_change: impl FnMut(WatchEvent) + Send + 'static,
    ) -> Result<Self, WatchError> {
        let mut tree = WatchedTree::new(workspace)?;
        let mut known = News::default();
        tree.rewatch(&mut known)?;
        let stop = eventfd(0, EventfdFlags::CLOEXEC).map_err(|e| WatchError::Thread(e.into()))?;
        let stop = Arc::new(stop);
        let mut gatherer = Gatherer { tree, stop: Arc::clone(&stop), on_change };
        let thread = std::thread::Builder::new()
            .name("ostk-watch".to_owned())
            .spawn(move || gatherer.run(known.only_unwatched()))
            .map_err(WatchError::Thread)?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // Cannot fail: an eventfd refuses only the sum of 2^64.
        let _ = rustix::io::write(&*self.stop, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            // A callback that panicked has already printed its message.
            let _ = thread.join();
        }
    }
}

/// The thread: gathers events and hands over.
struct Gatherer<F> {
    tree: WatchedTree,
    stop: Arc<OwnedFd>,
    on_change: F,
}

impl<F: FnMut(WatchEvent)> Gatherer<F> {
    fn run(&mut self, first: News) {
        self.hand_over(first);
        loop {
            match self.gather() {
                Ok(Some(news)) => self.hand_over(news),
                Ok(None) => return,
                Err(errno) => {
                    return (self.on_change)(WatchEvent::Unwatched(format!("the watcher ended: {errno}")));
                }
            }
        }
    }

    /// Waits for a change, then for quiet or [`MAX_DELAY`]; nothing if it is time to stop.
    fn gather(&mut self) -> rustix::io::Result<Option<News>> {
        if self.is_stopped_before_a_change()? {
            return Ok(None);
        }
        let began = Instant::now();
        let mut news = News::default();
        while self.tree.take_events(&mut news)? && began.elapsed() < MAX_DELAY {
            // Meanwhile the kernel gathers, and joins events that repeat.
            if self.is_stopped_before_quiet()? {
                return Ok(None);
            }
        }
        Ok(Some(news))
    }

    /// Sleeps without a deadline: whoever drops the watcher ends it.
    fn is_stopped_before_a_change(&self) -> rustix::io::Result<bool> {
        let mut waits =
            [PollFd::new(&*self.stop, PollFlags::IN), PollFd::new(self.tree.queue(), PollFlags::IN)];
        retry_on_intr(|| poll(&mut waits, None))?;
        let [stop, _] = waits;
        Ok(!stop.revents().is_empty())
    }

    fn is_stopped_before_quiet(&self) -> rustix::io::Result<bool> {
        let mut wait = [PollFd::new(&*self.stop, PollFlags::IN)];
        Ok(retry_on_intr(|| poll(&mut wait, Some(&QUIET)))? > 0)
    }

    fn hand_over(&mut self, mut news: News) {
        if news.rewatch
            && let Err(error) = self.tree.rewatch(&mut news)
        {
            news.unwatched(error.to_string());
        }
        news.into_events().for_each(&mut self.on_change);
    }
}
