//! What the clients were told, line by line: the promises that the log and the files must keep.
//!
//! Every client, agent and person has a line of its own in each shared file, and every text of such a line is written
//! once in a run. So a line that is missing was lost, and a line that is there twice was written twice.

use std::collections::{BTreeMap, BTreeSet};

/// Where a line should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Once in its file.
    There,
    /// Nowhere.
    Gone,
    /// Once or not at all: nobody was promised anything.
    Either,
}

/// A path and a line in it.
pub(crate) type Line = (String, String);

/// What one call is to do to shared files.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deed {
    pub(crate) adds: Vec<Line>,
    pub(crate) removes: Vec<Line>,
}

/// The promises of a run.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    fates: BTreeMap<Line, Fate>,
    /// Each added line, and what its deed removes.
    deeds: BTreeMap<Line, BTreeSet<Line>>,
    /// Lines of those who write past the kernel, which a power cut may take back.
    outside: BTreeSet<Line>,
    /// What each client was shown or wrote, by path.
    seen: BTreeMap<(String, String), BTreeSet<String>>,
    pub(crate) acknowledged: u64,
}

impl Ledger {
    pub(crate) fn begins(&mut self, line: Line) {
        self.fates.insert(line, Fate::There);
    }

    /// A deed is asked for; nobody knows how it ends.
    pub(crate) fn asked(&mut self, deed: &Deed) {
        for line in deed.adds.iter().chain(&deed.removes) {
            self.fates.insert(line.clone(), Fate::Either);
        }
        for line in &deed.adds {
            self.deeds.entry(line.clone()).or_default().extend(deed.removes.iter().cloned());
        }
    }

    /// A deed was acknowledged.
    pub(crate) fn done(&mut self, deed: &Deed) {
        self.acknowledged += 1;
        for line in &deed.adds {
            self.fates.insert(line.clone(), Fate::There);
        }
        for line in &deed.removes {
            self.fates.insert(line.clone(), Fate::Gone);
        }
    }

    /// A deed was refused: what it was to remove is as it was before, which its caller finds out.
    pub(crate) fn refused(&mut self, deed: &Deed) {
        for line in &deed.adds {
            self.fates.insert(line.clone(), Fate::Gone);
        }
    }

    /// A deed was done past the kernel.
    pub(crate) fn done_outside(&mut self, deed: &Deed) {
        self.asked(deed);
        self.done(deed);
        self.acknowledged -= 1;
        self.outside.extend(deed.adds.iter().chain(&deed.removes).cloned());
    }

    /// A power cut may have taken back what was done past the kernel in this file.
    pub(crate) fn shaken(&mut self, path: &str) {
        for line in self.outside.iter().filter(|line| line.0 == path) {
            self.fates.insert(line.clone(), Fate::Either);
        }
    }

    /// What a deed that adds this line may remove; `None` if nobody was asked to add it.
    pub(crate) fn removals(&self, line: &Line) -> Option<&BTreeSet<Line>> {
        self.deeds.get(line)
    }

    /// A client was shown this text, or wrote it.
    pub(crate) fn shown(&mut self, client: &str, path: &str, text: &str) {
        let seen = self.seen.entry((client.to_owned(), path.to_owned())).or_default();
        seen.extend(text.lines().map(str::to_owned));
    }

    /// A client renames a file: it knows the new one as it knew the old.
    pub(crate) fn renamed(&mut self, client: &str, from: &str, to: &str) {
        let known = self.seen.get(&(client.to_owned(), from.to_owned())).cloned().unwrap_or_default();
        self.seen.entry((client.to_owned(), to.to_owned())).or_default().extend(known);
    }

    pub(crate) fn has_seen(&self, client: &str, path: &str, line: &str) -> bool {
        let key = (client.to_owned(), path.to_owned());
        self.seen.get(&key).is_some_and(|seen| seen.contains(line))
    }

    /// Compares the promises about one file with its text.
    pub(crate) fn check(&self, path: &str, text: &str, wrong: &mut Vec<String>) {
        let mut found: BTreeMap<&str, usize> = BTreeMap::new();
        for line in text.lines() {
            *found.entry(line).or_default() += 1;
        }
        for ((_, line), fate) in self.fates.iter().filter(|((at, _), _)| at == path) {
            let count = found.get(line.as_str()).copied().unwrap_or(0);
            match (fate, count) {
                (Fate::There, 1) | (Fate::Gone, 0) | (Fate::Either, 0 | 1) => {}
                (Fate::There, 0) => wrong.push(format!("lost: {path}: {line}")),
                (Fate::Gone, _) => {
                    wrong.push(format!("there although it was replaced or refused: {path}: {line}"))
                }
                _ => wrong.push(format!("there {count} times: {path}: {line}")),
            }
        }
    }
}
