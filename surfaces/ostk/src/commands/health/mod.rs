//! `ostk boot` and `ostk doctor`: what state is this project and this machine in?
//!
//! `check` is the form of an answer; `project`, `machine`, `trust` and `daemon` look; `past` folds the log. Nothing here starts
//! a daemon or writes a byte.

mod boot;
mod check;
mod daemon;
mod doctor;
mod machine;
mod past;
mod project;
mod trust;

pub(crate) use boot::boot;
pub(crate) use doctor::doctor;
pub(crate) use past::keys_of_log;
pub(crate) use trust::to_json as trust_of;
