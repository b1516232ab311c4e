//! The least pin for a task, from what the task was seen to do.
//!
//! A sandbox grants whole files and directory trees, and to make or remove a name takes a grant of its directory. So
//! what is proposed is the smallest set of such grants that covers what was seen, with one exception: a directory of
//! which more than a few files are used is granted as a whole, for the next run will use others of them. Called by
//! `ostk learn`, which tries the pin out.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    path::{PathPattern, ancestors},
    pin::{DenyToken, Execute, Pin},
};

/// What a command was seen to ask for. Paths are relative to the workspace, without a final `/`; those outside are left
/// out, for no pin speaks of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Files that it read or executed.
    pub read: BTreeSet<String>,
    /// What was there and it changed in place.
    pub written: BTreeSet<String>,
    /// Files that it made and left.
    pub files_made: BTreeSet<String>,
    /// Directories that it made and left.
    pub directories_made: BTreeSet<String>,
    /// Names that it removed, replaced, or tried to make without leaving anything.
    pub names_gone: BTreeSet<String>,
    /// Whether it reached for the network.
    pub network: bool,
    /// Hosts that it reached, as far as their names are known.
    pub hosts: BTreeSet<String>,
}

/// Files of one directory that are still listed one by one.
const FEW: usize = 4;
/// Paths of one line that a person still reads; beyond, directories with two files are taken as a whole as well, and
/// then those at the top.
const MAX_LISTED: usize = 64;

/// The text of a pin that allows what was seen and little more. With `existing`, also what that pin allows; what it
/// denies stays denied, but for the network where that was needed.
pub fn propose(name: &str, seen: &Seen, existing: Option<&Pin>) -> String {
    let write = lines_of(existing.and_then(Pin::writable), written(seen));
    let read: BTreeSet<String> =
        seen.read.iter().map(|path| speakable(path)).filter(|path| !covered(path, &write)).collect();
    let read = lines_of(existing.and_then(Pin::readable), least(read));
    let writes = !write.is_empty() || existing.and_then(Pin::execute) == Some(Execute::Shell);
    let execute = if writes { Execute::Shell } else { Execute::ReadonlyShell };
    let mut text = format!("# The pin {name}, learned from what a command did.\n");
    text.push_str(&format!(
        "read: {}\nwrite: {}\nexecute: {}\n",
        words(&read),
        words(&write),
        execute.as_str()
    ));
    text.push_str(&format!("deny: {}\n", denied(seen, existing).join(" ")));
    let hosts = hosts(seen, existing);
    if !hosts.is_empty() {
        text.push_str(&format!("connect: {}\n", words(&hosts)));
    }
    for path in existing.into_iter().flat_map(Pin::denied) {
        text.push_str(&format!("deny-path: {}\n", word(path.as_str())));
    }
    for verb in existing.into_iter().flat_map(Pin::denied_verbs) {
        text.push_str(&format!("deny-verb: {}\n", word(verb)));
    }
    for path in seen.files_made.iter().filter(|path| !path.contains('/') && write.contains(*path)) {
        text.push_str(&format!("# {path} has to be there: making it takes a grant of the whole workspace\n"));
    }
    text
}

/// What a pin allows already, as it is written, and what is to be allowed now.
fn lines_of(held: Option<&[PathPattern]>, now: BTreeSet<String>) -> BTreeSet<String> {
    let held: BTreeSet<String> = held
        .unwrap_or_default()
        .iter()
        .map(|pattern| pattern.literal().map_or_else(|| pattern.as_str().to_owned(), str::to_owned))
        .collect();
    reduced(held.into_iter().chain(now).collect())
}

/// The grants of writing that cover what was seen.
fn written(seen: &Seen) -> BTreeSet<String> {
    let around = |path: &String| path.rsplit_once('/').map_or("", |(directory, _)| directory).to_owned();
    // A file at the top is granted itself: its directory is the workspace.
    let made =
        seen.files_made.iter().map(|path| if path.contains('/') { around(path) } else { path.clone() });
    let kept = seen.written.iter().chain(&seen.directories_made).cloned();
    let all = made.chain(kept).chain(seen.names_gone.iter().map(around));
    least(all.map(|path| speakable(&path)).collect())
}

