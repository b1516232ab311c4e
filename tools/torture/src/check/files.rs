//! The files on disk against the log and against what the clients were told.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::walk::Images;
use crate::{
    ledger::{Answer, Deed, Line, MARK},
    report::Report,
};

/// How the names of the daemon's temporary files begin.
const TEMPORARY: &str = ".ostk-tmp-";

/// Where a line should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Once, in its file.
    There,
    /// Nowhere.
    Gone,
    /// Once or not at all: nobody can know.
    Either,
}

/// Every path of the fold has on disk the bytes that the log says.
pub(super) fn equal_the_log(root: &Path, images: &Images, report: &mut Report) {
    for (path, image) in images {
        let found = match fs::read(root.join(path)) {
            Ok(bytes) => Some(hex::encode(Sha256::digest(&bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some(error.to_string()),
        };
        if found != *image {
            report.wrong(format!("{path} is {found:?} on disk, the log says {image:?}"));
        }
    }
}

/// Every acknowledged line is where it should be, once; no line is there that should not be.
pub(super) fn hold_every_line(
    root: &Path,
    shared: &[(String, Vec<String>)],
    deeds: &[Deed],
    report: &mut Report,
) -> Result<()> {
    let mut fates = fates(deeds, report);
    for (path, lines) in shared {
        fates.extend(lines.iter().map(|text| (Line { path: path.clone(), text: text.clone() }, Fate::There)));
    }
    let found = lines_on_disk(root)?;
    for (line, fate) in &fates {
        let count = found.get(line).copied().unwrap_or(0);
        let Line { path, text } = line;
        match (fate, count) {
            (Fate::There, 0) => {
                report.counts.lost += 1;
                report.wrong(format!("lost: {path}: {text}"));
            }
            (Fate::There, 1) | (Fate::Gone, 0) | (Fate::Either, 0 | 1) => {}
            (Fate::Gone, _) => {
                report.counts.duplicated += 1;
                report.wrong(format!("there although it was removed or refused: {path}: {text}"));
            }
            (Fate::There | Fate::Either, _) => {
                report.counts.duplicated += 1;
                report.wrong(format!("there {count} times: {path}: {text}"));
            }
        }
    }
    for line in found.keys().filter(|line| line.text.contains(MARK) && !fates.contains_key(line)) {
        report.counts.duplicated += 1;
        report.wrong(format!("nobody put this line there: {}: {}", line.path, line.text));
    }
    Ok(())
}

/// The deeds of one client are in the order of its calls, and no client removes the lines of another.
fn fates(deeds: &[Deed], report: &mut Report) -> BTreeMap<Line, Fate> {
    let mut fates = BTreeMap::new();
    for deed in deeds {
        let (added, removed) = match &deed.answer {
            Answer::Done(_) => {
                report.counts.acknowledged += 1;
                (Fate::There, Some(Fate::Gone))
            }
            Answer::Refused(_) => (Fate::Gone, None),
            Answer::Unknown(_) => {
                report.counts.unknown += 1;
                (Fate::Either, Some(Fate::Either))
            }
        };
        fates.extend(deed.adds.iter().map(|line| (line.clone(), added)));
        fates.extend(
            removed.into_iter().flat_map(|fate| deed.removes.iter().map(move |line| (line.clone(), fate))),
        );
    }
    fates
}

fn lines_on_disk(root: &Path) -> Result<BTreeMap<Line, usize>> {
    let mut found = BTreeMap::new();
    for path in files_below(root)? {
        let text = fs::read_to_string(root.join(&path)).with_context(|| path.clone())?;
        for line in text.lines() {
            *found.entry(Line { path: path.clone(), text: line.to_owned() }).or_default() += 1;
        }
    }
    Ok(found)
}

/// No daemon leaves its temporary files behind.
pub(super) fn are_tidy(root: &Path, shared: &[(String, Vec<String>)], report: &mut Report) -> Result<()> {
    let folders: BTreeSet<&Path> = shared.iter().filter_map(|(path, _)| Path::new(path).parent()).collect();
    for folder in folders.into_iter().chain([Path::new("own"), Path::new("outside")]) {
        for entry in fs::read_dir(root.join(folder))? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(TEMPORARY)) {
                report.wrong(format!("a temporary file was left behind: {}", path.display()));
            }
        }
    }
    Ok(())
}

/// Every file of the workspace, without git's and ostk's own.
pub(crate) fn files_below(root: &Path) -> Result<BTreeSet<String>> {
    let (mut found, mut folders) = (BTreeSet::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == ".git" || name == ".ostk" || name.to_string_lossy().starts_with(TEMPORARY) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if let Ok(path) = entry.path().strip_prefix(root) {
                found.insert(path.to_string_lossy().into_owned());
            }
        }
    }
    Ok(found)
}
