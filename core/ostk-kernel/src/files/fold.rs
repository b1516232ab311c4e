//! The fold of files: what is known of each, who believes what of it, and which writes are under way.
//!
//! An intent is kept until its receipt; only then the file has another version and its writer another belief. `apply` in the
//! crate's root comes here with every event of files.

use std::collections::BTreeSet;

use ostk_log::Hash;
use serde_json::{Value, json};

use crate::{
    apply::{At, forget_oldest},
    event::{Change, Event, FileImage},
    labels::MAX_LABELS,
    state::{Conflict, FileEntry, OpenWrite, Read, State, Version, name_of},
};

/// Versions kept for one file; older lines are blamed on the oldest version kept.
const MAX_VERSIONS: usize = 4_096;
/// Files that one lineage is remembered to have read; those read longest ago are forgotten first.
const MAX_READS: usize = 10_000;
/// Open conflicts kept; the oldest are forgotten first and their tokens stop working.
const MAX_CONFLICTS: usize = 1_024;
impl State {
    /// Events of files.
    pub(crate) fn apply_file(&mut self, at: At<'_>, event: Event) -> Result<(), String> {
        match event {
            Event::FileRead { path, image, elided, partial, key, request } => {
                self.know(at, &path, Some(image));
                self.label(name_of(at.actor), request.labels);
                self.read(at, &path, image.blob, elided, partial, key);
            }
            Event::FileMissing { path, .. } => self.disbelieve(name_of(at.actor), &path),
            Event::WriteIntent { changes, verb, bytes, key, token, .. } => {
                let (actor, lineage) = (at.actor.to_owned(), name_of(at.actor).to_owned());
                let whole = verb == "file.write";
                if let Some(agent) = self.agents.get_mut(&lineage) {
                    agent.charge_bytes(bytes);
                }
                let knows_since = self.knows_since(&lineage);
                let ts = at.ts;
                let write = OpenWrite { actor, lineage, knows_since, changes, bytes, whole, ts, key, token };
                self.open_writes.insert(at.seq, write);
            }
            Event::WriteReceipt { intent, done, problem } => self.settle(at.seq, intent, done, problem)?,
            Event::FileConflict {
                token,
                path,
                base_blob,
                current_blob,
                proposed_blob,
                candidate_blob,
                key,
            } => {
                self.counts.conflicts += 1;
                let facts = || {
                    json!({ "path": path, "token": token, "base_blob": base_blob,
                    "current_blob": current_blob, "proposed_blob": proposed_blob })
                };
                self.remember(key, at.seq, "conflict", false, facts);
                if let (Some(token), Some(candidate)) = (token, candidate_blob) {
                    let (lineage, current) = (name_of(at.actor).to_owned(), current_blob);
                    let conflict =
                        Conflict { seq: at.seq, lineage, path, current, candidate, proposed: proposed_blob };
                    self.conflicts.insert(token, conflict);
                    forget_oldest(&mut self.conflicts, MAX_CONFLICTS, |conflict| conflict.seq);
                }
            }
            Event::FileForeign { change, .. } => {
                self.counts.foreign += 1;
                self.know(at, &change.path, change.before);
                self.advance(at, &change, true);
                self.label_file(name_of(at.actor), &change.path);
                if change.after.is_none() {
                    self.disbelieve(name_of(at.actor), &change.path);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The first sight of a file makes generation 1.
    fn know(&mut self, at: At<'_>, path: &str, image: Option<FileImage>) {
        if image.is_none() || self.files.contains_key(path) {
            return;
        }
        let writer = "initial".to_owned();
        let version = Version { generation: 1, seq: at.seq, ts: at.ts, writer, image, foreign: false };
        let entry = FileEntry { generation: 1, image, history: vec![version], labels: BTreeSet::new() };
        self.files.insert(path.to_owned(), entry);
    }

    fn read(&mut self, at: At<'_>, path: &str, blob: Hash, elided: bool, partial: bool, key: Option<String>) {
        let generation = self.generation(path);
        let Some(lineage) = self.lineages.get_mut(name_of(at.actor)) else { return };
        let session = lineage.generation;
        let known = lineage.reads.get(path);
        // Some lines of a newer version are not that version: a whole file is still written from what was seen whole.
        if partial && known.is_some_and(|read| read.whole) {
            return;
        }
        let call = match known.filter(|read| read.blob == blob && read.session == session) {
            Some(read) if elided => read.call,
            _ => key.map(|key| Hash::of(key.as_bytes())),
        };
        let read = Read { blob, generation, seq: at.seq, session, whole: !partial, call };
        self.believe(name_of(at.actor), path, read);
    }

    /// A writer knows what it has written, and of the rest as much as before and since when; `all` of the file is its own.
    fn wrote(&mut self, seq: u64, lineage: &str, path: &str, blob: Hash, all: bool) {
        let generation = self.generation(path);
        let Some(known) = self.lineages.get(lineage) else { return };
        let (whole, session) = match known.reads.get(path) {
            Some(read) if !all => (read.whole, read.session),
            // It named the version that it edited, and all of that it knows.
            _ => (true, known.generation),
        };
        self.believe(lineage, path, Read { blob, generation, seq, session, whole, call: None });
    }

    fn believe(&mut self, lineage: &str, path: &str, read: Read) {
        if let Some(lineage) = self.lineages.get_mut(lineage) {
            lineage.reads.insert(path.to_owned(), read);
            forget_oldest(&mut lineage.reads, MAX_READS, |read| read.seq);
        }
    }

    fn disbelieve(&mut self, lineage: &str, path: &str) {
        if let Some(lineage) = self.lineages.get_mut(lineage) {
            lineage.reads.remove(path);
        }
    }

    fn advance(&mut self, at: At<'_>, change: &Change, foreign: bool) {
        let entry = self.files.entry(change.path.clone()).or_insert_with(|| FileEntry {
            generation: 0,
            image: None,
            history: Vec::new(),
            labels: BTreeSet::new(),
        });
        entry.generation += 1;
        entry.image = change.after;
        let (generation, writer) = (entry.generation, at.actor.to_owned());
        entry.history.push(Version {
            generation,
            seq: at.seq,
            ts: at.ts,
            writer,
            image: change.after,
            foreign,
        });
        // A quarter at a time, so that a long history costs nothing per version.
        if entry.history.len() > MAX_VERSIONS + MAX_VERSIONS / 4 {
            entry.history.drain(..entry.history.len() - MAX_VERSIONS);
        }
    }

    fn settle(&mut self, seq: u64, intent: u64, done: bool, problem: Option<String>) -> Result<(), String> {
        let write = self.open_writes.remove(&intent).ok_or("a write's receipt without its intent")?;
        let at = At { seq: intent, ts: write.ts, actor: &write.actor };
        for change in &write.changes {
            self.know(at, &change.path, change.before);
            if done {
                self.changed(at, &write, change);
            }
        }
        if done {
            if let Some(token) = &write.token {
                self.conflicts.remove(token);
            }
            self.counts.writes += 1;
            self.counts.merged += u64::from(write.changes.iter().any(|change| change.merged));
            if let Some(lineage) = self.lineages.get_mut(&write.lineage) {
                lineage.writes += 1;
            }
        }
        if let Some(agent) = self.agents.get_mut(&write.lineage).filter(|_| !done) {
            agent.refund_bytes(write.bytes);
        }
        let written = if done && write.key.is_some() { write.changes.as_slice() } else { &[] };
        let files: Vec<Value> = written.iter().map(|change| self.file_row(change)).collect();
        let facts = || json!({ "intent": intent, "files": files, "problem": problem });
        self.remember(write.key, seq, "write", done, facts);
        Ok(())
    }

    fn file_row(&self, change: &Change) -> Value {
        json!({ "path": change.path, "generation": self.generation(&change.path),
            "merged": change.merged, "blob": change.after.map(|image| image.blob) })
    }

    /// One file of a write is in place: its history grows, and its writer's belief follows unless the writer has forgotten.
    fn changed(&mut self, at: At<'_>, write: &OpenWrite, change: &Change) {
        let lineage = write.lineage.as_str();
        self.advance(at, change, false);
        self.label_file(lineage, &change.path);
        if self.lineages.get(lineage).is_none_or(|known| known.knows_since != write.knows_since) {
            return;
        }
        let all = write.whole || change.before.is_none();
        match change.belief_blob.or(change.after.map(|image| image.blob)) {
            None => self.disbelieve(lineage, &change.path),
            Some(_) if change.blind => {}
            Some(blob) => self.wrote(at.seq, lineage, &change.path, blob, all),
        }
    }

    /// What a lineage writes carries its labels.
    fn label_file(&mut self, lineage: &str, path: &str) {
        if let (Some(known), Some(entry)) = (self.lineages.get(lineage), self.files.get_mut(path))
            && entry.labels.len() < MAX_LABELS
        {
            entry.labels.extend(known.labels.iter().cloned());
        }
    }
}
