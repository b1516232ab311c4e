//! The tests of `ostk-merge`. `oracle` runs the real `git merge-file`; `cases` holds hand-made merges, `generated`
//! compares thousands of lines of invented history with git, `laws` states what holds for all inputs, and the rest
//! follows the modules of the crate.

mod generated;
mod generator;
mod oracle;
