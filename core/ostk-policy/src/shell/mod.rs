//! What a command line would run, and what of that destroys, leaks or hides.
//!
//! The text is read by a real shell parser (`shuck-parser`), and what runs other commands is followed: `sudo`, `xargs`,
//! `find -exec`, `sh -c`, `ssh host …`, `eval`, code for python or awk. `reader` walks the syntax, `word` gives words
//! their values, `wrappers` knows who runs whom, `rules` knows what is dangerous, `verbs` serves `deny-verb:`.
//!
//! A guard rail, not a wall: a program can do anything that its name does not say. The wall is the sandbox. So what
//! cannot be read or is decided only when it runs is itself a finding.

mod code;
mod danger;
mod expand;
mod ground;
mod launchers;
mod output;
mod paths;
mod plain;
mod reader;
mod rules;
mod verbs;
mod walk;
mod word;
mod wrappers;

pub use danger::{Danger, Finding};
pub(crate) use verbs::{MAX_VERB_WORDS, each_verb, normalise, verbs};
pub use word::Word;

use reader::Reader;

/// Longest command line that is read, in bytes: that of a record. A longer one is unreadable.
pub const MAX_COMMAND_BYTES: usize = 64 * 1024;

/// Most findings of one command line; a reader of more has seen enough.
const MAX_FINDINGS: usize = 32;

/// One command that would run: a program with its arguments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Simple {
    /// The program and its arguments.
    pub(crate) words: Vec<Word>,
    /// Variables set for this command alone.
    pub(crate) assignments: Vec<(String, Word)>,
    /// Files that the shell opens for it: whether for writing, and which.
    pub(crate) files: Vec<(bool, Word)>,
    /// What it reads from standard input, when a here-document or a pipe gives it.
    pub(crate) input: Option<Word>,
    /// More arguments come when it runs: `xargs`, `find -exec`.
    pub(crate) more: bool,
    /// The directory it runs in, relative to where the line starts, as far as the line says.
    pub(crate) directory: String,
}

impl Simple {
    /// The name of the program without its directory; empty for a line of assignments or redirections alone.
    pub fn program(&self) -> &str {
        self.words.first().map_or("", |word| word.as_str().rsplit('/').next().unwrap_or_default())
    }

    /// The program as written, and its arguments.
    pub fn words(&self) -> &[Word] {
        &self.words
    }

    pub(crate) fn args(&self) -> &[Word] {
        self.words.get(1..).unwrap_or_default()
    }

    /// The arguments that are known, as text.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.args().iter().map(Word::as_str)
    }

    /// The command for a person, on one line and not too long.
    pub(crate) fn show(&self) -> String {
        danger::show(&self.words)
    }
}

/// What a command line would run. Made by [`survey`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    commands: Vec<Simple>,
    /// What was found while reading: piped downloads, hidden commands.
    noted: Vec<Finding>,
    unreadable: Option<String>,
}

/// Reads a command line as `sh -c` would run it. Never fails: what cannot be read is said by [`Survey::unreadable`].
/// Time and memory are bounded by [`MAX_COMMAND_BYTES`] and limits on nesting.
pub fn survey(command: &str) -> Survey {
    Reader::read(command)
}

impl Survey {
    /// Every simple command, wherever it stands: in pipes, substitutions, functions, behind `sudo` or `xargs`. A
    /// command that runs another is listed before it.
    pub fn commands(&self) -> &[Simple] {
        &self.commands
    }

    /// Why the text could not be read as a whole. The commands are then only some of those that would run.
    pub fn unreadable(&self) -> Option<&str> {
        self.unreadable.as_deref()
    }

    /// What of it is dangerous, at most 32 findings, each once, in the order of the commands.
    pub fn dangers(&self) -> Vec<Finding> {
        let mut found: Vec<Finding> = Vec::new();
        let unreadable = self.unreadable.iter().map(|why| Finding {
            danger: Danger::Unreadable,
            command: String::new(),
            why: format!("the command cannot be read: {why}"),
        });
        let ruled = self.commands.iter().flat_map(rules::judge);
        for finding in unreadable.chain(self.noted.iter().cloned()).chain(ruled) {
            if found.len() >= MAX_FINDINGS {
                break;
            }
            if !found.contains(&finding) {
                found.push(finding);
            }
        }
        found
    }
}
