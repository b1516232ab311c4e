//! The system call table, the fold and the process table: a state machine that returns acts.
//!
//! [`Kernel::submit`], [`Kernel::complete`], [`Kernel::notice`] and [`Kernel::tick`] take the time as an argument and
//! return [`Act`]s: append this record, run this operation, send this reply. Whoever hosts the kernel carries the acts
//! out on real hardware (`ostk-daemon`) or on a simulated one. The state is a fold of the records that the kernel
//! itself returned, so replaying the log gives the same state, byte for byte ([`State::hash`]).

mod act;
mod agents;
mod apply;
mod approvals;
mod budget;
mod call;
mod clock;
mod digest;
mod event;
mod fallback;
mod files;
mod gatekeeper;
mod kernel;
mod keys;
mod labels;
mod lanes;
mod limits;
mod lineages;
mod log_view;
mod messages;
mod needles;
mod network;
mod ops;
mod panic;
mod pins;
mod pipes;
mod places;
mod quarantine;
mod queue;
mod restraint;
mod sagas;
mod secrets;
mod shell;
mod signals;
mod spawn;
mod stacks;
mod state;
mod supervise;
mod table;
mod timers;
mod tools;
mod trust;
mod why;
mod work;
mod workers;

pub use act::{
    Act, After, Awaited, BlobBytes, Command, Found, ModelFacts, ModelFailure, Op, OpId, Outcome, Placed,
    ProcessSignal, Seen, ShellEnd, Unresolved,
};
pub use approvals::{Answer, Approval, Scope};
pub use budget::{Allowance, Charge, Spending, micro_usd};
pub use call::{Call, CallError, CallId, Caller, Code};
pub use clock::SteadyClock;
pub use event::{Change, Event, FileImage, Via};
pub use fallback::Fallback;
pub use gatekeeper::Readable;
pub use kernel::{Config, Kernel};
pub use lanes::Lane;
pub use lineages::{Resolution, Revival};
pub use messages::PROJECT;
pub use needles::{decision_rows, hay_rows, needle_row};
pub use ostk_work::Board;
pub use panic::Panic;
pub use pipes::{End, Ends, Message, Pipe};
pub use places::QueuedSpawn;
pub use sagas::{Saga, SagaState, Step, StepChange, StepPlan, StepState};
pub use signals::{
    Consequence, Disposition, SIGNALS, Signal, SignalEffect, Signals, Waiting, consequence,
    describe as describe_signals, lookup as lookup_signal,
};
pub use spawn::not_carried_out;
pub use stacks::{Attestation, Ended, FirstAgent, Stack, StackOp, StackState, Within};
pub use state::{
    Conflict, FileEntry, FoldError, Lineage, LineageKind, LineageState, Read, State, Version, fold, fold_line,
};
pub use supervise::{Fall, Phase, SESSION, Supervision, Terms};
pub use table::{Arg, ArgKind, Effect, Syscall, TABLE, abi, abi_hash, lookup};
pub use timers::Timer;
pub use tools::{TOOLS, Tool, render as render_tool, tool_call};
pub use trust::{KeyStanding, TrustedKeys, rotation_statement, vouching_statement};
pub use workers::Worker;
