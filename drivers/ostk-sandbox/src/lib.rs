//! Starts processes and contains them. The only crate with `unsafe` code.
//!
//! A [`Spec`] says everything about one command; [`run`] carries it out to its end, [`start`] returns a [`Process`]
//! that keeps running. Nothing here decides what a command may do: the kernel does, and the daemon fills in the spec.
//!
//! Every command gets its own session and process group, `no_new_privs`, resource limits, a deadline, almost no
//! capabilities, no inherited descriptor, a Landlock domain and filters of system calls; where the machine offers
//! namespaces ([`Probe`]), its own processes, mounts, devices, IPC and, when it may not use the network, interfaces.
//! What the machine cannot give is a [`Missing`] guarantee. [`Containment`] lists what this layer does not hold.
//!
//! From a spec to a process: `plan.rs` chooses the means and `trees.rs` works out the paths; `launch.rs` makes the
//! processes, which change themselves as `child.rs` says (`spare.rs` has a network namespace ready for each); `supervise.rs` sees them through to their end. What a child
//! makes in its own view for the daemon (`relay.rs`, `terminal.rs`) comes out through `handover.rs`. What a command asks
//! the system for can be observed while it runs (`observe.rs`), and its connections are made for it where the kernel has
//! no rule for them (`connect.rs`).

mod asked;
mod bisect;
mod capture;
mod cgroup;
mod child;
mod connect;
mod depth;
mod deputy;
mod error;
mod filter;
mod guarantee;
mod handover;
mod hold;
mod init;
mod launch;
mod mounted;
mod namespace;
mod notify;
mod observe;
mod paths;
mod placeholder;
mod plan;
mod probe;
mod process;
mod relay;
mod repository;
mod ruleset;
mod shared;
mod spare;
mod spec;
mod supervise;
mod sweep;
mod terminal;
mod trees;
mod view;

use std::sync::OnceLock;

pub use capture::Output;
pub use error::SandboxError;
pub use guarantee::{Guarantee, Missing};
pub use observe::Observed;
pub use plan::{Containment, Protection};
pub use probe::{Namespaces, Probe, probe};
pub use process::{Outcome, Piece, Process, Stream, Waited};
pub use spec::{Limits, LocalSockets, Network, Readable, Spec};
pub use supervise::Exit;
pub use sweep::Refused;
pub use terminal::WindowSize;

/// Starts processes on a machine with known abilities.
#[derive(Debug, Clone)]
pub struct Sandbox {
    probe: Probe,
}

impl Sandbox {
    /// A sandbox that relies on what `probe` says and uses nothing else.
    pub fn new(probe: Probe) -> Self {
        Self { probe }
    }

    /// Runs a command to its end, at the latest its wall-clock limit, the grace after it, and a few seconds.
    ///
    /// Blocks the calling thread. A command that fails, is killed or times out is an [`Outcome`]; an error means that
    /// the command was not started, or that it could not be contained or ended.
    pub fn run(&self, spec: &Spec) -> Result<Outcome, SandboxError> {
        process::run(&self.probe, spec)
    }

    /// Starts a command and returns at once. The wall-clock limit holds for it as well.
    pub fn start(&self, spec: &Spec) -> Result<Process, SandboxError> {
        process::start(&self.probe, spec)
    }
}

/// [`Sandbox::run`] with what this machine offers.
pub fn run(spec: &Spec) -> Result<Outcome, SandboxError> {
    this_machine().run(spec)
}

/// [`Sandbox::start`] with what this machine offers.
pub fn start(spec: &Spec) -> Result<Process, SandboxError> {
    this_machine().start(spec)
}

/// The machine is probed once: what it offers does not change while a daemon runs.
fn this_machine() -> &'static Sandbox {
    static SANDBOX: OnceLock<Sandbox> = OnceLock::new();
    SANDBOX.get_or_init(|| Sandbox::new(probe()))
}
