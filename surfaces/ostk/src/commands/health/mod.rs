//! `ostk boot` and `ostk doctor`: what state is this project and this machine in?
//!
//! `check` is the form of an answer, `project` and `machine` look, `counts` folds the log. Nothing here starts a daemon
//! or writes a byte.

mod boot;
mod check;
mod counts;
mod daemon;
mod doctor;
mod machine;
mod project;

pub(crate) use boot::boot;
pub(crate) use doctor::doctor;
