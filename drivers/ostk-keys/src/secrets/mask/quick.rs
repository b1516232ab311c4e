//! A quick look at a text: most have no secret in them, and where things stand matters only in those that have.
//!
//! The text is read in the same ways as by `reading.rs`, without places and without a limit on gaps. So this finds
//! everything that the masker finds, and now and then something that the masker then does not.

use super::{
    PIECE_BYTES, Table, Tables,
    reading::{escape, has_escapes, splits},
};

/// Whether a form of a secret may be in the text.
pub(super) fn may_hold(tables: &Tables, text: &[u8]) -> bool {
    let decoded = has_escapes(text);
    holds(&tables.loose, text, true, false)
        || (decoded && holds(&tables.loose, text, true, true))
        || holds(&tables.exact, text, false, false)
        || (decoded && holds(&tables.exact, text, false, true))
}

fn holds(table: &Table, text: &[u8], stripped: bool, decoded: bool) -> bool {
    let Some(automaton) = &table.automaton else { return false };
    if !stripped && !decoded {
        return automaton.is_match(text);
    }
    let mut read = Vec::with_capacity(PIECE_BYTES.min(text.len()) + table.longest);
    let mut rest = text;
    while !rest.is_empty() {
        rest = if decoded { decode(rest, &mut read) } else { copy(rest, &mut read, stripped) };
        if stripped && decoded {
            // An escape may stand for what splits strings.
            read.retain(|byte| !splits(*byte));
        }
        if automaton.is_match(&read) {
            return true;
        }
        read.drain(..read.len() - read.len().min(table.longest.saturating_sub(1)));
    }
    false
}

/// Reads the next piece of `text`; returns what follows it.
fn copy<'a>(text: &'a [u8], read: &mut Vec<u8>, stripped: bool) -> &'a [u8] {
    let (piece, rest) = text.split_at(text.len().min(PIECE_BYTES));
    read.extend(piece.iter().copied().filter(|byte| !(stripped && splits(*byte))));
    rest
}

/// The same with escapes turned into what they stand for.
fn decode<'a>(text: &'a [u8], read: &mut Vec<u8>) -> &'a [u8] {
    let (mut rest, end) = (text, text.len().saturating_sub(PIECE_BYTES));
    while rest.len() > end {
        let plain = memchr::memchr2(b'%', b'\\', rest).unwrap_or(rest.len()).min(rest.len() - end);
        let (before, from) = rest.split_at(plain);
        read.extend_from_slice(before);
        let taken = match (escape(from), from.first()) {
            (Some((byte, length)), _) => {
                read.push(byte);
                length
            }
            (None, Some(byte)) if from.len() > end => {
                read.push(*byte);
                1
            }
            _ => 0,
        };
        rest = from.get(taken..).unwrap_or_default();
    }
    rest
}
