//! The journal as JSON lines: closed segments by name, then the live one. A line that does not end is not read.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde_json::Value;

/// Every complete line of the log, in order.
pub(super) fn lines(state_dir: &Path) -> Result<impl Iterator<Item = Result<Value>> + use<>> {
    let mut segments: Vec<PathBuf> = match fs::read_dir(state_dir.join("journal")) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    segments.sort();
    segments.push(state_dir.join("journal.jsonl"));
    let mut readers = Vec::new();
    for path in segments {
        readers.push(BufReader::new(File::open(&path).with_context(|| format!("{}", path.display()))?));
    }
    let lines = readers.into_iter().flat_map(|reader| reader.split(b'\n'));
    Ok(lines.filter_map(|line| match line {
        Ok(line) => serde_json::from_slice(&line).ok().map(Ok),
        Err(error) => Some(Err(error.into())),
    }))
}

/// The paths that a record is about.
pub(super) fn paths_of(record: &Value) -> Vec<String> {
    let body = record.get("body").unwrap_or(&Value::Null);
    let path = |value: &Value| value.get("path").and_then(Value::as_str).map(str::to_owned);
    match record.get("event").and_then(Value::as_str) {
        Some("file.write.intent") => {
            let changes =
                body.get("changes").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            changes.iter().filter_map(path).collect()
        }
        Some("file.foreign") => body.get("change").and_then(path).into_iter().collect(),
        Some("file.read") => path(body).into_iter().collect(),
        _ => Vec::new(),
    }
}
