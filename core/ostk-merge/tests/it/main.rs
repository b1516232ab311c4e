//! The tests of `ostk-merge`. `oracle` runs the real `git merge-file`; `cases` holds hand-made merges, `generated`
//! compares thousands of lines of invented history with git, `laws` states what holds for all inputs, and the rest
//! follows the modules of the crate.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    reason = "a test that meets the unexpected must stop"
)]

mod cases;
mod generated;
mod generator;
mod laws;
mod oracle;
mod single_file;
