//! The demo's judge: reads the log and the files, asks no daemon, shares no code with the kernel's fold.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use ostk_blobs::BlobStore;
use ostk_journal::Reader;
use ostk_log::Hash;
use serde_json::Value;

use super::fleet::{Authored, Blame};
use crate::failure::Failure;

/// `worker-1` of `agent:worker-1`; a word without a kind is itself.
pub(super) fn name_of(actor: &str) -> &str {
    actor.split_once(':').map_or(actor, |(_, name)| name)
}

/// What the log says happened.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) records: u64,
    pub(super) acknowledged: u64,
    pub(super) merged: u64,
    pub(super) assisted: u64,
    pub(super) refusals: Vec<String>,
    pub(super) lost: Vec<String>,
    pub(super) problems: Vec<String>,
    pub(super) by_lineage: BTreeMap<String, (u64, u64)>,
}

/// Checks every acknowledged write against the files, and what the kernel says of their authors against the log.
pub(super) fn check(root: &Path, blame: &Blame) -> Result<Verdict, Failure> {
    let state_dir = root.join(".ostk");
    let report = ostk_journal::verify(&state_dir, true).map_err(Failure::check)?;
    let mut verdict = Verdict::default();
    if !report.ok {
        verdict.problems.extend(report.problems.iter().map(|problem| format!("the log: {}", problem.what)));
    }
    let blobs = BlobStore::open_read_only(&state_dir.join("packs")).map_err(Failure::check)?;
    let mut walk = Walk { blobs, open: BTreeMap::new(), last: BTreeMap::new(), added: Vec::new(), verdict };
    for entry in Reader::open(&state_dir).map_err(Failure::check)? {
        let record = entry.map_err(Failure::check)?.record().map_err(Failure::check)?;
        walk.verdict.records += 1;
        walk.record(record.seq, &record.actor, &record.event, &Value::Object(record.body));
    }
    walk.files_equal_the_log(root);
    walk.nothing_is_lost(root);
    walk.authors_are_named(blame);
    Ok(walk.verdict)
}

struct Walk {
    blobs: BlobStore,
    /// Intents without a receipt: actor and changes.
    open: BTreeMap<u64, (String, Value)>,
    /// The last digest of each path that the log knows.
    last: BTreeMap<String, Option<String>>,
    /// Lines that acknowledged writes and changes from outside added.
    added: Vec<Added>,
    verdict: Verdict,
}

struct Added {
    seq: u64,
    lineage: String,
    path: String,
    line: String,
}

impl Walk {
    fn record(&mut self, seq: u64, actor: &str, event: &str, body: &Value) {
        let lineage = name_of(actor).to_owned();
        match event {
            "file.write.intent" => {
                self.open.insert(seq, (lineage, body["changes"].clone()));
            }
            "file.write.receipt" => {
                let settled =
                    body["intent"].as_u64().and_then(|intent| Some((intent, self.open.remove(&intent)?)));
                if let (Some((intent, (lineage, changes))), Some(true)) = (settled, body["done"].as_bool()) {
                    self.done(intent, &lineage, &changes);
                }
            }
            "file.foreign" => {
                self.take(seq, &lineage, &body["change"]);
            }
            "file.conflict" if body["token"].is_string() => self.verdict.assisted += 1,
            "gate.denied" => {
                self.verdict.refusals.push(body["reason"].as_str().unwrap_or("").to_owned());
                self.verdict.by_lineage.entry(lineage).or_default().1 += 1;
            }
            _ => {}
        }
    }

    fn done(&mut self, intent: u64, lineage: &str, changes: &Value) {
        self.verdict.acknowledged += 1;
        self.verdict.by_lineage.entry(lineage.to_owned()).or_default().0 += 1;
        for change in changes.as_array().map(Vec::as_slice).unwrap_or_default() {
            self.verdict.merged += u64::from(change["merged"].as_bool().unwrap_or(false));
            self.take(intent, lineage, change);
        }
    }

    /// A file changed: its digest, and the lines that are new in it.
    fn take(&mut self, seq: u64, lineage: &str, change: &Value) {
        let (before, after) = (self.text(&change["before"]), self.text(&change["after"]));
        let before: BTreeSet<&str> = before.lines().collect();
        let path = change["path"].as_str().unwrap_or("").to_owned();
        let new = after.lines().filter(|line| !before.contains(line));
        self.added.extend(new.map(|line| Added {
            seq,
            lineage: lineage.to_owned(),
            path: path.clone(),
            line: line.to_owned(),
        }));
        self.last.insert(path, change["after"]["blob"].as_str().map(str::to_owned));
    }

    fn text(&self, image: &Value) -> String {
        let hash: Option<Hash> = image["blob"].as_str().and_then(|text| text.parse().ok());
        let bytes = hash.and_then(|hash| self.blobs.get(&hash).ok().flatten()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn files_equal_the_log(&mut self, root: &Path) {
        for (path, blob) in &self.last {
            let found = std::fs::read(root.join(path)).ok().map(|bytes| Hash::of(&bytes).to_string());
            if found != *blob {
                self.verdict.problems.push(format!("{path} is not what the log says"));
            }
        }
    }

    /// Every line that an acknowledged write or a change from outside added is still there.
    fn nothing_is_lost(&mut self, root: &Path) {
        for Added { seq, path, line, .. } in &self.added {
            let text = std::fs::read_to_string(root.join(path)).unwrap_or_default();
            if !text.lines().any(|there| there == line) {
                self.verdict.lost.push(format!("record {seq}: {path}: {line}"));
            }
        }
    }

    /// Every line that one agent alone added is blamed on it.
    fn authors_are_named(&mut self, blame: &Blame) {
        let mut authors: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
        for Added { lineage, path, line, .. } in &self.added {
            authors.entry((path, line)).or_default().insert(lineage);
        }
        for (path, lines) in blame {
            for Authored { writer, text } in lines {
                let expected = authors.get(&(path.as_str(), text.as_str()));
                if expected.is_some_and(|authors| !authors.contains(name_of(writer))) {
                    self.verdict.problems.push(format!("{path}: {text:?} is blamed on {writer}"));
                }
            }
        }
    }
}
