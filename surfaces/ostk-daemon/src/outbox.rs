//! The way back to one client of the socket: frames in order, sent from any thread without waiting.
//!
//! A frame is written at once by whoever sends it, usually the host's thread, which saves two changes of threads for
//! each call. Only what the socket does not take waits, in a bounded queue with a task of its own. Called by `rpc` for
//! answers and by `follow` for records.

use std::{
    io,
    sync::{Arc, Mutex},
};

use rustix::net::{Shutdown, shutdown};
use tokio::{
    net::unix::OwnedWriteHalf,
    sync::{
        OwnedSemaphorePermit,
        mpsc::{self, Receiver, Sender},
    },
};

use crate::hands::lock;

/// Records that may wait for a slow client; those who send them wait then.
const MAX_RECORDS: usize = 1_024;

/// Where frames go.
pub(crate) struct Outbox {
    socket: Arc<OwnedWriteHalf>,
    queue: Sender<Frame>,
    /// Frames that are queued or being written by the task.
    behind: Arc<Mutex<usize>>,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It was written, or will be.
    Yes,
    /// Nothing was sent: the client takes in less than it is sent.
    Full,
    /// The client is gone.
    Gone,
}

struct Frame {
    bytes: Vec<u8>,
    written: usize,
    /// Given back when the frame is written: it bounds how many answers wait.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Outbox {
    /// An outbox that has room for `answers`, each sent with a permit of a semaphore of that size, and the task that
    /// empties it; the task ends when the outbox is dropped and empty, or the client is gone.
    pub(crate) fn new(socket: OwnedWriteHalf, answers: usize) -> (Self, impl Future<Output = ()>) {
        let socket = Arc::new(socket);
        let (queue, waiting) = mpsc::channel(answers + MAX_RECORDS);
        let behind = Arc::new(Mutex::new(0));
        let task = drain(Arc::clone(&socket), waiting, Arc::clone(&behind));
        (Self { socket, queue, behind }, task)
    }

    /// Sends the answer to a request. The client may be gone; what it asked for is in the log all the same.
    pub(crate) fn answer(&self, frame: String, permit: OwnedSemaphorePermit) {
        let sent = self.send(frame, Some(permit), usize::MAX);
        debug_assert_ne!(sent, Sent::Full, "there are no more answers than permits");
    }

    /// Sends a record, unless too many wait.
    pub(crate) fn record(&self, frame: String) -> Sent {
        self.send(frame, None, MAX_RECORDS)
    }

    /// Hangs up.
    pub(crate) fn close(&self) {
        // It may be closed already.
        let _ = shutdown(self.socket.as_ref().as_ref(), Shutdown::Both);
    }

    fn send(&self, frame: String, permit: Option<OwnedSemaphorePermit>, most_behind: usize) -> Sent {
        let mut bytes = frame.into_bytes();
        bytes.push(b'\n');
        // Held while writing, so that frames stay whole and in order; the socket never blocks.
        let mut behind = lock(&self.behind);
        if *behind >= most_behind {
            return Sent::Full;
        }
        let written = match *behind {
            0 => match self.socket.try_write(&bytes) {
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(_) => return Sent::Gone,
            },
            _ => 0,
        };
        if written == bytes.len() {
            return Sent::Yes;
        }
        match self.queue.try_send(Frame { bytes, written, _permit: permit }) {
            Ok(()) => {
                *behind += 1;
                Sent::Yes
            }
            Err(mpsc::error::TrySendError::Full(_)) => Sent::Full,
            Err(mpsc::error::TrySendError::Closed(_)) => Sent::Gone,
        }
    }
}

/// Writes what waits, as the client takes it in.
async fn drain(socket: Arc<OwnedWriteHalf>, mut waiting: Receiver<Frame>, behind: Arc<Mutex<usize>>) {
    while let Some(mut frame) = waiting.recv().await {
        while let Some(rest) = frame.bytes.get(frame.written..).filter(|rest| !rest.is_empty()) {
            let written = match socket.try_write(rest) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    socket.writable().await.map(|()| 0)
                }
                other => other,
            };
            match written {
                Ok(written) => frame.written += written,
                // The client is gone.
                Err(_) => return,
            }
        }
        *lock(&behind) -= 1;
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncBufReadExt, BufReader},
        net::{UnixStream, unix::OwnedReadHalf},
        sync::Semaphore,
    };

    use super::*;

    const ANSWERS: usize = 4;

    fn pair() -> (Outbox, impl Future<Output = ()>, OwnedReadHalf) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (outbox, task) = Outbox::new(ours.into_split().1, ANSWERS);
        (outbox, task, theirs.into_split().0)
    }

    fn record(number: usize) -> String {
        format!("{number} {}", "x".repeat(1_000))
    }

    #[tokio::test]
    async fn a_slow_client_gets_every_frame_whole_and_in_order() {
        let (outbox, task, client) = pair();
        let task = tokio::spawn(task);
        let mut sent = 0;
        while outbox.record(record(sent)) == Sent::Yes {
            sent += 1;
        }
        assert!(sent >= MAX_RECORDS, "{sent}");
        assert_eq!(outbox.record(record(sent)), Sent::Full);
        let permits = Arc::new(Semaphore::new(ANSWERS));
        for number in 0..ANSWERS {
            let permit = Arc::clone(&permits).try_acquire_owned().unwrap();
            outbox.answer(record(sent + number), permit);
        }
        assert_eq!(permits.available_permits(), 0, "an answer that waits is an open request");
        drop(outbox);
        let mut lines = BufReader::new(client).lines();
        for number in 0..sent + ANSWERS {
            assert_eq!(lines.next_line().await.unwrap(), Some(record(number)));
        }
        assert_eq!(lines.next_line().await.unwrap(), None);
        task.await.unwrap();
        assert_eq!(permits.available_permits(), ANSWERS);
    }

    #[tokio::test]
    async fn who_hangs_up_is_gone_on_both_sides() {
        let (outbox, _task, client) = pair();
        drop(client);
        assert_eq!(outbox.record(record(0)), Sent::Gone);
        let (outbox, _task, client) = pair();
        outbox.close();
        assert_eq!(BufReader::new(client).lines().next_line().await.unwrap(), None);
    }
}
