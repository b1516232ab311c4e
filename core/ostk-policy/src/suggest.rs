//! "Did you mean …?": the closest known word to one that is not known. Pure text; used by the parsers' errors.

/// Longest word compared; a longer one is no typing mistake.
const MAX_WORD: usize = 40;

/// The known word at most two edits away, the closest first.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.chars().count() > MAX_WORD {
        return None;
    }
    let scored = known.into_iter().map(|candidate| (distance(word, candidate), candidate));
    scored.filter(|(score, _)| *score <= 2).min_by_key(|(score, _)| *score).map(|(_, candidate)| candidate)
}

/// Levenshtein distance, in characters.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut left = i + 1;
        let mut next = vec![left];
        for (pair, y) in row.windows(2).zip(b.chars()) {
            let [diagonal, up] = *pair else { continue };
            left = (diagonal + usize::from(x != y)).min(up + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}
