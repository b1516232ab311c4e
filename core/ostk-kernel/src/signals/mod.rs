//! Signals: one closed table with the names and numbers of both families, and what each does in which state.
//!
//! The kernel's family numbers signals to processes; the agents' family numbers those between an agent and whoever
//! governs it. A name means one thing in both. [`consequence`] is the whole rule, a pure function: the fold applies it
//! when it reads the record of a signal, [`deliver`] carries it out. Whoever sends is asked by the gate before.

mod deliver;

use std::collections::{BTreeMap, VecDeque};

use ostk_log::{Hash, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::state::LineageState;

/// How long a process that was asked to end may take to finish what it is doing, before it is killed.
pub(crate) const GRACE_MS: u64 = 30_000;
/// Signals that wait for one lineage; whoever sends more is told to come back.
pub(crate) const MAX_QUEUED: usize = 64;

/// A signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Signal {
    /// Its name.
    pub name: &'static str,
    /// Its number in the kernel's family, if it has one.
    pub kernel: Option<u8>,
    /// Its number in the agents' family (`AgentSignal`), if it has one.
    pub agent: Option<u8>,
    /// What it does.
    pub effect: SignalEffect,
    /// Whether its target may block, ignore or handle it.
    pub maskable: bool,
    /// What it is for, one line.
    pub doc: &'static str,
}

/// What a signal does to a process that takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalEffect {
    /// Holds its calls, its model calls and its operating-system processes, at once.
    Stop,
    /// Lets all of them go on where they were.
    Continue,
    /// Lets the call under way end and holds the next.
    Freeze,
    /// Leaves [`SignalEffect::Freeze`]; out of place anywhere else.
    Resume,
    /// Lets calls with an effect end, then ends it; after 30 s it is killed.
    Exit,
    /// Ends it and everything of it, now.
    Kill,
    /// Puts the signal's text into its conversation.
    Tell,
    /// Nothing but the record, and what the answer to the sender says.
    Note,
}

const fn signal(
    name: &'static str,
    (kernel, agent): (u8, u8),
    effect: SignalEffect,
    maskable: bool,
    doc: &'static str,
) -> Signal {
    const fn number(number: u8) -> Option<u8> {
        if number == 0 { None } else { Some(number) }
    }
    Signal { name, kernel: number(kernel), agent: number(agent), effect, maskable, doc }
}

use SignalEffect::{Continue, Exit, Freeze, Kill, Note, Resume, Stop, Tell};

/// Every signal, by name. Numbers are (kernel's family, agents' family), 0 for none.
pub const SIGNALS: &[Signal] = &[
    signal(
        "SIGBAIL",
        (8, 0),
        Exit,
        true,
        "leave what is being done and say why: the sender's text becomes a note",
    ),
    signal("SIGBUDGET", (0, 10), Stop, true, "a budget is used up: hold until it is raised"),
    signal("SIGCANCEL", (1, 0), Exit, true, "stop at the next checkpoint"),
    signal("SIGCONT", (0, 2), Continue, false, "go on after SIGSTOP or SIGFREEZE"),
    signal("SIGDRIFT", (0, 12), Tell, true, "the work moves away from its task"),
    signal("SIGFREEZE", (4, 0), Freeze, true, "pause at the next checkpoint"),
    signal("SIGHUP", (6, 0), Note, true, "the controlling session is gone"),
    signal("SIGINT", (0, 3), Freeze, true, "stop after the action under way"),
    signal("SIGKILL", (63, 4), Kill, false, "end now"),
    signal("SIGLOOP", (0, 11), Tell, true, "the same call gave the same result three times"),
    signal("SIGPOLICY", (0, 8), Kill, false, "it broke a rule that is worth its life"),
    signal("SIGQUOTA", (7, 0), Tell, true, "a budget is nearly used up: wrap up"),
    signal("SIGREDIRECT", (2, 0), Tell, true, "go on with the sender's text in mind"),
    signal("SIGRELOAD", (3, 0), Note, true, "rules are read again"),
    signal("SIGRESUME", (5, 0), Resume, false, "go on after SIGFREEZE or SIGINT"),
    signal("SIGSTOP", (9, 1), Stop, false, "hold everything, at once"),
    signal("SIGTERM", (15, 5), Exit, true, "finish and end"),
    signal("SIGTRUST", (0, 9), Kill, true, "it crossed a line of trust"),
    signal("SIGUSR1", (0, 6), Note, true, "say what is open: calls, locks, processes, spending"),
    signal("SIGUSR2", (0, 7), Note, true, "name the point in the log that one can return to"),
];

