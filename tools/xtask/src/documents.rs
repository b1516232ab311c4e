//! What the documents say about the tree: files, modules, crates, scripts and tests that they name are there.
//!
//! `tidy` calls [`check`]. That shown output is what the binary prints needs the binary: the tests in [`TESTS`] see to
//! that, and here it is only checked that they are still there.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Folders whose files are named from the root.
const TOP: &[&str] = &["core", "drivers", "surfaces", "tools", "docs", "fuzz", "bench", ".ci", ".cargo"];

/// What the documents promise and the test that holds them to it.
const TESTS: &[(&str, &str)] = &[
    ("surfaces/ostk/tests/it/book.rs", "what_the_readme_and_the_book_show_is_what_the_commands_print"),
    ("surfaces/ostk/tests/it/book.rs", "every_command_and_option_that_a_text_names_exists"),
    ("surfaces/ostk/tests/it/book.rs", "the_reference_of_commands_is_what_help_prints"),
    (
        "surfaces/ostk/tests/it/contract.rs",
        "every_event_has_a_version_and_a_schema_and_every_schema_an_event",
    ),
];

const MAP: &str = "ARCHITECTURE.md";
const BOOK: &str = "docs/src";

/// Everything that the documents say and that is not so. `crates` are pairs of floor and folder.
pub(crate) fn check(root: &Path, crates: &[(String, String)]) -> Result<Vec<String>> {
    let documents = documents(root)?;
    let mut problems = Vec::new();
    for (name, text) in &documents {
        named_files_exist(root, name, text, &mut problems);
        named_scripts_exist(name, text, &mut problems);
        links_lead_somewhere(root, name, text, &mut problems);
    }
    let map = text(&documents, MAP)?;
    every_crate_is_on_the_map(root, map, crates, &mut problems);
    invariants_have_tests(map, &sources(root)?, &mut problems);
    every_page_is_in_the_book(&documents, &mut problems)?;
    for (file, name) in TESTS {
        if !fs::read_to_string(root.join(file)).is_ok_and(|source| defines(&source, name)) {
            problems.push(format!("{file}: the test {name} is gone"));
        }
    }
    Ok(problems)
}

/// Path from the root and text of every document.
fn documents(root: &Path) -> Result<Vec<(String, String)>> {
    let mut names: Vec<String> =
        [MAP, "README.md", "CONTRIBUTING.md", "bench/README.md"].map(str::to_owned).to_vec();
    for entry in fs::read_dir(root.join(BOOK))? {
        names.push(format!("{BOOK}/{}", entry?.file_name().to_string_lossy()));
    }
    names.sort();
    let read = |name: String| {
        let text = fs::read_to_string(root.join(&name)).with_context(|| name.clone())?;
        Ok((name, text))
    };
    names.into_iter().map(read).collect()
}

fn text<'a>(documents: &'a [(String, String)], name: &str) -> Result<&'a str> {
    let found = documents.iter().find(|(known, _)| known == name);
    found.map(|(_, text)| text.as_str()).with_context(|| format!("{name} is missing"))
}

/// Words in backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2).filter(|word| !word.is_empty() && !word.contains(char::is_whitespace))
}

fn is_pattern(word: &str) -> bool {
    word.contains(['*', '<', '…', '{'])
}

fn named_files_exist(root: &Path, name: &str, text: &str, problems: &mut Vec<String>) {
    for word in quoted(text).filter(|word| !is_pattern(word)) {
        let named = word.split_once('/').is_some_and(|(first, _)| TOP.contains(&first));
        if named && !root.join(word.trim_end_matches('/')).exists() {
            problems.push(format!("{name}: there is no {word}"));
        }
    }
}

fn named_scripts_exist(name: &str, text: &str, problems: &mut Vec<String>) {
    for (_, rest) in text.match_indices("cargo xtask ").map(|(at, word)| text.split_at(at + word.len())) {
        let verb: String = rest.chars().take_while(char::is_ascii_alphabetic).collect();
        if !crate::VERBS.contains(&verb.as_str()) {
            problems.push(format!("{name}: there is no cargo xtask {verb}"));
        }
    }
}

fn links_lead_somewhere(root: &Path, name: &str, text: &str, problems: &mut Vec<String>) {
    let folder = Path::new(name).parent().unwrap_or(Path::new(""));
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    for target in targets.filter(|target| !target.contains("://")) {
        let file = target.split('#').next().unwrap_or_default();
        if !root.join(folder).join(file).exists() {
            problems.push(format!("{name}: the link to {target} leads nowhere"));
        }
    }
}

/// Each crate has an entry of the form ``- `name`: …``, and the modules that the entry names are in its `src`.
fn every_crate_is_on_the_map(
    root: &Path,
    map: &str,
    crates: &[(String, String)],
    problems: &mut Vec<String>,
) {
    for (floor, name) in crates {
        let head = format!("\n- `{name}`: ");
        let Some((_, rest)) = map.split_once(&head) else {
            problems.push(format!("{MAP}: {floor}/{name} is not on the map"));
            continue;
        };
        let entry =
            rest.split("\n- ").next().and_then(|entry| entry.split("\n\n").next()).unwrap_or_default();
        let source = root.join(floor).join(name).join("src");
        let modules = quoted(entry).filter(|word| word.ends_with(".rs") || word.ends_with('/'));
        for module in modules.filter(|module| !source.join(module).exists()) {
            problems.push(format!("{MAP}: {floor}/{name} has no src/{module}"));
        }
    }
}

/// Each invariant names a function that checks it: a test, or a check of `tidy`.
fn invariants_have_tests(map: &str, sources: &str, problems: &mut Vec<String>) {
    for invariant in map.split("**Architecture Invariant:** ").skip(1) {
        let invariant = invariant.split("\n\n").next().unwrap_or_default();
        let is_function =
            |word: &&str| word.contains('_') && word.chars().all(|c| c == '_' || c.is_ascii_alphanumeric());
        let named: Vec<&str> = quoted(invariant).filter(is_function).collect();
        if named.is_empty() {
            problems.push(format!("{MAP}: no test is named for: {}", invariant.lines().next().unwrap_or("")));
        }
        for name in named.into_iter().filter(|name| !defines(sources, name)) {
            problems.push(format!("{MAP}: no function is called {name}"));
        }
    }
}

fn defines(source: &str, name: &str) -> bool {
    source.contains(&format!("fn {name}("))
}

fn every_page_is_in_the_book(documents: &[(String, String)], problems: &mut Vec<String>) -> Result<()> {
    let summary = text(documents, &format!("{BOOK}/SUMMARY.md"))?;
    let pages = documents.iter().filter_map(|(name, _)| name.strip_prefix(BOOK)?.strip_prefix('/'));
    for page in pages.filter(|page| *page != "SUMMARY.md" && !summary.contains(&format!("]({page})"))) {
        problems.push(format!("{BOOK}/SUMMARY.md: {page} is not in it"));
    }
    Ok(())
}

/// Every source of the workspace in one text.
fn sources(root: &Path) -> Result<String> {
    let mut open: Vec<PathBuf> =
        ["core", "drivers", "surfaces", "tools"].iter().map(|floor| root.join(floor)).collect();
    let mut all = String::new();
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                all.push_str(&fs::read_to_string(path)?);
            }
        }
    }
    Ok(all)
}
