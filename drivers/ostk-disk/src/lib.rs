//! The files of the log and the packs: the system's own, or those of a disk that was mounted for this thread.
//!
//! [`fs`] has the functions of `std::fs` that `ostk-journal` and `ostk-blobs` use, under the same names and with the same
//! meaning. They pass each call on to the system unless the calling thread has [`mount`]ed a [`Disk`]; only the simulator
//! (`tools/ostk-sim`) does, to run the same code over a disk that loses, tears, refuses and lies. What a mounted disk
//! does is not here, and nothing here decides anything.

pub mod fs;
mod mount;

pub use mount::{Disk, Mounted, Node, mount};