/// The signal of that name, with or without `SIG`, in any case.
pub fn lookup(name: &str) -> Option<&'static Signal> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    SIGNALS.iter().find(|signal| signal.name.strip_prefix("SIG") == Some(bare))
}

/// What a lineage does with a signal that it may decide on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    /// It waits until it is unblocked.
    Block,
    /// It does nothing.
    Ignore,
    /// Its target is told and does what it likes: a native agent reads of it, a client asks with `signal.wait`.
    Handle,
}

/// What becomes of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// There is nobody to take it.
    Gone,
    /// It means nothing in this state, and the sender should know.
    Misplaced,
    /// It waits.
    Queued,
    /// It changes nothing.
    Ignored,
    /// The target is told of it.
    Told,
    /// It does what it does.
    Done,
}

/// What becomes of a signal to a lineage in this state that disposes of it in this way.
pub fn consequence(signal: &Signal, state: LineageState, disposition: Option<Disposition>) -> Consequence {
    use Consequence::{Done, Gone, Ignored, Misplaced, Queued, Told};
    use LineageState::{Exited, Exiting, Frozen, Orphaned, Running, Stopped};
    let disposition = disposition.filter(|_| signal.maskable);
    match (state, signal.effect, disposition) {
        (Exited, ..) => Gone,
        (_, Kill, None) => Done,
        (Exiting, ..) => Gone,
        (Frozen, Resume, _) | (Stopped | Frozen, Continue, _) => Done,
        (_, Resume, _) => Misplaced,
        (Orphaned, Continue, _) | (_, _, Some(Disposition::Block)) => Queued,
        (_, Continue, _) | (_, _, Some(Disposition::Ignore)) => Ignored,
        (Stopped, Stop, None) => Ignored,
        (Frozen, Stop, None) | (Orphaned, Exit, None) => Done,
        (Stopped | Frozen | Orphaned, ..) => Queued,
        (Running, _, Some(Disposition::Handle)) => Told,
        (Running, _, None) => Done,
    }
}

/// The signals of a lineage: how it disposes of them and what waits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signals {
    /// By name; every other signal does what it does.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dispositions: BTreeMap<String, Disposition>,
    /// Waiting to be delivered, oldest first.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub queued: VecDeque<Waiting>,
    /// Delivered to a client that handles them, until it asks.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub told: VecDeque<Waiting>,
    /// When it was asked to end, and by which signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exiting: Option<(Timestamp, String)>,
}

/// A signal that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Its record.
    pub seq: u64,
    /// Its name.
    pub signal: String,
    /// Who sent it.
    pub from: String,
    /// The sender's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_blob: Option<Hash>,
}

impl Signals {
    /// Nothing out of the ordinary, so that nothing need be written down.
    pub(crate) fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// How this signal is disposed of.
    pub(crate) fn disposition(&self, signal: &Signal) -> Option<Disposition> {
        self.dispositions.get(signal.name).copied()
    }
}

