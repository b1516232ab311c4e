//! Why a command was not started, or could not be contained.

use std::{io, path::PathBuf};

/// A command that was not run, or one that the sandbox lost.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// A spec that says nothing that could be run.
    #[error("cannot run the command: {0}")]
    InvalidSpec(String),
    /// The kernel has no Landlock.
    #[error(
        "this machine has no Landlock, so a command could write anywhere; it was not started\n\
         Hint: boot with `landlock` in the kernel's `lsm=` list (Linux 6.2 or newer), or accept the risk in ostk.toml"
    )]
    LandlockMissing,
    /// The kernel's Landlock does not cover truncation.
    #[error(
        "Landlock ABI {abi} of this machine cannot keep a command from emptying files; ABI {needed} (Linux 6.2) can; \
         the command was not started\nHint: use a newer kernel, or accept the risk in ostk.toml"
    )]
    LandlockTooOld {
        /// What the machine has.
        abi: u32,
        /// What is needed.
        needed: u32,
    },
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
    /// Hiding takes a namespace.
    #[error("cannot hide {} from the command: this machine gives no namespaces", path.display())]
    CannotHide {
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
    /// A step between fork and exec failed; the program was not executed.
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
