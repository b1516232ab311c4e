//! Coding agents that use tools of their own: what their hooks ask, and the settings that install hooks and servers.
//!
//! `event` turns a hook's input into system calls and a call's result into the hook's answer, and `patch` finds the files of
//! Codex's patches; all are pure.
//! `install` puts the entries of ostk into a client's settings and takes them out again, by `json` and `codex`.
//! `ostk hook` and `ostk init --client` do the asking and the printing; `open` is the daemon's own: which tools run now.

mod codex;
mod event;
mod install;
mod json;
mod open;
mod patch;

pub(crate) use self::open::OpenTools;
pub use self::{
    event::{Access, Ask, Event, Input, InputError, MAX_ASKS, NotAnEvent},
    install::{Client, Done, SetupError, Step, install, uninstall},
};