/// The table as JSON, for `ostk kill --list`.
pub fn describe() -> Value {
    json!(SIGNALS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_unique_within_a_family_and_the_table_is_sorted() {
        assert!(SIGNALS.windows(2).all(|pair| pair[0].name < pair[1].name));
        for family in [|signal: &Signal| signal.kernel, |signal: &Signal| signal.agent] {
            let mut numbers: Vec<u8> = SIGNALS.iter().filter_map(family).collect();
            let count = numbers.len();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), count);
        }
    }

    #[test]
    fn a_signal_is_found_by_name_in_any_form() {
        for name in ["SIGSTOP", "stop", "Stop", "sigstop"] {
            assert_eq!(lookup(name).map(|signal| signal.name), Some("SIGSTOP"));
        }
        assert_eq!(lookup("9"), None, "the families number differently, and so do operating systems");
        assert_eq!(lookup(""), None);
    }

    /// The table of the documents, written out by hand: a row per signal, a column per state. `.` is done, `q` queued,
    /// `i` ignored, `x` gone, `!` out of place.
    const MATRIX: &str = "
        signal       running stopped frozen orphaned exiting exited
        SIGBAIL      .       q       q      .        x       x
        SIGBUDGET    .       i       .      q        x       x
        SIGCANCEL    .       q       q      .        x       x
        SIGCONT      i       .       .      q        x       x
        SIGDRIFT     .       q       q      q        x       x
        SIGFREEZE    .       q       q      q        x       x
        SIGHUP       .       q       q      q        x       x
        SIGINT       .       q       q      q        x       x
        SIGKILL      .       .       .      .        .       x
        SIGLOOP      .       q       q      q        x       x
        SIGPOLICY    .       .       .      .        .       x
        SIGQUOTA     .       q       q      q        x       x
        SIGREDIRECT  .       q       q      q        x       x
        SIGRELOAD    .       q       q      q        x       x
        SIGRESUME    !       !       .      !        x       x
        SIGSTOP      .       i       .      q        x       x
        SIGTERM      .       q       q      .        x       x
        SIGTRUST     .       .       .      .        .       x
        SIGUSR1      .       q       q      q        x       x
        SIGUSR2      .       q       q      q        x       x";

    const STATES: [LineageState; 6] = [
        LineageState::Running,
        LineageState::Stopped,
        LineageState::Frozen,
        LineageState::Orphaned,
        LineageState::Exiting,
        LineageState::Exited,
    ];

    fn read(mark: &str) -> Consequence {
        match mark {
            "." => Consequence::Done,
            "q" => Consequence::Queued,
            "i" => Consequence::Ignored,
            "x" => Consequence::Gone,
            "!" => Consequence::Misplaced,
            other => panic!("no mark {other:?}"),
        }
    }

    #[test]
    fn every_signal_in_every_state_does_what_the_documents_say() {
        let rows: Vec<Vec<&str>> = MATRIX
            .lines()
            .filter(|line| line.contains("SIG"))
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(rows.len(), SIGNALS.len());
        for (row, signal) in rows.iter().zip(SIGNALS) {
            assert_eq!(row[0], signal.name);
            for (state, mark) in STATES.into_iter().zip(&row[1..]) {
                assert_eq!(consequence(signal, state, None), read(mark), "{} {state:?}", signal.name);
            }
        }
    }

    #[test]
    fn a_disposition_moves_only_what_is_maskable_and_never_revives_the_dead() {
        for (signal, state) in SIGNALS.iter().flat_map(|signal| STATES.map(|state| (signal, state))) {
            let plain = consequence(signal, state, None);
            for disposition in [Disposition::Block, Disposition::Ignore, Disposition::Handle] {
                let masked = consequence(signal, state, Some(disposition));
                let expected = match (signal.maskable, state, disposition) {
                    (false, ..) => plain,
                    (true, LineageState::Exited | LineageState::Exiting, _) => Consequence::Gone,
                    (true, _, Disposition::Block) => Consequence::Queued,
                    (true, _, Disposition::Ignore) => Consequence::Ignored,
                    (true, LineageState::Running, Disposition::Handle) => Consequence::Told,
                    (true, _, Disposition::Handle) => Consequence::Queued,
                };
                assert_eq!(masked, expected, "{} {state:?} {disposition:?}", signal.name);
            }
        }
    }
}
