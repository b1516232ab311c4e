//! The log, record by record: each change starts from what the log had last, and removes and adds only what its caller
//! asked for.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::packs::Packs;
use crate::{ledger::Deed, report::Report};

/// The last image of each path that the log knows: a digest, or absent.
pub(super) type Images = BTreeMap<String, Option<String>>;

/// Which writes the log says were done.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) intents: BTreeSet<u64>,
    pub(super) by_key: BTreeMap<String, Vec<u64>>,
}

/// What was read so far.
pub(super) struct Walk<'a> {
    packs: &'a Packs,
    deeds: &'a BTreeMap<&'a str, &'a Deed>,
    report: &'a mut Report,
    images: Images,
    open: BTreeMap<u64, Intent>,
    done: Done,
}

/// A write without a receipt.
struct Intent {
    key: Option<String>,
    changes: Vec<Change>,
}

/// One file before and after.
#[derive(Clone)]
struct Change {
    path: String,
    before: Option<String>,
    after: Option<String>,
    merged: bool,
}

impl Change {
    fn of(value: &Value) -> Self {
        let blob = |name: &str| value.get(name)?.get("blob")?.as_str().map(str::to_owned);
        Self {
            path: text(value, "path"),
            before: blob("before"),
            after: blob("after"),
            merged: value.get("merged").and_then(Value::as_bool).unwrap_or(false),
        }
    }
}

fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        packs: &'a Packs,
        deeds: &'a BTreeMap<&'a str, &'a Deed>,
        report: &'a mut Report,
    ) -> Self {
        Self { packs, deeds, report, images: Images::new(), open: BTreeMap::new(), done: Done::default() }
    }

    pub(super) fn record(&mut self, record: &Value) {
        let seq = record.get("seq").and_then(Value::as_u64).unwrap_or_default();
        let body = record.get("body").unwrap_or(&Value::Null);
        match record.get("event").and_then(Value::as_str).unwrap_or_default() {
            "file.write.intent" => self.intent(seq, body),
            "file.write.receipt" => self.receipt(seq, body),
            "file.foreign" => self.foreign(seq, body),
            "file.read" => self.read(seq, body),
            "gate.denied" => self.report.wrong(format!("record {seq}: refused: {}", text(body, "reason"))),
            _ => {}
        }
    }

    pub(super) fn finish(self) -> (Images, Done) {
        for seq in self.open.keys() {
            self.report.wrong(format!("record {seq}: a write without a receipt"));
        }
        (self.images, self.done)
    }

    fn intent(&mut self, seq: u64, body: &Value) {
        let changes = body.get("changes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let changes: Vec<Change> = changes.iter().map(Change::of).collect();
        let key = body.get("key").and_then(Value::as_str).map(str::to_owned);
        let deed = key.as_deref().and_then(|key| self.deeds.get(own(key))).copied();
        if deed.is_none() {
            self.report.wrong(format!("record {seq}: a write that nobody asked for, key {key:?}"));
        }
        for change in &changes {
            let rival =
                self.open.iter().find(|(_, intent)| intent.changes.iter().any(|c| c.path == change.path));
            if let Some((rival, _)) = rival {
                self.report.wrong(format!("record {seq}: {} is still being written by {rival}", change.path));
            }
            self.continues(seq, change);
            if let Some(deed) = deed {
                self.does_what_was_asked(seq, change, deed);
            }
        }
        self.open.insert(seq, Intent { key, changes });
    }

    /// What is replaced is what the log had last.
    fn continues(&mut self, seq: u64, change: &Change) {
        match self.images.get(&change.path) {
            Some(image) if *image != change.before => self.report.wrong(format!(
                "record {seq}: {} is changed from {:?}, the log had {image:?}",
                change.path, change.before
            )),
            Some(_) => {}
            None => {
                self.images.insert(change.path.clone(), change.before.clone());
            }
        }
    }

    fn does_what_was_asked(&mut self, seq: u64, change: &Change, deed: &Deed) {
        let (Some(before), Some(after)) =
            (self.lines(change.before.as_deref()), self.lines(change.after.as_deref()))
        else {
            self.report.wrong(format!("record {seq}: a version of {} is not in the packs", change.path));
            return;
        };
        let asked = |lines: &[crate::ledger::Line], line: &str| {
            lines.iter().any(|asked| asked.path == change.path && asked.text == line)
        };
        for (line, (old, new)) in compare(&before, &after) {
            if new < old && !asked(&deed.removes, &line) {
                self.report.counts.overwritten += 1;
                self.report.wrong(format!(
                    "record {seq}: {} {} removes a line of {} that it was not asked to: {line}",
                    deed.verb, deed.key, change.path
                ));
            }
            if new > old && (!asked(&deed.adds, &line) || new > old + 1) {
                self.report.wrong(format!(
                    "record {seq}: {} {} adds a line to {} that it was not asked to: {line}",
                    deed.verb, deed.key, change.path
                ));
            }
        }
    }

    fn lines(&self, blob: Option<&str>) -> Option<Vec<String>> {
        let Some(blob) = blob else { return Some(Vec::new()) };
        Some(self.packs.text(blob)?.lines().map(str::to_owned).collect())
    }

    fn receipt(&mut self, seq: u64, body: &Value) {
        let number = body.get("intent").and_then(Value::as_u64).unwrap_or(u64::MAX);
        let Some(intent) = self.open.remove(&number) else {
            self.report.wrong(format!("record {seq}: a receipt for {number}, which is not open"));
            return;
        };
        if body.get("done").and_then(Value::as_bool) != Some(true) {
            return;
        }
        self.done.intents.insert(number);
        if let Some(key) = intent.key {
            self.done.by_key.entry(own(&key).to_owned()).or_default().push(number);
        }
        self.report.counts.merged += u64::from(intent.changes.iter().any(|change| change.merged));
        for change in intent.changes {
            self.images.insert(change.path, change.after);
        }
    }

    fn foreign(&mut self, seq: u64, body: &Value) {
        let change = Change::of(body.get("change").unwrap_or(&Value::Null));
        self.report.counts.foreign += 1;
        self.continues(seq, &change);
        self.images.insert(change.path, change.after);
    }

    fn read(&mut self, seq: u64, body: &Value) {
        let (path, image) = (text(body, "path"), body.get("image").unwrap_or(&Value::Null));
        let seen = Some(text(image, "blob"));
        let known = self.images.entry(path.clone()).or_insert_with(|| seen.clone());
        if *known != seen {
            let known = known.clone();
            self.report.wrong(format!("record {seq}: {path} was read as {seen:?}, the log had {known:?}"));
        }
    }
}

/// How often each line is in either text, for lines where that differs.
fn compare(before: &[String], after: &[String]) -> BTreeMap<String, (usize, usize)> {
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for line in before {
        counts.entry(line.clone()).or_default().0 += 1;
    }
    for line in after {
        counts.entry(line.clone()).or_default().1 += 1;
    }
    counts.retain(|_, (old, new)| old != new);
    counts
}

/// A key as its caller chose it: the log puts the caller before it.
fn own(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
}
