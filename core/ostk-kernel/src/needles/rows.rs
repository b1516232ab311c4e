//! Work as JSON: what calls answer with and what the projections hold. Members are those of the specification, section
//! 5.1, with who holds a needle and what it waits for.

use ostk_work::{Board, Needle, NeedleId, Status};
use serde_json::{Value, json};

/// Everything about a needle; null if there is none of that number.
pub fn needle_row(board: &Board, id: NeedleId) -> Value {
    let Some(needle) = board.needles.get(&id) else { return Value::Null };
    let mut row = line(board, id);
    let closed = needle.closed.as_ref();
    let more = json!({
        "description": needle.description, "ac": needle.ac, "ac_by": needle.ac_by, "issue_type": "task",
        "created_at": needle.created_at, "created_by": needle.created_by, "seq": needle.seq,
        "closed_at": closed.map(|closed| closed.at), "closed_by": closed.map(|closed| &closed.by),
        "close_reason": closed.and_then(|closed| closed.reason.as_ref()),
        "commit_ref": closed.and_then(|closed| closed.commit_ref.as_ref()),
        "forced": closed.map(|closed| closed.forced), "closed_seq": closed.map(|closed| closed.seq),
    });
    if let (Value::Object(row), Value::Object(more)) = (&mut row, more) {
        row.extend(more);
    }
    row
}

/// A needle as a list shows it.
pub(super) fn line(board: &Board, id: NeedleId) -> Value {
    let Some(needle) = board.needles.get(&id) else { return Value::Null };
    let claim = board.claims.get(&id);
    let blocked_by: Vec<NeedleId> = board.open_dependencies(needle).collect();
    json!({
        "id": id, "title": needle.title, "status": needle.status, "priority": needle.priority,
        "tags": needle.tags, "milestone": needle.milestone,
        "depends_on": needle.depends_on, "blocks": needle.blocks, "related": needle.related, "blocked_by": blocked_by,
        "holder": claim.map(|claim| &claim.holder), "until": claim.map(|claim| claim.until),
        "ac_result": needle.ac_result,
    })
}

/// How many needles stand where.
pub(super) fn counts(board: &Board) -> Value {
    let count =
        |status: Status| board.needles.values().filter(|needle: &&Needle| needle.status == status).count();
    json!({ "open": count(Status::Open), "in_progress": count(Status::InProgress),
        "shelved": count(Status::Shelved), "closed": count(Status::Closed) })
}

/// The straws, oldest first.
pub fn hay_rows(board: &Board) -> Vec<Value> {
    let row = |(seq, straw): (&u64, &ostk_work::Straw)| json!({ "straw": seq, "text": straw.text, "source": straw.source, "at": straw.at, "by": straw.by });
    board.hay.iter().map(row).collect()
}

/// The decisions in force, by key.
pub fn decision_rows(board: &Board) -> Vec<Value> {
    let row = |(key, made): (&String, &ostk_work::Decision)| json!({ "key": key, "value": made.value, "reason": made.reason, "at": made.at, "by": made.by, "seq": made.seq });
    board.decisions.iter().map(row).collect()
}
