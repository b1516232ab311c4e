//! Commands inside the code of another language: `python -c`, `perl -e`, `awk '{ system(…) }'`.
//!
//! The languages are not parsed. Their string literals are found, and when the code also holds a word that runs
//! programs or deletes files, each literal is looked at as what it would then be. So `print("rm -rf /")` is nothing and
//! `os.system("rm -rf /")` is what it does; a string that the code puts together is missed.

use super::Word;

/// Words of code that run a program.
const RUNS: [&str; 14] = [
    "system",
    "popen",
    "subprocess",
    "exec",
    "spawn",
    "child_process",
    "qx",
    "%x",
    "passthru",
    "getline",
    "Open3",
    "do shell script",
    "Invoke-Expression",
    "`",
];

/// Words of code that delete files.
const DELETES: [&str; 13] = [
    "rmtree",
    "rm_rf",
    "rm_r",
    "rmSync",
    "rmdirSync",
    "unlink",
    "os.remove",
    "removedirs",
    "File.delete",
    "remove_dir",
    "rimraf",
    "fs.rm",
    "Remove-Item",
];

/// Most literals looked at.
const MAX_LITERALS: usize = 32;

/// Something in the code that looks like a command.
pub(super) enum Found {
    /// A text for a shell.
    Line(String),
    /// A program with its arguments.
    Words(Vec<Word>),
}

/// The commands of a code.
pub(super) fn commands(code: &str) -> Vec<Found> {
    let runs = RUNS.iter().any(|word| code.contains(word)) || pipes(code);
    let deletes = DELETES.iter().any(|word| code.contains(word));
    if !runs && !deletes {
        return Vec::new();
    }
    let literals = literals(code);
    let mut found = Vec::new();
    if runs {
        found.extend(literals.iter().map(|(_, text)| Found::Line(text.clone())));
        found.extend(lists(code, &literals));
    }
    if deletes {
        let removal =
            |text: &String| ["rm", "-r"].into_iter().chain([text.as_str()]).map(Word::new).collect();
        found.extend(literals.iter().map(|(_, text)| Found::Words(removal(text))));
    }
    found
}

/// awk's `print | "command"`.
fn pipes(code: &str) -> bool {
    code.contains("| \"") || code.contains("|\"")
}

/// The string literals with the bytes they take.
fn literals(code: &str) -> Vec<(std::ops::Range<usize>, String)> {
    let mut found = Vec::new();
    let mut chars = code.char_indices();
    while let Some((start, quote)) = chars.next() {
        if !matches!(quote, '"' | '\'' | '`') || found.len() >= MAX_LITERALS {
            continue;
        }
        let mut text = String::new();
        let mut end = code.len();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => text.extend(chars.next().map(|(_, escaped)| escaped)),
                c if c == quote => {
                    end = at + c.len_utf8();
                    break;
                }
                c => text.push(c),
            }
        }
        if !text.is_empty() {
            found.push((start..end, text));
        }
    }
    found
}

/// Literals one after the other with only a comma between: the arguments of one program.
fn lists(code: &str, literals: &[(std::ops::Range<usize>, String)]) -> Vec<Found> {
    let mut lists: Vec<Vec<Word>> = Vec::new();
    let mut end = None;
    for (range, text) in literals {
        let between = end.and_then(|end| code.get(end..range.start)).map(str::trim);
        match (between, lists.last_mut()) {
            (Some("," | ", ["), Some(list)) => list.push(Word::new(text.as_str())),
            (Some(gap), Some(list)) if gap.replace(char::is_whitespace, "") == ",[" => {
                list.push(Word::new(text.as_str()))
            }
            _ => lists.push(vec![Word::new(text.as_str())]),
        }
        end = Some(range.end);
    }
    lists.into_iter().filter(|list| list.len() > 1).map(Found::Words).collect()
}
