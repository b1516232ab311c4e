//! Which needles a `WORK` filter lets through. Its terms were checked when the Agentfile was read; one that is not
//! understood lets nothing through.

use ostk_agent::{WorkOp, WorkTerm};
use ostk_work::{Needle, Priority};

/// Whether all terms hold of a needle.
pub(super) fn fits(terms: &[WorkTerm], needle: &Needle) -> bool {
    terms.iter().all(|term| term.values.iter().any(|value| holds(term, value, needle)))
}

fn holds(term: &WorkTerm, value: &str, needle: &Needle) -> bool {
    match (term.field.as_str(), term.op) {
        ("priority", op) => value.parse().is_ok_and(|wanted| is_such(needle.priority, op, wanted)),
        ("tags", WorkOp::Is) => needle.tags.contains(value),
        ("milestone", WorkOp::Is) => needle.milestone.as_deref() == Some(value),
        _ => false,
    }
}

/// `P0` is the highest priority, and the least value.
fn is_such(priority: Priority, op: WorkOp, wanted: Priority) -> bool {
    match op {
        WorkOp::AtLeast => priority <= wanted,
        WorkOp::AtMost => priority >= wanted,
        WorkOp::Is => priority == wanted,
    }
}
