//! What a command line runs, as far as a `deny-verb:` rule needs to know.
//!
//! A guard rail against a careless agent, not a wall against a hostile one: a shell can hide a command in ways that
//! no reading of its text reveals. The wall is the sandbox. So this errs towards finding a command that is not run
//! (quotes are ignored), and does not try to be a shell.

use std::collections::BTreeSet;

/// Most words of a denied verb.
pub(crate) const MAX_VERB_WORDS: usize = 8;

/// Words that run the command after them.
const WRAPPERS: [&str; 27] = [
    "!", "bash", "builtin", "command", "dash", "do", "doas", "elif", "else", "env", "eval", "exec", "if",
    "nice", "nohup", "setsid", "sh", "stdbuf", "sudo", "then", "time", "timeout", "until", "while", "xargs",
    "zsh", "ionice",
];

/// The form in which verbs are compared: lower case, no quotes, one space between words.
pub(crate) fn normalise(verb: &str) -> String {
    let verb: String = verb.chars().filter(|c| !is_quote(*c)).collect();
    let words: Vec<String> = verb.split_whitespace().map(str::to_lowercase).collect();
    words.join(" ")
}

/// Calls `seen` with each verb of the command line: for `cd x && sudo git push` it sees `cd`, `cd x`, `sudo`,
/// `sudo git`, `sudo git push`, `git`, `git push`.
pub(crate) fn each_verb(command: &str, mut seen: impl FnMut(&str)) {
    let joined = command.replace("\\\n", " ");
    let bare: String = joined.chars().filter(|c| !is_quote(*c)).collect();
    for segment in bare.to_lowercase().split([';', '&', '|', '\n', '(', ')', '{', '}', '`']) {
        let words: Vec<&str> = segment.split_whitespace().collect();
        let mut rest = words.as_slice();
        let mut wrapped = false;
        while let [first, after @ ..] = rest {
            prefixes(rest, &mut seen);
            if !stands_before(program(first), wrapped) && !is_assignment(first) {
                break;
            }
            wrapped |= WRAPPERS.contains(&program(first));
            rest = after;
        }
    }
}

/// Calls `seen` with the first word, the first two, and so on.
fn prefixes(words: &[&str], seen: &mut impl FnMut(&str)) {
    let mut verb = String::new();
    for word in words.iter().take(MAX_VERB_WORDS) {
        if verb.is_empty() {
            verb.push_str(program(word));
        } else {
            verb.push(' ');
            verb.push_str(word);
        }
        seen(&verb);
    }
}

/// The name of a program without its directory.
fn program(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

/// Whether the program that runs is still to come: this is a wrapper, or an option or a number of one.
fn stands_before(word: &str, wrapped: bool) -> bool {
    WRAPPERS.contains(&word) || wrapped && word.starts_with(|c: char| c == '-' || c.is_ascii_digit())
}

/// Every verb of the command line.
pub(crate) fn verbs(command: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    each_verb(command, |verb| {
        all.insert(verb.to_owned());
    });
    all
}

const fn is_quote(c: char) -> bool {
    matches!(c, '\'' | '"' | '\\')
}

fn is_assignment(word: &str) -> bool {
    let name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    word.split_once('=').is_some_and(|(left, _)| !left.is_empty() && left.chars().all(name))
}
