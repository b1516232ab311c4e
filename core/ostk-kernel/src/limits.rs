//! How large a call and a record may be: checked before anything is written, because a line of the log has a limit
//! and a record that does not fit would stop the journal.

use serde_json::Value;

use crate::{
    call::{CallError, Caller, Code},
    event::Event,
    table::{ArgKind, Syscall},
};

/// Longest body of a record: what [`ostk_log::MAX_LINE`] leaves when the envelope and a signature are counted.
const MAX_BODY: usize = ostk_log::MAX_LINE - 4 * 1024;
/// Longest path in bytes, the limit of Linux.
const MAX_PATH: usize = 4_096;
/// Longest command line as JSON; it stands in the record of its verdict, so that the verdict can be recomputed.
pub(crate) const MAX_COMMAND: usize = 24 * 1024;
/// Longest of the short texts: names, reasons, keys.
const MAX_SHORT: usize = 1_024;
/// Most bytes of a file, and of any text in a call: what the packs take as one blob.
const MAX_BYTES: usize = 64 << 20;
/// Longest name of a caller in bytes.
const MAX_CALLER: usize = 200;
/// Texts that become blobs or are compared only, and may be long.
const LONG: &[&str] = &[
    "content",
    "old",
    "new",
    "agentfile",
    "task",
    "text",
    "input",
    "wait_for",
    "pattern",
    "body",
    "reply",
    "description",
];
/// Longest list of changed paths inside a receipt, in bytes.
const MAX_LISTED: usize = 16 * 1024;

/// Refuses a call whose names or texts would not fit into a record.
pub(crate) fn check_size(
    syscall: &Syscall,
    caller: &Caller,
    args: &Value,
    key: Option<&str>,
) -> Result<(), CallError> {
    let name = caller.lineage();
    if name.is_empty()
        || name.len() > MAX_CALLER
        || name.chars().any(|c| c.is_control() || matches!(c, '"' | '\\' | '/'))
    {
        return Err(CallError::new(Code::Usage, format!("not the name of a caller: {name:?}")));
    }
    if key.is_some_and(|key| key.len() > MAX_SHORT) {
        return Err(too_large("the idempotency key", MAX_SHORT));
    }
    if longest_text(args) > MAX_BYTES {
        return Err(too_large("a text of the call", MAX_BYTES));
    }
    for (name, value) in args.as_object().into_iter().flatten() {
        let Some(text) = value.as_str() else { continue };
        let kind = syscall.args.iter().find(|arg| arg.name == name).map(|arg| arg.kind);
        let (len, most) = match kind {
            Some(ArgKind::Path) => (text.len(), MAX_PATH),
            _ if LONG.contains(&name.as_str()) => continue,
            _ if matches!(name.as_str(), "command" | "resume") => {
                (Value::from(text).to_string().len(), MAX_COMMAND)
            }
            _ => (text.len(), MAX_SHORT),
        };
        if len > most {
            return Err(too_large(name, most).hint("put a long command into a file and run that"));
        }
    }
    Ok(())
}

/// Refuses what no pack takes.
pub(crate) fn check_bytes(path: &str, bytes: &[u8]) -> Result<(), CallError> {
    if bytes.len() <= MAX_BYTES { Ok(()) } else { Err(too_large(path, MAX_BYTES)) }
}

/// Bytes of the longest text anywhere in the arguments.
fn longest_text(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(longest_text).max().unwrap_or(0),
        Value::Object(members) => members.values().map(longest_text).max().unwrap_or(0),
        _ => 0,
    }
}

fn too_large(what: &str, most: usize) -> CallError {
    CallError::new(Code::TooLarge, format!("{what} is longer than {most} bytes"))
}

/// Refuses an event that does not fit into a line of the log.
pub(crate) fn check_record(event: &Event) -> Result<(), CallError> {
    let len = serde_json::to_vec(event).map_or(usize::MAX, |bytes| bytes.len());
    if len <= MAX_BODY {
        return Ok(());
    }
    Err(CallError::new(Code::TooLarge, format!("the record of this call takes {len} bytes, {MAX_BODY} fit"))
        .hint("split it into smaller calls"))
}

/// As many paths as a receipt holds, and how many were left out.
pub(crate) fn listed(paths: &[String]) -> (Vec<String>, u64) {
    let mut room = MAX_LISTED;
    let fitting = paths.iter().take_while(|path| {
        room = room.saturating_sub(path.len() + 3);
        room > 0
    });
    let listed: Vec<String> = fitting.cloned().collect();
    let more = (paths.len() - listed.len()) as u64;
    (listed, more)
}

/// The head of a text that somebody outside made, such as a vendor's error.
pub(crate) fn clip(text: &str) -> String {
    text.chars().take(MAX_SHORT).collect()
}
