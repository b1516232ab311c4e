//! Reads: a file's content, its history, who wrote its lines, and what a directory holds.
//!
//! A read leaves one receipt that nobody waits for. It tells the fold what the caller has seen: the base of its next
//! write, and the reason why the same bytes are not sent twice.

use ostk_log::Hash;
use ostk_policy::Resource;
use serde_json::{Map, Value, json};

use super::{
    Looked,
    decide::{self, Content},
};
use crate::{
    act::{Awaited, BlobBytes, Seen},
    call::{CallError, Code},
    event::Event,
    kernel::{Job, Kernel},
};

impl Kernel {
    pub(super) fn finish_read(&mut self, job: Job, looked: &Looked) {
        let path = job.paths.first().cloned().unwrap_or_default();
        match decide::content_of(&path, looked.files.get(&path).unwrap_or(&Seen::Absent)) {
            Ok(Some(content)) => self.show(job, &path, &content),
            Ok(None) => self.tell_missing(job, path),
            Err(error) => self.finish(job, Err(error), None),
        }
    }

    fn show(&mut self, job: Job, path: &str, content: &Content) {
        let partial = job.number("offset").is_some() || job.number("limit").is_some();
        let elided = !partial && !job.flag("fresh") && self.has_seen(&job, path, content.hash);
        self.note_read(&job, path, content, elided, partial);
        let generation = self.state.generation(path);
        let mut result = Map::new();
        let mut member = |name: &str, value: Value| result.insert(name.to_owned(), value);
        member("path", json!(path));
        member("generation", json!(generation));
        member("blob", json!(content.hash));
        member("size", json!(content.bytes.len()));
        member("executable", json!(content.executable));
        match std::str::from_utf8(&content.bytes) {
            _ if elided => member("elided", json!(true)),
            Ok(text) => member("content", json!(lines_of(text, job.number("offset"), job.number("limit")))),
            Err(_) => member("binary", json!(true)),
        };
        self.finish(job, Ok(Value::Object(result)), None);
    }

    /// Whether the caller has been shown all these bytes, in this session, by another call than this one.
    fn has_seen(&self, job: &Job, path: &str, hash: Hash) -> bool {
        let session = self.state.lineages.get(job.caller.lineage()).map(|lineage| lineage.generation);
        let call = job.key.as_ref().map(|key| Hash::of(key.as_bytes()));
        self.last_read(job, path).is_some_and(|read| {
            read.blob == hash
                && read.whole
                && Some(read.session) == session
                && (call.is_none() || read.call != call)
        })
    }

    /// Records that the caller knows these bytes, with a blob if no record named it before. Whoever goes on under the
    /// name of a caller that is gone does not know them.
    pub(super) fn note_read(
        &mut self,
        job: &Job,
        path: &str,
        content: &Content,
        elided: bool,
        partial: bool,
    ) {
        let Some(request) = job.requests.first().cloned() else { return };
        if self.has_forgotten(job) {
            return self.note_call(job, path);
        }
        let (path, request) = (path.to_owned(), Box::new(request));
        let known = self.current_blob(&path) == Some(content.hash);
        let blobs = if known { Vec::new() } else { vec![(content.hash, content.bytes.clone())] };
        let image = content.image();
        let event =
            Event::FileRead { path: path.clone(), image, elided, partial, key: job.key.clone(), request };
        self.record_with(&job.caller, &event, blobs, Awaited::Nothing);
        self.mark_told(job.caller.lineage(), &path);
    }

    /// A caller that believed in the file does not any more, so that it may create it again.
    fn tell_missing(&mut self, job: Job, path: String) {
        let error = CallError::new(Code::NotFound, format!("{path} does not exist"));
        if let Some(request) = job.requests.first().cloned()
            && self.belief(&job, &path).is_some()
        {
            self.mark_told(job.caller.lineage(), &path);
            let event = Event::FileMissing { path, request: Box::new(request) };
            self.record_with(&job.caller, &event, Vec::new(), Awaited::Nothing);
        }
        self.finish(job, Err(error), None);
    }

