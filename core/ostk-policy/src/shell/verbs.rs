//! What a command line runs, as far as a `deny-verb:` rule needs to know: `git`, `git push`, `git push -f`.
//!
//! From the commands that the survey finds. Where the text cannot be read, or not wholly, the words are also split as
//! they stand, quotes ignored: a denied verb is then found rather than missed.

use std::collections::BTreeSet;

use super::{Simple, Survey, wrappers::operands};

/// Most words of a denied verb.
pub(crate) const MAX_VERB_WORDS: usize = 8;

/// The form in which verbs are compared: lower case, no quotes, one space between words.
pub(crate) fn normalise(verb: &str) -> String {
    let verb: String = verb.chars().filter(|c| !is_quote(*c)).collect();
    let words: Vec<String> = verb.split_whitespace().map(str::to_lowercase).collect();
    words.join(" ")
}

/// Calls `seen` with each verb of the command line, whose survey this is, some more than once: for `cd x && sudo git -C a push` it sees `cd`,
/// `cd x`, `sudo`, `sudo git`, …, `git`, `git -c`, …, `git push`.
pub(crate) fn each_verb(command: &str, survey: &Survey, mut seen: impl FnMut(&str)) {
    for simple in survey.commands() {
        each_of(simple, &mut seen);
    }
    if !plain(survey) {
        each_by_words(command, &mut seen);
    }
}

/// Every verb of the command line.
pub(crate) fn verbs(command: &str, survey: &Survey) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    each_verb(command, survey, |verb| {
        all.insert(verb.to_owned());
    });
    all
}

/// Whether the survey saw all there is.
fn plain(survey: &Survey) -> bool {
    survey.unreadable().is_none() && survey.noted.is_empty()
}

fn each_of(simple: &Simple, seen: &mut impl FnMut(&str)) {
    let program = simple.program().to_lowercase();
    if program.is_empty() {
        return;
    }
    prefixes(&program, simple.texts(), seen);
    let (short, long) = global_options(&program);
    let rest = operands(simple.args(), short, long);
    if !rest.is_empty() && rest.len() < simple.args().len() {
        prefixes(&program, rest.iter().map(super::Word::as_str), seen);
    }
}

/// The options with a value that may stand before a subcommand: `git -C a push` is also `git push`.
fn global_options(program: &str) -> (&'static str, &'static [&'static str]) {
    match program {
        "git" => ("Cc", &["git-dir", "work-tree", "namespace", "exec-path"]),
        "docker" | "podman" => ("cHl", &["context", "host", "config", "log-level"]),
        "kubectl" => ("ns", &["namespace", "context", "kubeconfig", "cluster", "server", "token", "user"]),
        "aws" => ("", &["profile", "region", "output", "endpoint-url"]),
        "cargo" => ("C", &["config", "color"]),
        "npm" | "pnpm" | "yarn" => ("C", &["prefix", "dir", "cwd", "filter"]),
        "gh" | "glab" => ("R", &["repo"]),
        "make" => ("CfIjo", &["directory", "file", "jobs"]),
        _ => ("", &[]),
    }
}

/// Calls `seen` with the program, the program and one word, and so on.
fn prefixes<'a>(program: &str, rest: impl Iterator<Item = &'a str>, seen: &mut impl FnMut(&str)) {
    let mut verb = program.to_owned();
    seen(&verb);
    for word in rest.take(MAX_VERB_WORDS - 1) {
        verb.push(' ');
        verb.push_str(&word.to_lowercase());
        seen(&verb);
    }
}

/// Words that run the command after them.
const WRAPPERS: [&str; 27] = [
    "!", "bash", "builtin", "command", "dash", "do", "doas", "elif", "else", "env", "eval", "exec", "if",
    "nice", "nohup", "setsid", "sh", "stdbuf", "sudo", "then", "time", "timeout", "until", "while", "xargs",
    "zsh", "ionice",
];

/// The verbs of a text that is no command line, by its words alone.
fn each_by_words(command: &str, seen: &mut impl FnMut(&str)) {
    let joined = command.replace("\\\n", " ");
    let bare: String = joined.chars().filter(|c| !is_quote(*c)).collect();
    for segment in bare.to_lowercase().split([';', '&', '|', '\n', '(', ')', '{', '}', '`']) {
        let words: Vec<&str> = segment.split_whitespace().collect();
        let mut rest = words.as_slice();
        let mut wrapped = false;
        while let [first, after @ ..] = rest {
            let name = first.rsplit('/').next().unwrap_or(first);
            prefixes(name, after.iter().copied(), seen);
            if !stands_before(name, wrapped) && !is_assignment(first) {
                break;
            }
            wrapped |= WRAPPERS.contains(&name);
            rest = after;
        }
    }
}

/// Whether the program that runs is still to come: this is a wrapper, or an option or a number of one.
fn stands_before(word: &str, wrapped: bool) -> bool {
    WRAPPERS.contains(&word) || wrapped && word.starts_with(|c: char| c == '-' || c.is_ascii_digit())
}

const fn is_quote(c: char) -> bool {
    matches!(c, '\'' | '"' | '\\')
}

fn is_assignment(word: &str) -> bool {
    let name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    word.split_once('=').is_some_and(|(left, _)| !left.is_empty() && left.chars().all(name))
}
