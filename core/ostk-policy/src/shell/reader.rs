//! Reads command lines and collects the simple commands that they would run.
//!
//! [`Reader`] holds what is known across texts: one line may carry others, as `sh -c` and `eval` do, and each is read
//! in turn. The walk over the syntax of one text is `walk`. All recursion is bounded: by the parser's own limit on
//! nesting, and by [`MAX_DEPTH`] for texts and wrappers.

use shuck_parser::{
    ShellDialect, ShellProfile,
    parser::{ParseResult, Parser},
};

use super::{
    Danger, Finding, MAX_COMMAND_BYTES, Simple, Survey, code,
    ground::Ground,
    plain,
    walk::Walk,
    word::{FETCHED, FILE, MARKS, OUTPUT, VARIABLE, Word},
    wrappers::{self, Inner},
};

/// Most levels of syntax within one text. People write fewer than ten; the walk and the parser recurse this deep.
const MAX_NESTING: usize = 24;
/// Most levels of texts and wrappers: `sudo sh -c "ssh host 'sh -c …'"`.
const MAX_DEPTH: usize = 8;
/// Most texts read for one line.
const MAX_TEXTS: usize = 64;
/// Most commands of one line; a longer script belongs into a file.
const MAX_COMMANDS: usize = 1000;
/// Steps of the parser for each byte, and at least: several times what ordinary text takes.
const STEPS_PER_BYTE: usize = 16;
const MIN_STEPS: usize = 2_000;

/// What is read so far.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) survey: Survey,
    pub(super) ground: Ground,
    depth: usize,
    texts: usize,
    /// The text being read came from a word whose value is not wholly known.
    patched: bool,
    /// Files that this line downloads.
    downloads: Vec<String>,
}

impl Reader {
    pub(super) fn read(command: &str) -> Survey {
        let mut reader = Self::default();
        reader.text(command);
        reader.survey
    }

    pub(super) fn unreadable(&mut self, why: &str) {
        self.survey.unreadable.get_or_insert_with(|| why.to_owned());
    }

    pub(super) fn note(&mut self, danger: Danger, command: String, why: &str) {
        if self.survey.noted.len() < super::MAX_FINDINGS {
            let why = if command.is_empty() { why.to_owned() } else { format!("`{command}`: {why}") };
            self.survey.noted.push(Finding { danger, command, why });
        }
    }

    #[cfg(test)]
    pub(super) fn read_by_parser(command: &str) -> Survey {
        let mut reader = Self::default();
        reader.parsed(command);
        reader.survey
    }

    /// Reads a text as a shell would, in the variables and the directory of now.
    pub(super) fn text(&mut self, text: &str) {
        match plain::read(text).filter(|_| self.depth < MAX_DEPTH && text.len() <= MAX_COMMAND_BYTES) {
            Some(parts) => {
                let patched = std::mem::take(&mut self.patched);
                self.depth += 1;
                Walk::new(self, text).line(parts);
                self.depth -= 1;
                self.patched = patched;
            }
            None => self.parsed(text),
        }
    }

    fn parsed(&mut self, text: &str) {
        if let Some(parsed) = self.parse(text) {
            if let Some(problem) = problem(&parsed) {
                self.unreadable(&problem);
            }
            self.walk(text, &parsed);
        }
    }

    /// Reads a text that may or may not be meant for a shell.
    fn guess(&mut self, text: &str) {
        let Some(parsed) = self.parse(text) else { return };
        if problem(&parsed).is_none() {
            self.walk(text, &parsed);
        }
    }

    fn parse(&mut self, text: &str) -> Option<ParseResult> {
        let refused = match () {
            () if text.len() > MAX_COMMAND_BYTES => "it is too long",
            () if self.depth >= MAX_DEPTH => "commands within commands are nested too deeply",
            () if self.texts >= MAX_TEXTS => "it holds too many commands within commands",
            () => "",
        };
        if !refused.is_empty() {
            self.unreadable(refused);
            return None;
        }
        self.texts += 1;
        let steps = MIN_STEPS.saturating_add(STEPS_PER_BYTE.saturating_mul(text.len()));
        let profile = ShellProfile::native(ShellDialect::Bash);
        Some(Parser::with_limits_and_profile(text, MAX_NESTING, steps, profile).parse())
    }

    fn walk(&mut self, text: &str, parsed: &ParseResult) {
        let patched = std::mem::replace(&mut self.patched, text.contains(MARKS));
        self.depth += 1;
        Walk::new(self, text).statements(&parsed.file.body, None);
        self.depth -= 1;
        self.patched = patched;
    }

