//! Append, group commit, rotate, recover and tail the log.
//!
//! [`Journal`] is the one writer: drafts go into a bounded queue, a writer thread seals what waits, writes it, syncs it
//! once, signs a checkpoint and reports how many records are durable. [`Reader`], [`Tail`] and [`verify()`] read beside
//! it, take no lock and need no writer; `libostk` uses them alone. Nothing here decides what is recorded.
//!
//! # Files below the project's state folder
//!
//! | file | what |
//! |---|---|
//! | `journal.jsonl` | the live segment; `audit.jsonl` links to it |
//! | `journal/<first seq, 20 digits>.jsonl` | closed segments, never written again |
//! | `journal/torn-<seq>` | what a crash left after the last whole record |
//! | `log/checkpoint` | size and root of the tree, signed (C2SP tlog-checkpoint) |
//! | `log/tile/…` | hash tiles (C2SP tlog-tiles) |
//! | `packs/*.pack` | blobs, see `ostk-blobs` |
//! | `snapshots/<next seq>.json` | a folded state, signed: a cache, see [`Snapshots`] |
//! | `run/journal.lock` | held while a writer is open |
//!
//! The first record of a segment names the last line of the segment before by its `prev_hash`, as every record does;
//! rotation adds no record of its own, because positions are given out by the kernel.

mod error;
mod failpoint;
mod journal;
mod lines;
mod live;
mod lock;
mod pack_thread;
mod publish;
mod queue;
mod reader;
mod recover;
mod refs;
mod segments;
mod snapshot;
mod stepped;
mod tail;
mod tree;
mod verify;
mod writer;

pub use error::{AppendError, OpenError, PoisonError, ReadError};
pub use failpoint::{FAILPOINTS, Failpoint};
pub use journal::{Journal, OnDurable, OnWritten, Options};
pub use publish::PublishError;
pub use queue::{APPEND_DEADLINE, QUEUE_BLOB_BYTES, QUEUE_RECORDS, RELAXED_GATHER};
pub use reader::{Entry, Reader};
pub use recover::{Recovery, Torn};
pub use refs::blob_refs;
pub use snapshot::Snapshots;
pub use stepped::SteppedJournal;
pub use tail::{POLL, Tail};
pub use verify::{MAX_PROBLEMS, Problem, Report, verify, verify_watched};
pub use writer::{GATHER_MAX, GROUP_BYTES, GROUP_RECORDS, IDLE, RELAXED_SYNC};
