//! The terms of a `WORK` filter: which pieces of work an agent takes. `parse` calls it; what a piece of work is, and whether it
//! fits, the host knows.

use super::{
    WorkOp, WorkTerm,
    lines::clip,
    parse::{Mistake, suggest},
};

/// What is compared, and whether more and less mean something of it.
const FIELDS: [(&str, bool); 3] = [("priority", true), ("tags", false), ("milestone", false)];
/// The priorities, the highest first.
const PRIORITIES: [&str; 4] = ["P0", "P1", "P2", "P3"];

/// Reads one term, such as `priority>=P1`.
pub(super) fn term(text: &str) -> Result<WorkTerm, Mistake> {
    let mistake = || {
        let hint = "field=value, field>=value or field<=value, values separated by commas";
        (format!("{:?} is no filter", clip(text)), Some(hint.to_owned()))
    };
    let split =
        |(word, op): &(&str, WorkOp)| text.split_once(word).map(|(field, values)| (field, *op, values));
    let (field, op, values) = WorkOp::ALL.iter().find_map(split).ok_or_else(mistake)?;
    let values: Vec<String> = values.split(',').map(str::to_owned).collect();
    let is_word = |word: &str| !word.is_empty() && !word.contains(['=', '<', '>']);
    if !is_word(field) || !values.iter().all(|value| is_word(value)) {
        return Err(mistake());
    }
    check(field, op, &values)?;
    Ok(WorkTerm { field: field.to_owned(), op, values })
}

fn check(field: &str, op: WorkOp, values: &[String]) -> Result<(), Mistake> {
    let Some((_, ordered)) = FIELDS.iter().find(|(known, _)| *known == field) else {
        let message = format!("{:?} is nothing that work is chosen by", clip(field));
        return Err((message, Some(suggest(field, &FIELDS.map(|(name, _)| name)))));
    };
    if !ordered && op != WorkOp::Is {
        return Err((format!("{field} has no order"), Some(format!("{field}=value"))));
    }
    let is_priority = |value: &String| PRIORITIES.iter().any(|known| known.eq_ignore_ascii_case(value));
    match values.iter().find(|value| *ordered && !is_priority(value)) {
        Some(wrong) => Err((format!("{:?} is no priority", clip(wrong)), Some(PRIORITIES.join(", ")))),
        None => Ok(()),
    }
}
