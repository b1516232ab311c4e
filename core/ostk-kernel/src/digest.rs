//! What changed under a caller, told once and briefly with its next reply.
//!
//! Messages for the caller travel the same way. A digest is at most 512 bytes and stands at the end of a result, never in a prompt's cacheable prefix.

use serde_json::{Map, Value, json};

use crate::{
    call::{CallError, Caller},
    kernel::Kernel,
    state::{Lineage, State},
};

/// The longest digest in bytes.
const MAX_DIGEST: usize = 512;
/// The longest part of a path that a line shows, in characters of up to four bytes: its end.
const MAX_SHOWN_PATH: usize = 60;

impl Kernel {
    /// The result with the caller's digest, if there is something to tell, and whether it hands messages over.
    pub(crate) fn with_digest(
        &mut self,
        caller: &Caller,
        result: Result<Value, CallError>,
    ) -> (Result<Value, CallError>, bool) {
        let Caller::Agent(name) = caller else { return (result, false) };
        let mut told = Map::new();
        let lines = self.stale_lines(name);
        if !lines.is_empty() {
            told.insert("digest".to_owned(), Value::String(lines));
        }
        let nudges = self.take_nudges(caller);
        let delivers = !nudges.is_empty();
        if delivers {
            told.insert("nudges".to_owned(), json!(nudges));
        }
        if told.is_empty() {
            return (result, false);
        }
        let result = match result {
            Ok(Value::Object(mut fields)) => {
                fields.extend(told);
                Ok(Value::Object(fields))
            }
            Err(mut error) => {
                match error.data.as_object_mut() {
                    Some(fields) => fields.extend(told),
                    None => error.data = Value::Object(told),
                }
                Err(error)
            }
            other => other,
        };
        (result, delivers)
    }

    /// A lineage that ended is told nothing more.
    pub(crate) fn forget_told(&mut self, lineage: &str) {
        self.told.retain(|(name, _), _| name != lineage);
    }

    /// A caller that has just been shown a file need not be told of it again.
    pub(crate) fn mark_told(&mut self, lineage: &str, path: &str) {
        let generation = self.state.generation(path);
        self.told.insert((lineage.to_owned(), path.to_owned()), generation);
    }

    fn stale_lines(&mut self, name: &str) -> String {
        let mut digest = String::new();
        let Some(lineage) = self.state.lineages.get(name) else { return digest };
        let mut told = Vec::new();
        for (path, line, generation) in stale(&self.state, lineage) {
            let key = (name.to_owned(), path.to_owned());
            if self.told.get(&key).is_some_and(|known| *known >= generation) {
                continue;
            }
            if digest.len() + line.len() + 1 > MAX_DIGEST {
                break;
            }
            if !digest.is_empty() {
                digest.push('\n');
            }
            digest.push_str(&line);
            told.push((key, generation));
        }
        self.told.extend(told);
        digest
    }
}

/// Files that are no longer what the lineage believes: path, line, generation.
fn stale<'a>(state: &'a State, lineage: &'a Lineage) -> impl Iterator<Item = (&'a str, String, u64)> {
    lineage.reads.iter().filter_map(|(path, read)| {
        let entry = state.files.get(path)?;
        if entry.image.map(|image| image.blob) == Some(read.blob) {
            return None;
        }
        let writer = entry.history.last().map_or("?", |version| version.writer.as_str());
        let (mark, generation) = (if entry.image.is_some() { '✎' } else { '✗' }, entry.generation);
        let shown = shorten(path);
        Some((path.as_str(), format!("[files] {mark} {shown} gen={generation} by {writer}"), generation))
    })
}

/// The end of a long path, so that one line always fits.
fn shorten(path: &str) -> String {
    let chars = path.chars().count();
    if chars <= MAX_SHOWN_PATH {
        return path.to_owned();
    }
    let end: String = path.chars().skip(chars - MAX_SHOWN_PATH).collect();
    format!("…{end}")
}