/// Few enough grants, none within another.
fn least(paths: BTreeSet<String>) -> BTreeSet<String> {
    let paths = collapsed(reduced(paths), FEW);
    if paths.len() <= MAX_LISTED {
        return paths;
    }
    let paths = collapsed(paths, 1);
    if paths.len() <= MAX_LISTED {
        return paths;
    }
    let top = |path: &String| path.split('/').next().unwrap_or_default().to_owned();
    let paths: BTreeSet<String> = paths.iter().map(top).collect();
    if paths.len() <= MAX_LISTED { paths } else { BTreeSet::from([String::new()]) }
}

/// Takes a directory as a whole when more than `few` of its entries are listed, the deepest first; never the workspace.
fn collapsed(mut paths: BTreeSet<String>, few: usize) -> BTreeSet<String> {
    let depth = |path: &str| path.matches('/').count();
    let deepest = paths.iter().map(|path| depth(path)).max().unwrap_or(0);
    for level in (1..=deepest).rev() {
        let mut siblings: BTreeMap<String, usize> = BTreeMap::new();
        for path in paths.iter().filter(|path| depth(path) == level) {
            if let Some((directory, _)) = path.rsplit_once('/') {
                *siblings.entry(directory.to_owned()).or_default() += 1;
            }
        }
        paths.extend(siblings.into_iter().filter(|(_, count)| *count > few).map(|(directory, _)| directory));
        paths = reduced(paths);
    }
    paths
}

fn reduced(paths: BTreeSet<String>) -> BTreeSet<String> {
    let inner = |path: &&String| !ancestors(path).skip(1).any(|above| paths.contains(above));
    paths.iter().filter(inner).cloned().collect()
}

fn covered(path: &str, grants: &BTreeSet<String>) -> bool {
    ancestors(path).any(|above| grants.contains(above))
}

/// The path, or the nearest directory above it that a pin can name.
fn speakable(path: &str) -> String {
    let named = |path: &&str| {
        path.is_empty() || PathPattern::parse(path).is_ok_and(|pattern| pattern.literal() == Some(path))
    };
    ancestors(path).find(named).unwrap_or_default().to_owned()
}

fn denied(seen: &Seen, existing: Option<&Pin>) -> Vec<&'static str> {
    let always = [DenyToken::WriteKernel, DenyToken::ModifyGovernance, DenyToken::SpawnAgent];
    let holds = |token: DenyToken| match token {
        DenyToken::Network => !seen.network && existing.is_none_or(|pin| pin.denies(token)),
        DenyToken::WriteSrc => false,
        token => always.contains(&token) || existing.is_some_and(|pin| pin.denies(token)),
    };
    DenyToken::ALL.into_iter().filter(|(_, token)| holds(*token)).map(|(name, _)| name).collect()
}

/// Nothing is said of hosts when their names are not known: to deny them would deny what was needed.
fn hosts(seen: &Seen, existing: Option<&Pin>) -> BTreeSet<String> {
    let held = existing.and_then(Pin::hosts).unwrap_or_default().iter().map(ToString::to_string);
    if seen.network && seen.hosts.is_empty() {
        return BTreeSet::new();
    }
    held.chain(seen.hosts.iter().cloned()).collect()
}

fn words(paths: &BTreeSet<String>) -> String {
    if paths.is_empty() {
        return "none".to_owned();
    }
    paths.iter().map(|path| word(path)).collect::<Vec<_>>().join(" ")
}

