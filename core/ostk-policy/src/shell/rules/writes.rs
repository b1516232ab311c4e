//! Writes to places that the system, a person's account or the repository's safety depends on.
//!
//! A write inside the project is no finding: that is what agents do, and the workspace keeps every version.

use super::{
    super::{
        Danger,
        wrappers::{operands, value_of},
    },
    Judge,
};

pub(super) fn judge(judge: &mut Judge<'_>) {
    opened(judge);
    let last = || judge.names().last().into_iter().collect::<Vec<_>>();
    let (danger, targets): (Danger, Vec<&str>) = match judge.program() {
        "cp" | "mv" | "install" | "scp" | "rsync" | "ln" => (Danger::SensitiveWrite, last()),
        "touch" | "truncate" | "mkdir" | "chattr" => (Danger::SensitiveWrite, judge.names().collect()),
        "chmod" | "chown" | "chgrp" | "setfacl" => (Danger::SensitiveWrite, judge.names().skip(1).collect()),
        "tee" | "sponge" | "ed" | "ex" => (Danger::ReaderWrites, judge.names().collect()),
        program => (Danger::ReaderWrites, by_option(judge, program)),
    };
    let directory = if judge.program() == "mkdir" { None } else { Some(()) };
    let found = targets.into_iter().find_map(|path| directory.and_then(|()| judge.sensitive(path)));
    if let Some(place) = found {
        judge.add(danger, &format!("it writes {place}"));
    }
}

/// Files that the shell opens for writing.
fn opened(judge: &mut Judge<'_>) {
    let files = judge.simple.files.iter().filter(|(writes, _)| *writes);
    let found = files.map(|(_, file)| file.as_str()).find_map(|path| judge.sensitive(path));
    if let Some(place) = found {
        judge.add(Danger::SensitiveWrite, &format!("it writes {place}"));
    }
}

/// The files that a reader is told to write.
fn by_option<'a>(judge: &Judge<'a>, program: &str) -> Vec<&'a str> {
    let args = judge.simple.args();
    let value = |names: &[&str]| -> Vec<&'a str> {
        let Some(found) = value_of(args, names) else { return Vec::new() };
        let ends = |text: &&str| text.ends_with(found.as_str()) && !found.as_str().is_empty();
        let text = judge.texts().find(ends).unwrap_or_default();
        text.get(text.len().saturating_sub(found.as_str().len())..).into_iter().collect()
    };
    let in_place =
        |short: &str| operands(args, short, &["expression", "file"]).iter().map(|word| word.as_str());
    match program {
        "sed" | "gsed" if judge.has('i', "in-place") || judge.any_start(&["-i"]) => in_place("ef").collect(),
        "perl" | "ruby" if judge.options().any(|text| !text.starts_with("--") && text.contains('i')) => {
            judge.names().collect()
        }
        "yq" | "awk" | "gawk" if judge.any(&["-i", "--inplace", "inplace"]) => judge.names().collect(),
        "sort" => value(&["-o", "--output"]),
        "tree" | "curl" | "jq" => value(&["-o", "--output"]),
        "wget" => value(&["-O", "--output-document"]),
        "tar"
            if judge.has('x', "extract")
                || judge.names().next().is_some_and(|name| name.starts_with('x')) =>
        {
            value(&["-C", "--directory"])
        }
        "unzip" => value(&["-d"]),
        "git" => value(&["--output"]),
        "uniq" => judge.names().skip(1).take(1).collect(),
        "xxd" if judge.has('r', "revert") => judge.names().skip(1).take(1).collect(),
        "find" => {
            let words: Vec<&str> = judge.texts().collect();
            let writes = |pair: &[&'a str]| match pair {
                ["-fprint" | "-fprint0" | "-fls" | "-fprintf", file] => Some(*file),
                _ => None,
            };
            words.windows(2).filter_map(writes).collect()
        }
        _ => Vec::new(),
    }
}
