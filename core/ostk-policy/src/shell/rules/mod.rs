//! What is dangerous about one command, by the names of programs and their arguments.
//!
//! Each family of programs has its file; a rule adds a finding with one sentence that says what would happen. Rules see
//! one command at a time; what takes more than one, such as a download piped into a shell, is noted by `reader`.

mod database;
mod escapes;
mod files;
mod git;
mod services;
mod system;
mod writes;

use super::{Danger, Finding, Simple, paths};

/// The findings about one command.
struct Judge<'a> {
    simple: &'a Simple,
    found: Vec<Finding>,
}

/// Everything dangerous about the command.
pub(super) fn judge(simple: &Simple) -> Vec<Finding> {
    let mut judge = Judge { simple, found: Vec::new() };
    files::judge(&mut judge);
    writes::judge(&mut judge);
    git::judge(&mut judge);
    database::judge(&mut judge);
    services::judge(&mut judge);
    system::judge(&mut judge);
    escapes::judge(&mut judge);
    judge.found
}

impl<'a> Judge<'a> {
    fn add(&mut self, danger: Danger, why: &str) {
        let mut command = self.simple.show();
        if command.is_empty() {
            let files = self
                .simple
                .files
                .iter()
                .map(|(writes, file)| format!("{} {}", if *writes { '>' } else { '<' }, file.show()));
            let set = self.simple.assignments.iter().map(|(name, value)| format!("{name}={}", value.show()));
            command = files.chain(set).take(4).collect::<Vec<_>>().join(" ");
        }
        self.found.push(Finding { danger, why: format!("`{command}`: {why}"), command });
    }

    fn program(&self) -> &'a str {
        self.simple.program()
    }

    /// The arguments as text, unknown parts included.
    fn texts(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.simple.texts()
    }

    /// Whether an option is given: a letter, alone or among others, or a long name.
    fn has(&self, letter: char, long: &str) -> bool {
        self.options().any(|text| match text.strip_prefix("--") {
            Some(name) => !long.is_empty() && name.split('=').next() == Some(long),
            None => text.strip_prefix('-').is_some_and(|letters| letters.contains(letter)),
        })
    }

    /// The arguments before `--` that begin with `-`.
    fn options(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.texts().take_while(|text| *text != "--").filter(|text| text.starts_with('-') && text.len() > 1)
    }

    /// The arguments that are no options.
    fn names(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let mut ended = false;
        self.texts().filter(move |text| {
            let option = !ended && text.starts_with('-') && text.len() > 1;
            ended |= *text == "--";
            !option
        })
    }

    /// Whether one of the arguments is one of these.
    fn any(&self, words: &[&str]) -> bool {
        self.texts().any(|text| words.contains(&text))
    }

    /// Whether an argument begins with one of these.
    fn any_start(&self, starts: &[&str]) -> bool {
        self.texts().any(|text| starts.iter().any(|start| text.starts_with(start)))
    }

    /// Whether the first names are these, in order: `["system", "prune"]`.
    fn sub(&self, words: &[&str]) -> bool {
        let mut names = self.names();
        words.iter().all(|word| names.next() == Some(word))
    }

    fn sensitive(&self, path: &str) -> Option<&'static str> {
        paths::sensitive_write(&self.simple.directory, path)
    }
}