    pub(super) fn finish_log(&mut self, job: Job) {
        let path = job.paths.first().cloned().unwrap_or_default();
        self.note_call(&job, &path);
        let versions = self.state.files.get(&path).map(|entry| json!(entry.history)).unwrap_or(json!([]));
        self.finish(job, Ok(json!({ "path": path, "versions": versions })), None);
    }

    pub(crate) fn finish_list(&mut self, job: Job, entries: Result<Vec<String>, String>) {
        match entries {
            Ok(mut entries) => {
                self.note_call(&job, job.text("path").unwrap_or("."));
                let withheld = self.withhold(&job, &mut entries);
                self.finish(job, Ok(json!({ "entries": entries, "withheld": withheld })), None);
            }
            Err(message) => self.finish(job, Err(CallError::new(Code::NotFound, message)), None),
        }
    }

    /// Takes the names that the caller may not read off a listing; returns how many.
    fn withhold(&self, job: &Job, entries: &mut Vec<String>) -> usize {
        let directory = job.requests.first().and_then(|request| match &request.resource {
            Resource::Path(path) if !path.is_empty() => Some(format!("{path}/")),
            _ => None,
        });
        let (directory, may_read) = (directory.unwrap_or_default(), self.readable(&job.caller));
        let all = entries.len();
        entries.retain(|entry| may_read.allows(&format!("{directory}{}", entry.trim_end_matches('/'))));
        all - entries.len()
    }

    /// The receipt of a read that teaches the caller nothing to write from.
    fn note_call(&mut self, job: &Job, path: &str) {
        let Some(request) = job.requests.first().cloned() else { return };
        let facts = [("path".to_owned(), json!(path))].into();
        let (verb, request) = (job.syscall.name.to_owned(), Box::new(request));
        let event = Event::CallReceipt { verb, facts, key: None, request };
        self.record_with(&job.caller, &event, Vec::new(), Awaited::Nothing);
    }

    pub(super) fn finish_blame(&mut self, job: Job, looked: &Looked) {
        let path = job.paths.first().cloned().unwrap_or_default();
        self.note_call(&job, &path);
        let Some(entry) = self.state.files.get(&path) else {
            let error = CallError::new(Code::NotFound, format!("{path} has no history in this log"))
                .hint("a file has history once an agent has read or written it");
            return self.finish(job, Err(error), None);
        };
        let empty: BlobBytes = Vec::new().into();
        let texts: Vec<&[u8]> = entry
            .history
            .iter()
            .map(|version| {
                let bytes =
                    version.image.and_then(|image| stored(looked, &path, image.blob)).unwrap_or(&empty);
                bytes.as_ref()
            })
            .collect();
        let owners = ostk_merge::blame(&texts);
        let last = texts.last().copied().unwrap_or_default();
        let lines: Vec<Value> = String::from_utf8_lossy(last)
            .lines()
            .zip(owners)
            .filter_map(|(text, owner)| {
                let version = entry.history.get(owner)?;
                Some(json!({ "writer": version.writer, "generation": version.generation, "seq": version.seq,
                "ts": version.ts, "text": text }))
            })
            .collect();
        self.finish(job, Ok(json!({ "path": path, "lines": lines })), None);
    }
}

/// The bytes of a version: from the packs, or from the file itself if that version has just been noticed.
fn stored<'a>(looked: &'a Looked, path: &str, blob: Hash) -> Option<&'a BlobBytes> {
    match looked.files.get(path) {
        Some(Seen::File { hash, bytes, .. }) if *hash == blob => Some(bytes),
        _ => looked.blobs.get(&blob),
    }
}

/// Lines `offset..offset + limit` of a text, counted from 1.
fn lines_of(text: &str, offset: Option<u64>, limit: Option<u64>) -> String {
    if offset.is_none() && limit.is_none() {
        return text.to_owned();
    }
    let skip = usize::try_from(offset.unwrap_or(1).saturating_sub(1)).unwrap_or(usize::MAX);
    let take = usize::try_from(limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    text.split_inclusive('\n').skip(skip).take(take).collect()
}
