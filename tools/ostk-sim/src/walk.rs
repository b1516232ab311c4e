//! The judge of the log: reads its records as JSON, in order, and shares no code with the kernel.
//!
//! Each change starts from what the log had last, removes and adds what its caller asked for and knew; no key, model call
//! or tool call takes effect twice; a lock has one holder. Who may be in which state is in `lives`, who may
//! work on what in `needles`.

use std::collections::{BTreeMap, BTreeSet};

use ostk_blobs::BlobStore;
use ostk_log::Draft;
use serde_json::Value;

use crate::{
    ledger::Ledger,
    lives::Lives,
    needles::Needles,
    places::Places,
    standins::Standins,
    supervision::Supervision,
    timers::Timers,
    undoing::{Undoing, undoes},
    workers::Filter,
};

/// Walks over the records of one log.
pub(crate) struct Walk<'a> {
    blobs: &'a BlobStore,
    ledger: &'a Ledger,
    shared: &'a [String],
    wrong: &'a mut Vec<String>,
    images: BTreeMap<String, Option<String>>,
    open: BTreeMap<u64, Intent>,
    once: BTreeSet<String>,
    locks: BTreeMap<String, (String, String)>,
    lives: Lives,
    needles: Needles,
    supervision: Supervision,
    /// How often each agent was spawned.
    spawned: BTreeMap<String, u64>,
    undoing: Undoing,
    timers: Timers,
    places: Places,
    standins: Standins,
    /// Who added each line of a file that is not shared: the actor and the record.
    origins: BTreeMap<(String, String), (String, u64)>,
}

struct Intent {
    key: Option<String>,
    changes: Vec<Change>,
}

struct Change {
    path: String,
    before: Option<String>,
    after: Option<String>,
}

/// Records of effects, of which each key has one.
const EFFECTS: &[&str] = &[
    "note.added",
    "nudge.sent",
    "shell.intent",
    "process.intent",
    "lock.changed",
    "needle.added",
    "needle.claimed",
    "needle.released",
    "needle.closed",
    "pipe.made",
    "pipe.written",
    "pipe.delivered",
    "pipe.closed",
    "saga.began",
    "saga.turned",
];

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

impl Change {
    fn of(value: &Value) -> Self {
        let blob = |name: &str| value.get(name)?.get("blob")?.as_str().map(str::to_owned);
        Self { path: text(value, "path").to_owned(), before: blob("before"), after: blob("after") }
    }
}

impl<'a> Walk<'a> {
    pub(crate) fn new(
        blobs: &'a BlobStore,
        ledger: &'a Ledger,
        shared: &'a [String],
        wrong: &'a mut Vec<String>,
    ) -> Self {
        Self {
            blobs,
            ledger,
            shared,
            wrong,
            images: BTreeMap::new(),
            open: BTreeMap::new(),
            once: BTreeSet::new(),
            locks: BTreeMap::new(),
            lives: Lives::default(),
            needles: Needles::default(),
            supervision: Supervision::default(),
            spawned: BTreeMap::new(),
            undoing: Undoing::default(),
            timers: Timers::default(),
            places: Places::new(None),
            standins: Standins::default(),
            origins: BTreeMap::new(),
        }
    }

    /// So many agents may run at once.
    pub(crate) fn places(&mut self, most: Option<usize>) {
        self.places = Places::new(most);
    }

    /// Agents that are given needles, and which.
    pub(crate) fn workers_take(&mut self, filters: BTreeMap<String, Filter>) {
        self.needles.workers = filters;
    }

    /// Everything has come to rest here.
    pub(crate) fn rest(&mut self) {
        let lives = &self.lives;
        self.wrong.extend(self.needles.rest(|name| lives.runs(name)));
    }

    pub(crate) fn record(&mut self, draft: &Draft) {
        let body = Value::Object(draft.body.clone());
        let (seq, body) = (draft.seq, &body);
        match draft.event.as_str() {
            "file.write.intent" => self.intent(seq, &draft.actor, body),
            "file.write.receipt" => self.receipt(seq, body),
            "file.foreign" => self.foreign(seq, body),
            "file.read" => self.read(seq, body),
            "lock.changed" => self.lock(seq, &draft.ts.to_string(), body),
            "agent.step" => self.step(seq, body),
            _ => {}
        }
        let (least, most) = self.supervision.places();
        let agents = self.lives.agents();
        let before = [self.places.record(draft, agents + least, agents + most), self.timers.record(draft)];
        self.judged(seq, before);
        self.life(seq, draft, body);
        let blobs = self.blobs;
        let model_of = |blob: &str| {
            let reply: Value = serde_json::from_slice(&blobs.get(&blob.parse().ok()?).ok()??).ok()?;
            Some(text(&reply, "model").to_owned())
        };
        let after = [
            self.needles.record(&draft.event, &draft.actor, body),
            self.supervision.record(seq, &draft.actor, &draft.event, draft.ts, body),
            self.undoing.record(draft, body),
            self.standins.record(&draft.event, draft.ts, body, model_of),
        ];
        self.judged(seq, after);
        if EFFECTS.contains(&draft.event.as_str()) {
            self.only_once(seq, draft, body);
        }
    }

