//! What the workspace promises, checked on a real directory. One binary; each module is one promise.

mod common;
mod crash;
mod names;
mod race;
mod write;
