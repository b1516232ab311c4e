//! Three versions of a file, and an edit of one.
//!
//! Nothing may panic. What `merge` calls clean keeps every line that one side alone added; `edit` replaces as often as
//! it says. The first byte chooses: raw bytes cut in three, or lines made from a small script, which meet more often.

#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use ostk_merge::{Outcome, blame, edit, merge, revert, unified_diff};

fuzz_target!(|data: &[u8]| {
    let Some((mode, data)) = data.split_first() else { return };
    let [base, current, proposed] = if mode % 2 == 0 { cut(data) } else { scripted(data) };
    if let Outcome::Clean { bytes, .. } = merge(&base, &current, &proposed) {
        let merged = lines(&bytes);
        for added in [&current, &proposed] {
            let lost =
                lines(added).into_iter().find(|line| !lines(&base).contains(line) && !merged.contains(line));
            assert!(lost.is_none(), "a clean merge lost {lost:?}");
        }
    }
    let _ = revert(&base, &current, &proposed);
    let _ = unified_diff(&base, &current, 3, ("base", "current"));
    let _ = blame(&[&base, &current, &proposed]);
    for all in [false, true] {
        if let Ok(edited) = edit(&base, &current, &proposed, all) {
            assert!(edited.count >= 1 && (all || edited.count == 1));
            let expected = base.len() + edited.count * proposed.len() - edited.count * current.len();
            assert_eq!(edited.bytes.len(), expected);
        }
    }
});

fn lines(bytes: &[u8]) -> BTreeSet<&[u8]> {
    bytes.split_inclusive(|byte| *byte == b'\n').collect()
}

/// Three versions, separated by 0xff.
fn cut(data: &[u8]) -> [Vec<u8>; 3] {
    let mut parts = data.splitn(3, |byte| *byte == 0xff).map(<[u8]>::to_vec);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

/// A base of up to 64 lines, then three bytes for each change: whose and what, where, which line.
fn scripted(data: &[u8]) -> [Vec<u8>; 3] {
    let (count, rest) =
        data.split_first().map_or((0, data), |(count, rest)| (usize::from(*count % 64), rest));
    let base: Vec<u8> = (0..count).map(|at| at as u8).collect();
    let mut sides = [base.clone(), base.clone()];
    for change in rest.chunks_exact(3).take(64) {
        let side = &mut sides[usize::from(change[0] % 2)];
        let at = usize::from(change[1]) % (side.len() + 1);
        match (change[0] / 2 % 3, side.get_mut(at)) {
            (1, Some(line)) => *line = change[2],
            (2, Some(_)) => drop(side.remove(at)),
            _ => side.insert(at, change[2]),
        }
    }
    let [current, proposed] = sides;
    [base, current, proposed]
        .map(|side| side.iter().flat_map(|line| format!("line {line}\n").into_bytes()).collect())
}
