//! `ostk show`: a record, a blob, a needle, a lineage, a file, or the daemon's status. Records and blobs need no daemon.

use std::{collections::VecDeque, io::IsTerminal, io::Write, path::Path, process::ExitCode};

use libostk::{Entry, Hash, Record};
use ostk_blobs::BlobStore;
use serde_json::{Value, json};

use super::{Done, inspect};
use crate::{
    args::{FileArg, Query, Show},
    connect,
    failure::Failure,
    output::{Output, Paint},
    record,
};

/// Records of a lineage that are shown.
const LAST: usize = 10;

pub(crate) fn show(args: &Show, output: &Output) -> Done {
    let target = args.target.as_str();
    let state_dir = connect::project()?.state_dir();
    // A digest first: one may consist of digits only.
    if let Ok(hash) = target.parse::<Hash>() {
        return show_blob(&state_dir, &hash, output);
    }
    if let Ok(seq) = target.parse::<u64>() {
        return show_record(&state_dir, seq, output);
    }
    if ["→", "->"].iter().any(|arrow| target.starts_with(arrow)) {
        return super::work::show(target, output);
    }
    if target == "status" {
        return show_status(output);
    }
    let processes = inspect::ask("ps", &json!({}))?["processes"].take();
    let rows = processes.as_array().map(Vec::as_slice).unwrap_or_default();
    match rows.iter().find(|row| row["lineage"] == target) {
        Some(row) => show_lineage(&state_dir, row, output),
        None if Path::new(target).exists() => inspect::log(&FileArg { file: target.to_owned() }, output),
        None => Err(Failure::check(format!("{target:?} is no record, blob, needle, process or file"))
            .hint("ostk show 42, ostk show SHA256, ostk show →7, ostk show LINEAGE, ostk show status; ostk ps lists the processes")),
    }
}

fn show_record(state_dir: &Path, seq: u64, output: &Output) -> Done {
    let found = libostk::records_from(state_dir, seq)?.next().transpose()?;
    let entry = found.ok_or_else(|| {
        Failure::check(format!("the log has no record {seq}"))
            .hint("ostk audit tail shows the newest records")
    })?;
    let parsed = record::parse(&entry)?;
    let signature = Record::verify_signature(&entry.line).map_err(|error| error.to_string());
    let value = json!({ "record": serde_json::from_slice::<Value>(&entry.line).unwrap_or_default(), "hash": entry.hash,
        "file": &*entry.file, "offset": entry.offset, "signature": signature.as_ref().err().map_or("good", String::as_str) });
    output.show(&value, |output| human_record(output, &entry, &parsed, &signature));
    Ok(if signature.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn human_record(output: &Output, entry: &Entry, record: &Record, signature: &Result<(), String>) -> String {
    let signed = match signature {
        Ok(()) => output.paint(Paint::Green, "✓ good"),
        Err(what) => output.paint(Paint::Red, &format!("✗ {what}")),
    };
    let body = serde_json::to_string_pretty(&record.body).unwrap_or_default();
    let lines = [
        record::line(output, record),
        format!("  time       {}", record.ts),
        format!("  epoch      {}", record.epoch),
        format!("  hash       {}", entry.hash),
        format!("  before it  {}", record.prev_hash),
        format!("  signature  {signed}"),
        format!("  by         {}", record.key),
        format!("  at         {} byte {}", entry.file.display(), entry.offset),
        body,
    ];
    lines.join("\n")
}

fn show_blob(state_dir: &Path, hash: &Hash, output: &Output) -> Done {
    let bytes = BlobStore::open_read_only(&state_dir.join("packs")).and_then(|store| store.get(hash));
    let bytes = bytes.map_err(|error| Failure::check(error).hint("ostk audit verify --deep"))?;
    let bytes = bytes.ok_or_else(|| Failure::check(format!("no pack holds blob {hash}")))?;
    let text = std::str::from_utf8(&bytes).ok().filter(|text| !text.contains('\0'));
    if output.is_json() {
        output.line(&json!({ "blob": hash, "size": bytes.len(), "text": text }).to_string());
    } else if text.is_none() && std::io::stdout().is_terminal() {
        output.line(&format!("{} bytes, not text; to a file: ostk show {hash} > FILE", bytes.len()));
    } else {
        // A reader that went away (`| head`) is no error.
        let _ = std::io::stdout().write_all(&bytes);
    }
    Ok(ExitCode::SUCCESS)
}

fn show_status(output: &Output) -> Done {
    let status = inspect::ask("status", &json!({}))?;
    output.show(&status, |_| {
        let rows = status.as_object().into_iter().flatten();
        rows.map(|(name, value)| {
            format!("{name:<12} {}", value.as_str().map_or(value.to_string(), str::to_owned))
        })
        .collect::<Vec<_>>()
        .join("\n")
    });
    Ok(ExitCode::SUCCESS)
}

fn show_lineage(state_dir: &Path, row: &Value, output: &Output) -> Done {
    let query = Query { agent: row["lineage"].as_str().map(str::to_owned), ..Query::default() };
    let mut filter = super::audit::Filter::new(&query)?;
    let mut last = VecDeque::new();
    for entry in libostk::records(state_dir)? {
        let entry = entry?;
        if filter.matches(&entry)? {
            last.push_back(record::parse(&entry)?);
            if last.len() > LAST {
                last.pop_front();
            }
        }
    }
    let seqs: Vec<u64> = last.iter().map(|record| record.seq).collect();
    output.show(&json!({ "process": row, "last": seqs }), |output| {
        let mut lines = vec![inspect::process_table(output, &json!([row])), String::new()];
        lines.extend(last.iter().map(|record| record::line(output, record)));
        lines.join("\n")
    });
    Ok(ExitCode::SUCCESS)
}
