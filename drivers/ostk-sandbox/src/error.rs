//! Why a command was not started, or could not be contained.

use std::{io, path::PathBuf};

use crate::Missing;

/// A command that was not run, or one that the sandbox lost.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// A spec that says nothing that could be run.
    #[error("cannot run the command: {0}")]
    InvalidSpec(String),
    /// The machine cannot give something that the spec asks for.
    #[error(
        "this machine has {}, so commands here would not be held to this: they {}; it was not started\n\
         Hint: {}, or accept it in .ostk/ostk.toml: [sandbox] accept_missing = [\"{}\"]",
        .0.why, .0.guarantee.promise(), .0.remedy, .0.guarantee
    )]
    Missing(Missing),
    /// A path of the spec that must exist does not.
    #[error("cannot run the command: {role} {}: {source}", path.display())]
    BadPath {
        /// What the path is for.
        role: &'static str,
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A protected path reached through a symbolic link could be replaced by replacing the link.
    #[error("cannot protect {}: it is, or lies behind, a symbolic link\nHint: make it a real file", path.display())]
    ProtectedLink {
        /// The path.
        path: PathBuf,
    },
    /// Without namespaces each entry of the tree needs its own rule, and there are too many.
    #[error("cannot protect parts of {}: more than {limit} entries, and no namespaces here", path.display())]
    TooManyEntries {
        /// The writable tree.
        path: PathBuf,
        /// How many entries are tried.
        limit: usize,
    },
    /// The Landlock rules could not be built.
    #[error("cannot build the Landlock rules: {0}")]
    Ruleset(String),
    /// A step between clone and exec failed; the program was not executed.
    #[error("cannot contain the command, so it was not started: {step}: {source}")]
    Setup {
        /// Which step.
        step: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The program is not there.
    #[error("no such program: {}", program.display())]
    NoSuchProgram {
        /// As it was given.
        program: PathBuf,
    },
    /// The program is there and cannot be executed.
    #[error("cannot execute {}: {source}", program.display())]
    CannotExecute {
        /// As it was given.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system refused something the sandbox needs for itself.
    #[error("the sandbox failed: {what}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// SIGKILL was sent and the process did not end: it hangs inside the kernel.
    #[error("process {pid} does not end, even after SIGKILL")]
    Unkillable {
        /// Its process id.
        pid: i32,
    },
    /// More input than the process takes.
    #[error("the process does not read its input: {pending} bytes are waiting already")]
    InputFull {
        /// Bytes not yet read.
        pending: usize,
    },
    /// Asked for a change of a terminal.
    #[error("the process has no terminal")]
    NoTerminal,
    /// The process has ended or its input was closed.
    #[error("the process takes no more input")]
    InputClosed,
}

impl SandboxError {
    pub(crate) fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }

    pub(crate) fn bad_path(role: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::BadPath { role, path, source }
    }
}
