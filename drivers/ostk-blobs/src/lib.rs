//! Content-addressed bytes in append-only pack files.
//!
//! A blob is named by the SHA-256 of its bytes. Blobs lie one after the other in `packs/<20 digits>.pack`, where the
//! number is the position of the pack's first blob among all blobs. An entry is text around raw bytes, so that `grep`,
//! `sha256sum` and a short script can read it:
//!
//! ```text
//! blob <64 hex digits of SHA-256> <size in bytes, decimal>\n<bytes>\n
//! ```
//!
//! The index is rebuilt from the entry headers at each start. Nothing here decides what is stored: the journal's writer
//! thread is told which blobs belong to a group, and makes them durable together with the group's records.

mod error;
mod format;
mod mark;
mod recover;
mod scan;
mod store;
mod verify;
mod writer;

pub use error::BlobError;
pub use recover::Cut;
pub use store::BlobStore;
pub use verify::{Problem, Report, verify};
pub use writer::PackWriter;

/// The largest blob: 64 MiB, the largest file the workspace takes, and 1 KiB for a wrapper around it.
pub const BLOB_MAX_BYTES: u64 = (64 << 20) + 1024;

/// A pack that would grow beyond this is closed and a new one begun: small enough to copy, few enough to list.
pub const PACK_MAX_BYTES: u64 = 256 << 20;
