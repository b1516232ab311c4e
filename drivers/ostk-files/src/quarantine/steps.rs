//! The list of steps of a rebase under way, without those that run a command.
//!
//! `git rebase --continue` runs them for whoever types it. A step that is kept begins with a word of git-rebase(1) that
//! names a commit or a place; everything else becomes a comment, so that a person sees what stood there.

use std::collections::BTreeSet;

/// First words of steps that run nothing, with their short forms.
const HARMLESS: [&str; 22] = [
    "pick",
    "p",
    "reword",
    "r",
    "edit",
    "e",
    "squash",
    "s",
    "fixup",
    "f",
    "drop",
    "d",
    "label",
    "l",
    "reset",
    "t",
    "merge",
    "m",
    "update-ref",
    "u",
    "break",
    "b",
];
/// The step of an empty list.
const NOTHING: &str = "noop";

/// The lines that run something.
pub(super) fn commands(text: &[u8]) -> BTreeSet<Vec<u8>> {
    lines(text).filter(|line| runs(line)).map(<[u8]>::to_vec).collect()
}

/// The list with its commands as comments; `None` if it has none but `known` ones.
pub(super) fn without_commands(text: &[u8], known: &BTreeSet<Vec<u8>>) -> Option<Vec<u8>> {
    if commands(text).is_subset(known) {
        return None;
    }
    let mut kept = Vec::with_capacity(text.len());
    for line in lines(text) {
        if runs(line) {
            kept.extend(b"# in quarantine: ");
        }
        kept.extend(line);
        kept.push(b'\n');
    }
    Some(kept)
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n')
}

fn runs(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    let word = line.split(|byte| matches!(byte, b' ' | b'\t')).next().unwrap_or_default();
    let harmless = HARMLESS.iter().chain([&NOTHING]).any(|harmless| harmless.as_bytes() == word);
    // A zero byte would end the line for git.
    let one_line = !line.contains(&0) && !line.contains(&b'\r');
    !(line.is_empty() || one_line && (line.starts_with(b"#") || harmless))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_become_comments_and_commits_stay() {
        let list = b"pick 1 one\nexec make\n# remark\n  x make test\nfixup -C 2 two\n\nbreak\n";
        let kept = without_commands(list, &BTreeSet::new()).unwrap();
        let expected = "pick 1 one\n# in quarantine: exec make\n# remark\n# in quarantine:   x make test\nfixup -C 2 two\n\nbreak\n\n";
        assert_eq!(String::from_utf8(kept.clone()).unwrap(), expected);
        assert_eq!(without_commands(&kept, &BTreeSet::new()), None);
    }

    #[test]
    fn a_persons_own_commands_stay_but_others_take_them_along() {
        let known = commands(b"exec make\npick 1\nexec make test\n");
        assert_eq!(without_commands(b"pick 1\nexec make test\n", &known), None);
        assert!(without_commands(b"exec make\nexec evil\n", &known).is_some());
        assert!(without_commands(b"unknown 1\n", &BTreeSet::new()).is_some());
    }
}