    /// What judges say of a record.
    fn judged<const N: usize>(&mut self, seq: u64, judged: [Result<(), String>; N]) {
        let wrong = judged.into_iter().filter_map(Result::err);
        self.wrong.extend(wrong.map(|what| format!("record {seq}: {what}")));
    }

    /// What is left open at the end. `ran` says how often each command ran, `exists` whether there is a file.
    pub(crate) fn finish(self, ran: &BTreeMap<String, u64>, exists: impl Fn(&str) -> bool) {
        for seq in self.open.keys() {
            self.wrong.push(format!("record {seq}: a write without a receipt"));
        }
        self.wrong.extend(self.needles.left());
        self.wrong.extend(self.supervision.left());
        self.wrong.extend(self.undoing.left(ran, exists));
        self.wrong.extend(self.timers.left());
        self.wrong.extend(self.places.left());
    }

    fn only_once(&mut self, seq: u64, draft: &Draft, body: &Value) {
        let key = text(body, "key");
        if !key.is_empty() && !self.once.insert(format!("{} {key}", draft.event)) {
            self.wrong.push(format!("record {seq}: {} took effect twice for the key {key}", draft.event));
        }
    }

    /// Nothing begins under the name of somebody who has ended, and nobody who has ended keeps a lock.
    fn life(&mut self, seq: u64, draft: &Draft, body: &Value) {
        let begins = ["file.write.intent", "shell.intent", "process.intent"].contains(&draft.event.as_str());
        if let Some(name) = draft.actor.strip_prefix("agent:")
            && begins
            && !undoes(body)
            && self.lives.has_ended(name)
        {
            self.wrong.push(format!("record {seq}: {} of {name}, which has ended", draft.event));
        }
        if let Err(what) = self.lives.record(seq, &draft.event, body) {
            self.wrong.push(format!("record {seq}: {what}"));
        }
        if matches!(draft.event.as_str(), "session.ended" | "agent.step") {
            let ended = self.lives.ended();
            self.locks.retain(|_, (holder, _)| !ended.contains(holder.as_str()));
        }
    }

    fn step(&mut self, seq: u64, body: &Value) {
        let (lineage, step) = (text(body, "lineage"), body.get("step").unwrap_or(&Value::Null));
        let call_no = step.get("call_no").and_then(Value::as_u64).unwrap_or_default();
        // The calls of a fresh context are counted anew.
        let spawned = self.spawned.entry(lineage.to_owned()).or_default();
        *spawned += u64::from(text(step, "step") == "spawned");
        let run = format!("{spawned} {}", self.supervision.restarts(lineage));
        let receipt = match text(step, "step") {
            "model_receipt" => format!("{lineage} {run}: model call {call_no}"),
            "tool_receipt" => format!("{lineage} {run}: tool call {call_no} {}", text(step, "id")),
            _ => return,
        };
        if !self.once.insert(receipt.clone()) {
            self.wrong.push(format!("record {seq}: a second receipt of {receipt}"));
        }
    }

    fn lock(&mut self, seq: u64, now: &str, body: &Value) {
        let (name, holder) = (text(body, "name").to_owned(), text(body, "holder"));
        if holder.is_empty() {
            self.locks.remove(&name);
            return;
        }
        if let Some((other, until)) = self.locks.get(&name)
            && other != holder
            && until.as_str() > now
        {
            self.wrong.push(format!("record {seq}: {holder} takes the lock {name}, which {other} holds"));
        }
        self.locks.insert(name, (holder.to_owned(), text(body, "until").to_owned()));
    }

