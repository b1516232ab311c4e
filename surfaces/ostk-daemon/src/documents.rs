//! The governance documents on disk, read as one set.

use std::{collections::BTreeMap, fs, path::Path};

use ostk_files::{Entry, EntryKind};
use ostk_policy::Documents;

/// Pins in one project: a limit so that a mistaken directory cannot fill the memory.
const MAX_PINS: usize = 10_000;
/// The largest document; the parsers refuse larger ones by name.
const MAX_DOCUMENT: u64 = 512 * 1024;

/// Every document under `.ostk/`. One that cannot be read as text is passed on as a text that does not parse, so that
/// the gate refuses it by name.
pub(crate) fn load(state_dir: &Path) -> Documents {
    let mut pins = BTreeMap::new();
    let entries = fs::read_dir(state_dir.join("pins")).into_iter().flatten().flatten();
    for entry in entries.take(MAX_PINS) {
        let (Ok(name), file) = (entry.file_name().into_string(), entry.path().join("pin.caps")) else {
            continue;
        };
        if file.is_file() {
            pins.insert(name, read(&file));
        }
    }
    let custom = state_dir.join("policy.cedar");
    Documents { pins, custom: custom.is_file().then(|| read(&custom)) }
}

fn read(file: &Path) -> String {
    let size = fs::metadata(file).map_or(0, |metadata| metadata.len());
    if size > MAX_DOCUMENT {
        return format!("the document is larger than {MAX_DOCUMENT} bytes");
    }
    fs::read_to_string(file).unwrap_or_else(|error| format!("the document cannot be read: {error}"))
}

/// A directory entry as `dir.list` shows it.
pub(crate) fn listed(entry: &Entry) -> String {
    let slash = if entry.kind == EntryKind::Directory { "/" } else { "" };
    format!("{}{slash}", entry.name)
}
