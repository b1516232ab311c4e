//! The demo's judge: reads the log and the files, asks no daemon, shares no code with the kernel's fold.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use ostk_blobs::BlobStore;
use ostk_journal::Reader;
use ostk_log::Hash;
use serde_json::Value;

use crate::failure::Failure;

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

/// Checks every acknowledged write against the files.
pub(super) fn check(root: &Path) -> Result<Verdict, Failure> {
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
    walk.finish(root);
    Ok(walk.verdict)
}

struct Walk {
    blobs: BlobStore,
    /// Intents without a receipt: actor and changes.
    open: BTreeMap<u64, (String, Value)>,
    /// The last digest of each path that the log knows.
    last: BTreeMap<String, Option<String>>,
    /// Lines that an acknowledged write added: record, path, line.
    added: Vec<(u64, String, String)>,
    verdict: Verdict,
}

impl Walk {
    fn record(&mut self, seq: u64, actor: &str, event: &str, body: &Value) {
        let lineage = actor.split_once(':').map_or(actor, |(_, name)| name).to_owned();
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
                let change = body["change"].clone();
                self.take(&change);
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
            let (before, after) = (self.text(&change["before"]), self.text(&change["after"]));
            let before: BTreeSet<&str> = before.lines().collect();
            let path = change["path"].as_str().unwrap_or("").to_owned();
            let new = after.lines().filter(|line| !before.contains(line));
            self.added.extend(new.map(|line| (intent, path.clone(), line.to_owned())));
            self.take(change);
        }
    }

    fn take(&mut self, change: &Value) {
        let path = change["path"].as_str().unwrap_or("").to_owned();
        self.last.insert(path, change["after"]["blob"].as_str().map(str::to_owned));
    }

    fn text(&self, image: &Value) -> String {
        let hash: Option<Hash> = image["blob"].as_str().and_then(|text| text.parse().ok());
        let bytes = hash.and_then(|hash| self.blobs.get(&hash).ok().flatten()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Files equal the log, and every line that an acknowledged write added is still there.
    fn finish(&mut self, root: &Path) {
        for (path, blob) in &self.last {
            let found = std::fs::read(root.join(path)).ok().map(|bytes| Hash::of(&bytes).to_string());
            if found != *blob {
                self.verdict.problems.push(format!("{path} is not what the log says"));
            }
        }
        for (intent, path, line) in &self.added {
            let text = std::fs::read_to_string(root.join(path)).unwrap_or_default();
            if !text.lines().any(|there| there == line) {
                self.verdict.lost.push(format!("record {intent}: {path}: {line}"));
            }
        }
    }
}