    fn intent(&mut self, seq: u64, actor: &str, body: &Value) {
        let changes = body.get("changes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let changes: Vec<Change> = changes.iter().map(Change::of).collect();
        for change in &changes {
            let rival =
                self.open.iter().find(|(_, intent)| intent.changes.iter().any(|c| c.path == change.path));
            if let Some((rival, _)) = rival {
                self.wrong.push(format!("record {seq}: {} is still being written by {rival}", change.path));
            }
            self.continues(seq, change);
            self.is_asked_for(seq, actor, body, change);
        }
        let key = body.get("key").and_then(Value::as_str).map(str::to_owned);
        self.open.insert(seq, Intent { key, changes });
    }

    /// What is replaced is what the log had last.
    fn continues(&mut self, seq: u64, change: &Change) {
        let known = self.images.entry(change.path.clone()).or_insert_with(|| change.before.clone());
        if *known != change.before {
            let what = format!("{} is changed from {:?}, the log had {known:?}", change.path, change.before);
            self.wrong.push(format!("record {seq}: {what}"));
        }
    }

    fn is_asked_for(&mut self, seq: u64, actor: &str, body: &Value, change: &Change) {
        let (Some(before), Some(after)) = (self.lines(&change.before), self.lines(&change.after)) else {
            self.wrong.push(format!("record {seq}: a version of {} is not in the packs", change.path));
            return;
        };
        let removed: Vec<&String> = before.iter().filter(|line| !after.contains(line)).collect();
        let added: Vec<&String> = after.iter().filter(|line| !before.contains(line)).collect();
        if self.shared.contains(&change.path) {
            let accepts = text(body, "verb") == "file.accept";
            let shown = actor.strip_prefix("agent:").filter(|_| accepts);
            return self.is_a_deed(seq, &change.path, &removed, &added, shown);
        }
        let verb = text(body, "verb");
        for line in &removed {
            if !self.may_remove(actor, verb, body, &change.path, line) {
                self.wrong
                    .push(format!("record {seq}: {verb} of {actor} removes what it had not seen: {line}"));
            }
        }
        for line in added {
            let origin = self.origins.entry((change.path.clone(), line.clone()));
            // What is brought back is whose it was.
            if verb == "file.undo" {
                origin.or_insert((actor.to_owned(), seq));
            } else {
                origin.insert_entry((actor.to_owned(), seq));
            }
        }
    }

    /// A change of a shared file adds lines that somebody was to add, and removes what was to go with them; who accepts a
    /// merge also replaces a line of its own that it was shown.
    fn is_a_deed(
        &mut self,
        seq: u64,
        path: &str,
        removed: &[&String],
        added: &[&String],
        accepts: Option<&str>,
    ) {
        let is_own = |line: &str| {
            accepts.is_some_and(|name| {
                line.starts_with(&format!("{name} in ")) && self.ledger.has_seen(name, path, line)
            })
        };
        let at = |line: &&String| (path.to_owned(), (*line).clone());
        let mut may_go = BTreeSet::new();
        for line in added {
            match self.ledger.removals(&at(line)) {
                Some(removals) => may_go.extend(removals.iter().cloned()),
                None => self.wrong.push(format!("record {seq}: nobody was asked to add to {path}: {line}")),
            }
        }
        for line in removed.iter().filter(|line| !may_go.contains(&at(line)) && !is_own(line)) {
            self.wrong.push(format!("record {seq}: overwritten unseen in {path}: {line}"));
        }
    }

    fn may_remove(&self, actor: &str, verb: &str, body: &Value, path: &str, line: &str) -> bool {
        let name = actor.split_once(':').map_or(actor, |(_, name)| name);
        match verb {
            "file.undo" => {
                let reason = text(body, "reason");
                let origin = self.origins.get(&(path.to_owned(), line.to_owned()));
                match (reason.split_once('='), origin) {
                    (Some(("lineage", undone)), Some((by, _))) => by.ends_with(&format!(":{undone}")),
                    (Some(("seq", undone)), Some((_, seq))) => undone == seq.to_string(),
                    _ => false,
                }
            }
            // Whoever deletes or renames a file that it has not looked at says so by doing it.
            "file.rename" | "file.delete" => true,
            _ => self.ledger.has_seen(name, path, line),
        }
    }

    fn lines(&self, blob: &Option<String>) -> Option<Vec<String>> {
        let Some(blob) = blob else { return Some(Vec::new()) };
        let bytes = self.blobs.get(&blob.parse().ok()?).ok()??;
        Some(String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect())
    }

    fn receipt(&mut self, seq: u64, body: &Value) {
        let number = body.get("intent").and_then(Value::as_u64).unwrap_or(u64::MAX);
        let Some(intent) = self.open.remove(&number) else {
            self.wrong.push(format!("record {seq}: a receipt for {number}, which is not open"));
            return;
        };
        if body.get("done").and_then(Value::as_bool) != Some(true) {
            // Of a file that was to be made, nothing is known: if it could not be taken away again, it is seen for the first time.
            for change in intent.changes {
                if self.images.get(&change.path) == Some(&None) {
                    self.images.remove(&change.path);
                }
            }
            return;
        }
        if let Some(key) = intent.key
            && !self.once.insert(format!("write {key}"))
        {
            self.wrong.push(format!("record {seq}: a second write for the key {key}"));
        }
        for change in intent.changes {
            self.images.insert(change.path, change.after);
        }
    }

    fn foreign(&mut self, seq: u64, body: &Value) {
        let change = Change::of(body.get("change").unwrap_or(&Value::Null));
        self.continues(seq, &change);
        self.images.insert(change.path, change.after);
    }

    fn read(&mut self, seq: u64, body: &Value) {
        let (path, image) = (text(body, "path").to_owned(), body.get("image").unwrap_or(&Value::Null));
        let seen = Some(text(image, "blob").to_owned());
        let known = self.images.entry(path.clone()).or_insert_with(|| seen.clone());
        if *known != seen {
            self.wrong.push(format!("record {seq}: {path} was read as {seen:?}, the log had {known:?}"));
        }
    }
}
