//! The judge: compares what was acknowledged, what the log says and what is on disk.
//!
//! It reads the journal's lines as JSON and the packs by a parser of its own, and shares no code with the kernel or its
//! drivers: a bug there cannot hide itself here.

mod files;
mod journal;
mod packs;
mod walk;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use anyhow::Result;

use crate::{ledger::Deed, report::Report};

pub(crate) use files::files_below;

/// Checks the repository at `root`, whose daemon has stopped. `shared` are the files that everybody edited, with their
/// first lines, which nobody was asked to remove.
///
/// # Errors
/// When something cannot be read at all. What is wrong goes into the report.
pub fn check(
    root: &Path,
    shared: &[(String, Vec<String>)],
    deeds: &[Deed],
    report: &mut Report,
) -> Result<()> {
    let state_dir = root.join(".ostk");
    let packs = packs::Packs::read(&state_dir.join("packs"))?;
    let by_key: BTreeMap<&str, &Deed> = deeds.iter().map(|deed| (deed.key.as_str(), deed)).collect();
    let mut walk = walk::Walk::new(&packs, &by_key, report);
    for line in journal::lines(&state_dir)? {
        walk.record(&line?);
    }
    let (images, done) = walk.finish();
    files::equal_the_log(root, &images, report);
    files::hold_every_line(root, shared, deeds, report)?;
    files::are_tidy(root, shared, report)?;
    receipts_agree(deeds, &done, report);
    Ok(())
}

/// An acknowledged write must not be called undone by the log, and no key may have had an effect twice.
fn receipts_agree(deeds: &[Deed], done: &walk::Done, report: &mut Report) {
    use crate::ledger::Answer;
    for deed in deeds {
        if let Answer::Done(Some(intent)) = deed.answer
            && !done.intents.contains(&intent)
        {
            report.wrong(format!(
                "record {intent}: {} {} was acknowledged, the log says that it was not done",
                deed.verb, deed.key
            ));
        }
        if matches!(deed.answer, Answer::Refused(_)) && done.by_key.contains_key(&deed.key) {
            report.wrong(format!("{} {} was refused, the log says that it was done", deed.verb, deed.key));
        }
    }
    for (key, intents) in done.by_key.iter().filter(|(_, intents)| intents.len() > 1) {
        report.wrong(format!("{key} took effect more than once: records {intents:?}"));
    }
}

/// Every path that a record of the log names as changed or read.
pub(crate) fn paths_in_log(state_dir: &Path) -> Result<BTreeSet<String>> {
    let mut paths = BTreeSet::new();
    for line in journal::lines(state_dir)? {
        paths.extend(journal::paths_of(&line?));
    }
    Ok(paths)
}