/// One word of a line, so that it is read back as it is.
fn word(text: &str) -> String {
    match text {
        "" => ".".to_owned(),
        "none" => "./none".to_owned(),
        text if text.starts_with('#') || text.contains([' ', '"', '\t']) => {
            format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
        }
        text => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(paths: &[&str]) -> BTreeSet<String> {
        paths.iter().map(|path| (*path).to_owned()).collect()
    }

    fn lines(seen: &Seen, existing: Option<&str>) -> String {
        let existing = existing.map(|text| Pin::parse("old", text).unwrap());
        let text = propose("task", seen, existing.as_ref());
        Pin::parse("task", &text).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect()
    }

    #[test]
    fn what_was_seen_is_granted_and_nothing_beside_it() {
        let seen = Seen {
            read: set(&["Cargo.toml", "src/main.rs", "out/old"]),
            written: set(&["notes.txt"]),
            files_made: set(&["out/new", "report"]),
            directories_made: set(&["target"]),
            ..Seen::default()
        };
        assert_eq!(
            lines(&seen, None),
            "read: Cargo.toml src/main.rs\nwrite: notes.txt out report target\nexecute: shell\n\
             deny: write-kernel modify-governance spawn-agent network\n"
        );
        assert!(propose("task", &seen, None).contains("# report has to be there"));
    }

    #[test]
    fn a_command_that_writes_nothing_may_write_nothing() {
        let seen = Seen { read: set(&["a"]), network: true, ..Seen::default() };
        let expected = "read: a\nwrite: none\nexecute: shell(readonly)\ndeny: write-kernel modify-governance spawn-agent\n";
        assert_eq!(lines(&seen, None), expected);
    }

    #[test]
    fn a_name_that_went_takes_its_directory() {
        let seen = Seen { names_gone: set(&["a/b/lock", "a/b/lock.tmp"]), ..Seen::default() };
        assert!(lines(&seen, None).contains("write: a/b\n"));
        let top = Seen { names_gone: set(&["lock"]), written: set(&["a"]), ..Seen::default() };
        assert!(lines(&top, None).contains("write: .\n"));
    }

    #[test]
    fn a_directory_of_which_many_files_are_used_is_taken_as_a_whole_but_never_the_workspace() {
        let many = |prefix: &str, count: usize| -> BTreeSet<String> {
            (0..count).map(|number| format!("{prefix}f{number}")).collect()
        };
        let read = |paths: BTreeSet<String>| lines(&Seen { read: paths, ..Seen::default() }, None);
        assert!(read(many("a/b/", 5)).starts_with("read: a/b\n"));
        assert!(read(many("a/b/", 4)).starts_with("read: a/b/f0 a/b/f1 a/b/f2 a/b/f3\n"));
        assert!(read(many("", 9)).starts_with("read: f0 f1 f2"));
        let crates: BTreeSet<String> =
            (0..9).flat_map(|number| many(&format!("crates/c{number}/src/"), 9)).collect();
        assert!(read(crates).starts_with("read: crates/c0/src crates/c1/src crates/c2/src "));
        let scattered: BTreeSet<String> = (0..100).map(|number| format!("top/d{number}/f")).collect();
        assert!(read(scattered).starts_with("read: top\n"));
        assert!(read(many("", 99)).starts_with("read: .\n"));
    }

    #[test]
    fn names_that_a_pin_cannot_hold_are_granted_by_their_directory_and_others_are_quoted() {
        let seen = Seen { read: set(&["a/[x]", "b/with space", "none", "c/#1"]), ..Seen::default() };
        assert!(lines(&seen, None).starts_with("read: a \"b/with space\" c/#1 ./none\n"));
    }

    #[test]
    fn what_an_earlier_pin_allows_and_denies_stays() {
        let earlier = "read: docs src/a\nwrite: out\nexecute: shell\ndeny: network read-secrets\n\
                       deny-path: deploy/\ndeny-verb: \"git push\"\nconnect: crates.io\n";
        let seen = Seen {
            read: set(&["src/a", "src/b", "docs/x"]),
            network: true,
            hosts: set(&["example.org"]),
            ..Seen::default()
        };
        assert_eq!(
            lines(&seen, Some(earlier)),
            "read: docs src/a src/b\nwrite: out\nexecute: shell\n\
             deny: write-kernel modify-governance read-secrets spawn-agent\n\
             connect: crates.io example.org\ndeny-path: deploy/\ndeny-verb: \"git push\"\n"
        );
    }
}
