//! Three-way merges of a file of 1,000 lines of invented source.
//!
//! From the common case, one edit on each side far apart, to fifty on each side in turn.

use std::{convert::Infallible, hint::black_box, path::Path};

use anyhow::Result;
use ostk_merge::merge;

use crate::figure::{Figure, micros};

const LINES: usize = 1_000;
const ROUNDS: usize = 2_000;
const TARGET_MICROS: f64 = 200.0;

pub(crate) fn measure(_: &Path) -> Result<Vec<Figure>> {
    let every = |from: usize, step: usize| (from..LINES).step_by(step).collect::<Vec<_>>();
    let cases = [
        ("1,000 lines, one edit each, far apart", vec![100], vec![900]),
        ("1,000 lines, one edit each, 3 lines apart", vec![500], vec![503]),
        ("1,000 lines, 50 edits each, in turn", every(0, 20), every(10, 20)),
    ];
    let base = source(&[], "");
    let mut figures = Vec::new();
    for (what, ours, theirs) in cases {
        let (ours, theirs) = (source(&ours, "ours"), source(&theirs, "theirs"));
        let samples = micros(ROUNDS, |_| {
            black_box(merge(black_box(&base), black_box(&ours), black_box(&theirs)));
            Ok::<(), Infallible>(())
        })?;
        figures.push(Figure::low(what, "µs", samples).median(TARGET_MICROS));
    }
    Ok(figures)
}

/// The file, with `word` in place of the named lines.
fn source(changed: &[usize], word: &str) -> Vec<u8> {
    let line = |number: usize| match number % 10 {
        _ if changed.contains(&number) => format!("    {word}({number});\n"),
        0 => format!("fn step_{number}(input: &str) -> Result<Value> {{\n"),
        8 => "}\n".to_owned(),
        9 => "\n".to_owned(),
        _ => format!("    let value_{number} = transform(input, {number})?;\n"),
    };
    (0..LINES).map(line).collect::<String>().into_bytes()
}
