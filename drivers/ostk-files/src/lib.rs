//! The workspace: resolve, observe, atomic replace, scan, watch.
//!
//! A driver: it carries out acts that the kernel has decided and reports what happened. It holds no policy (which
//! agent may touch which path), no history (generations and versions live in the journal and the packs) and no
//! durability of its own: a replace is atomic but not synced, because the bytes are already in a pack and the redo
//! pass completes what a power loss undid. Callers are the daemon and the simulator.

mod attributes;
mod error;
mod ignored;
mod list;
mod look;
mod news;
mod path;
mod quarantine;
mod remove;
mod replace;
mod resolve;
mod scan;
mod temporary;
mod turn;
mod walk;
mod watch;
mod watched;
mod workspace;

pub use error::{FilesError, PathError};
pub use list::{Entry, EntryKind, Listing, MAX_LISTED};
pub use look::{FileVersion, MAX_FILE_BYTES, Observation, SpecialKind};
pub use path::{MAX_PATH_BYTES, WorkspacePath};
pub use quarantine::{Guard, Quarantine, Taken, What};
pub use replace::{Expected, Replaced};
pub use scan::{Change, MAX_SCANNED_FILES, Problem, Scan, Scanner};
pub use watch::{WatchError, WatchEvent, Watcher};
pub use workspace::Workspace;
