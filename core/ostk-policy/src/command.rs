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

/// Calls `seen` with each verb of the command line, shortest first: for `cd x && git push -f` it sees `cd`, `cd x`,
/// `git`, `git push`, `git push -f`.
pub(crate) fn each_verb(command: &str, mut seen: impl FnMut(&str)) {
    let joined = command.replace("\\\n", " ");
    let bare: String = joined.chars().filter(|c| !is_quote(*c)).collect();
    for segment in bare.to_lowercase().split([';', '&', '|', '\n', '(', ')', '{', '}', '`']) {
        let mut verb = String::new();
        for word in run_words(segment).take(MAX_VERB_WORDS) {
            if verb.is_empty() {
                verb.push_str(word.rsplit('/').next().unwrap_or(word));
            } else {
                verb.push(' ');
                verb.push_str(word);
            }
            seen(&verb);
        }
    }
}

/// Every verb of the command line.
pub(crate) fn verbs(command: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    each_verb(command, |verb| {
        all.insert(verb.to_owned());
    });
    all
}

/// The words of a simple command without what stands before the program: assignments, wrappers and their options.
fn run_words(segment: &str) -> impl Iterator<Item = &str> {
    let mut wrapped = false;
    segment.split_whitespace().skip_while(move |word| {
        let program = word.rsplit('/').next().unwrap_or(word);
        let is_wrapper = WRAPPERS.contains(&program);
        let is_option = wrapped && word.starts_with(|c: char| c == '-' || c.is_ascii_digit());
        wrapped |= is_wrapper;
        is_wrapper || is_option || is_assignment(word)
    })
}

const fn is_quote(c: char) -> bool {
    matches!(c, '\'' | '"' | '\\')
}

fn is_assignment(word: &str) -> bool {
    let name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    word.split_once('=').is_some_and(|(left, _)| !left.is_empty() && left.chars().all(name))
}
