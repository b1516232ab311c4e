//! The one spelling of a JSON body: compact, members of every object in the byte order of their names.
//!
//! `serde_json` keeps members sorted or in insertion order depending on a feature that any crate in a build can
//! switch on; the bytes of a signed record must not depend on that. Called by `record` to seal and to check.

use serde_json::{Map, Value};

/// Deepest nesting of objects and arrays in a body, itself included. Bounds recursion here and in any reader.
pub const MAX_DEPTH: usize = 64;

/// Why a body has no canonical spelling.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// A value that JSON cannot write.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// Appends `map` to `out` in its one spelling.
pub(crate) fn write_object(out: &mut Vec<u8>, map: &Map<String, Value>) -> Result<(), CanonicalError> {
    object(out, map, 1)
}

fn object(out: &mut Vec<u8>, map: &Map<String, Value>, depth: usize) -> Result<(), CanonicalError> {
    let mut members: Vec<_> = map.iter().collect();
    members.sort_unstable_by_key(|(name, _)| *name);
    out.push(b'{');
    for (at, (name, member)) in members.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        serde_json::to_writer(&mut *out, name)?;
        out.push(b':');
        value(out, member, depth)?;
    }
    out.push(b'}');
    Ok(())
}

fn array(out: &mut Vec<u8>, items: &[Value], depth: usize) -> Result<(), CanonicalError> {
    out.push(b'[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        value(out, item, depth)?;
    }
    out.push(b']');
    Ok(())
}

/// `depth` is the depth of the container that holds `value`.
fn value(out: &mut Vec<u8>, value: &Value, depth: usize) -> Result<(), CanonicalError> {
    match value {
        Value::Object(_) | Value::Array(_) if depth >= MAX_DEPTH => Err(CanonicalError::TooDeep),
        Value::Object(map) => object(out, map, depth + 1),
        Value::Array(items) => array(out, items, depth + 1),
        scalar => Ok(serde_json::to_writer(out, scalar)?),
    }
}