    /// Takes one command, and what it runs in turn.
    pub(super) fn run(&mut self, simple: Simple) {
        if self.survey.commands.len() >= MAX_COMMANDS || self.depth >= MAX_DEPTH {
            let why = "it holds too many commands, or nests them too deeply";
            return self.unreadable(why);
        }
        self.note_hidden(&simple);
        self.note_download(&simple);
        if matches!(simple.program(), "cd" | "pushd") {
            self.ground.change(simple.args());
        }
        let inner = wrappers::inner(&simple);
        self.survey.commands.push(simple);
        self.depth += 1;
        for next in inner {
            match next {
                Inner::Command(command) => self.run(command),
                Inner::Text { by, text, here: true } => self.shell(&by, &text),
                Inner::Text { by, text, here: false } => {
                    let ground = self.ground.clone();
                    self.shell(&by, &text);
                    self.ground = ground;
                }
                Inner::Code { by, text } => self.code(&by, &text),
            }
        }
        self.depth -= 1;
    }

    /// A text that a shell is given. `by` is the command that gives it.
    fn shell(&mut self, by: &str, text: &Word) {
        if self.mark_decides(by, text) {
            return;
        }
        self.text(text.as_str());
    }

    /// Code of another language: what of it looks like a command.
    fn code(&mut self, by: &str, text: &Word) {
        if text.has(FETCHED) {
            return self.note(Danger::DownloadRun, by.to_owned(), "it runs what it downloads");
        }
        for found in code::commands(text.as_str()) {
            match found {
                code::Found::Line(line) => self.guess(&line),
                code::Found::Words(words) => {
                    self.run(Simple { directory: self.ground.directory.clone(), words, ..Simple::default() });
                }
            }
        }
    }

    /// Whether the text begins with what only the run decides, which is noted.
    fn mark_decides(&mut self, by: &str, text: &Word) -> bool {
        let start = text.as_str().trim_start();
        if text.has(FETCHED) {
            self.note(Danger::DownloadRun, by.to_owned(), "it runs what it downloads");
            return true;
        }
        let hidden = start.starts_with(MARKS);
        if hidden {
            self.note(Danger::Hidden, by.to_owned(), "what it runs is known only when it runs");
        }
        hidden
    }

    /// A program whose name is not known.
    fn note_hidden(&mut self, simple: &Simple) {
        let Some(program) = simple.words.first() else { return };
        let wild = program.as_str().contains(['*', '?']) && program.as_str() != "?";
        if program.has(FETCHED) {
            self.note(Danger::DownloadRun, simple.show(), "it runs what it downloads");
        } else if program.has(OUTPUT) || program.has(FILE) || wild || self.patched && program.has(VARIABLE) {
            self.note(Danger::Hidden, simple.show(), "which program runs is known only when it runs");
        }
    }

    /// Remembers what is downloaded, and notices when it is run.
    fn note_download(&mut self, simple: &Simple) {
        let name = |word: &Word| word.as_str().trim_start_matches("./").to_owned();
        let program = simple.words.first().map(name).unwrap_or_default();
        let script = wrappers::script(simple).map(name);
        let runs = |file: &String| *file == program || script.as_ref() == Some(file);
        if self.downloads.iter().any(runs) {
            self.note(Danger::DownloadRun, simple.show(), "it runs what it downloads");
        }
        if downloads(simple) && self.downloads.len() < MAX_TEXTS {
            self.downloads.extend(wrappers::downloaded(simple).iter().map(name));
        }
    }
}

/// Whether the program fetches something from the network and prints or stores it.
pub(super) fn downloads(simple: &Simple) -> bool {
    match simple.program() {
        "curl" | "wget" | "wget2" | "fetch" | "aria2c" | "http" | "https" | "xh" | "lynx" | "ftp"
        | "tftp" | "nc" | "ncat" | "netcat" | "socat" | "telnet" => true,
        "gh" => simple.texts().next() == Some("api"),
        _ => false,
    }
}

fn problem(parsed: &ParseResult) -> Option<String> {
    let recovered = || parsed.diagnostics.first().map(|diagnostic| diagnostic.message.clone());
    match &parsed.terminal_error {
        Some(error) => Some(error.to_string()),
        None if parsed.is_ok() => None,
        None => Some(recovered().unwrap_or_else(|| "the shell's grammar does not allow it".to_owned())),
    }
}
