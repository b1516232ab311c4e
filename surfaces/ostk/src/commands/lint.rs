//! `ostk lint`: what is wrong with the documents that govern, each problem with its line. Works without a daemon and
//! changes nothing.
//!
//! Without files it looks at what the daemon would load and at the project's Agentfiles; a file is known by its name.

use std::{
    collections::BTreeMap,
    env, fs,
    path::Path,
    process::{Command, ExitCode},
};

use ostk_agent::Agentfile;
use ostk_policy::{
    CUSTOM_DOCUMENT, Documents, ENTITYFILE_DOCUMENT, GLOBAL_HUMANFILE_DOCUMENT, HUMANFILE_DOCUMENT,
    MAX_TEXT_BYTES, PRIMEFILE_DOCUMENT,
};
use serde_json::{Value, json};

use super::{Done, run};
use crate::{
    args::Lint,
    connect,
    failure::Failure,
    output::{Output, Paint},
};

/// Longest part of a line that is shown, in characters.
const MAX_SHOWN: usize = 160;

/// A problem or a warning.
struct Finding {
    /// As printed.
    file: String,
    line: usize,
    /// 0 when only the line is known.
    column: usize,
    error: bool,
    message: String,
    hint: Option<String>,
    /// The line, when there is one.
    text: Option<String>,
}

/// The texts looked at, by what they are printed as.
#[derive(Default)]
struct Looked {
    texts: BTreeMap<String, String>,
    findings: Vec<Finding>,
}

pub(crate) fn lint(args: &Lint, output: &Output) -> Done {
    let mut looked = Looked::default();
    if args.files.is_empty() {
        looked.project()?;
    }
    for file in &args.files {
        looked.file(file)?;
    }
    let errors = looked.findings.iter().filter(|finding| finding.error).count();
    let warnings = looked.findings.len() - errors;
    let files: Vec<&String> = looked.texts.keys().collect();
    let findings: Vec<Value> = looked.findings.iter().map(Finding::to_json).collect();
    let value = json!({ "files": files, "errors": errors, "warnings": warnings, "findings": findings });
    output.show(&value, |output| {
        let mut lines: Vec<String> = looked.findings.iter().map(|finding| finding.print(output)).collect();
        lines.push(format!(
            "{} looked at: {}, {}",
            count(files.len(), "file"),
            count(errors, "error"),
            count(warnings, "warning")
        ));
        lines.join("\n")
    });
    Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Whether git tracks something at or below a path; not where there is no git.
fn is_tracked(root: &Path, path: &str) -> bool {
    let mut git = Command::new("git");
    git.arg("-C").arg(root).args(["ls-files", "--", &format!(":(literal){path}")]);
    git.output().is_ok_and(|output| output.status.success() && !output.stdout.is_empty())
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

impl Looked {
    /// Every document that the daemon would load, and the project's Agentfiles.
    fn project(&mut self) -> Result<(), Failure> {
        let project = connect::project()?;
        let state = project.state_dir();
        self.documents(&ostk_daemon::read_documents(&state), &|document| match document {
            GLOBAL_HUMANFILE_DOCUMENT => document.to_owned(),
            _ => near(&state.join(document)),
        });
        self.weak_secrets(&state);
        self.unserved_models();
        self.tracked_although_denied(project.root());
        let mut agents = vec![project.root().join("Agentfile")];
        for dir in ["agents", "profiles"] {
            let entries = fs::read_dir(state.join(dir)).into_iter().flatten().flatten();
            agents.extend(entries.map(|entry| entry.path()).filter(|path| is_agentfile(path)));
        }
        agents.sort();
        for agent in agents.iter().filter(|path| path.is_file()) {
            self.agentfile(agent)?;
        }
        Ok(())
    }

    /// Secrets that are listed and have values that are not masked, at the line that lists each.
    fn weak_secrets(&mut self, state: &Path) {
        for (name, why) in super::secret::weak(state) {
            let lists = |(file, text): (&String, &String)| {
                let at = text.lines().position(|line| line.split_whitespace().any(|word| word == name))?;
                Some((file.clone(), at + 1, nth(text, at + 1)))
            };
            let humanfile = |entry: &(&String, &String)| entry.0.ends_with(HUMANFILE_DOCUMENT);
            let Some((file, line, text)) = self.texts.iter().filter(humanfile).find_map(lists) else {
                continue;
            };
            let message = format!("{name} is not masked in what agents read, for {why}");
            let hint = Some("take a longer secret".to_owned());
            self.findings.push(Finding { file, line, column: 0, error: false, message, hint, text });
        }
    }

    /// Models that a HUMANFILE names and that nobody serves.
    fn unserved_models(&mut self) {
        for (file, text) in self.texts.iter().filter(|(file, _)| file.ends_with(HUMANFILE_DOCUMENT)) {
            let named = text.lines().enumerate().filter_map(|(at, line)| {
                let (key, model) = line.split_once(char::is_whitespace)?;
                let model = model.trim().trim_matches('"');
                ["MODEL", "FALLBACK"].contains(&key).then_some((at + 1, line, model))
            });
            for (at, line, model) in named {
                let Err(problem) = ostk_daemon::key_of_model(model) else { continue };
                let (message, hint) = problem.split_once("; ").unwrap_or((&problem, ""));
                self.findings.push(Finding {
                    file: file.clone(),
                    line: at,
                    column: 0,
                    error: false,
                    message: message.to_owned(),
                    hint: Some(hint.to_owned()).filter(|hint| !hint.is_empty()),
                    text: Some(line.to_owned()),
                });
            }
        }
    }

    /// Paths that a pin denies and git tracks: their bytes are in git's objects too.
    fn tracked_although_denied(&mut self, root: &Path) {
        for (file, text) in self.texts.iter().filter(|(file, _)| file.ends_with("pin.caps")) {
            let denied = text
                .lines()
                .enumerate()
                .filter_map(|(at, line)| Some((at + 1, line, line.trim_start().strip_prefix("deny-path:")?)));
            for (at, line, values) in denied {
                let paths = values.split_whitespace().map(|path| path.trim_matches('"'));
                self.findings.extend(paths.filter(|path| is_tracked(root, path)).map(|path| Finding {
                    file: file.clone(),
                    line: at,
                    column: 0,
                    error: false,
                    message: format!(
                        "git tracks {path}, so commands under this pin do not see git's objects either"
                    ),
                    hint: Some("`read: . .git/objects` grants them all the same".to_owned()),
                    text: Some(line.to_owned()),
                }));
            }
        }
    }

    /// One file, by its name.
    fn file(&mut self, path: &Path) -> Result<(), Failure> {
        if is_agentfile(path) {
            return self.agentfile(path);
        }
        let text = read(path)?;
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let mut documents = Documents::default();
        match name {
            "pin.caps" => {
                let pin = path.parent().and_then(|dir| dir.file_name()?.to_str()).unwrap_or("pin");
                documents.pins.insert(pin.to_owned(), text);
            }
            HUMANFILE_DOCUMENT => documents.humanfile = Some(text),
            ".HUMANFILE" => documents.global_humanfile = Some(text),
            PRIMEFILE_DOCUMENT => documents.primefile = Some(text),
            ENTITYFILE_DOCUMENT => documents.entityfile = Some(text),
            _ if name.ends_with(".cedar") => documents.custom = Some(text),
            _ if [".yaml", ".yml"].iter().any(|end| name.ends_with(end)) => {
                documents.packs.insert(name.to_owned(), text);
            }
            _ => {
                return Err(Failure::usage(format!("{}: not known by its name", path.display())).hint(format!(
                    "pin.caps, *.cedar, *.yaml, HUMANFILE, .primefile, ENTITYFILE, Agentfile or *.af; {CUSTOM_DOCUMENT} is the operator's"
                )));
            }
        }
        let shown = path.display().to_string();
        self.documents(&documents, &|_| shown.clone());
        self.unserved_models();
        Ok(())
    }

    fn documents(&mut self, documents: &Documents, place: &dyn Fn(&str) -> String) {
        let texts: BTreeMap<String, &str> = documents.texts().collect();
        let found = ostk_policy::lint(documents);
        let line = |document: &str, line: usize| texts.get(document).and_then(|text| nth(text, line));
        self.findings.extend(found.errors.iter().map(|error| Finding {
            file: place(&error.document),
            line: error.line,
            column: error.column,
            error: true,
            message: error.message.clone(),
            hint: error.hint.clone(),
            text: line(&error.document, error.line),
        }));
        self.findings.extend(found.lints.iter().map(|lint| Finding {
            file: place(&lint.document),
            line: lint.line,
            column: 0,
            error: false,
            message: lint.message.clone(),
            hint: None,
            text: line(&lint.document, lint.line),
        }));
        self.texts.extend(texts.into_iter().map(|(document, text)| (place(&document), text.to_owned())));
    }

    fn agentfile(&mut self, path: &Path) -> Result<(), Failure> {
        let (text, file) = (read(path)?, near(path));
        let errors = match Agentfile::parse_with_uses(&text, &|name| env::var(name).ok()) {
            Ok((_, uses)) => run::refused(uses),
            Err(errors) => errors,
        };
        self.findings.extend(errors.into_iter().map(|error| Finding {
            file: file.clone(),
            line: error.line.max(1),
            column: error.column,
            error: true,
            message: format!("{}: {}", error.directive, error.message),
            hint: error.hint,
            text: nth(&text, error.line),
        }));
        self.texts.insert(file, text);
        Ok(())
    }
}

impl Finding {
    fn to_json(&self) -> Value {
        let severity = if self.error { "error" } else { "warning" };
        let column = (self.column > 0).then_some(self.column);
        json!({ "file": self.file, "line": self.line, "column": column, "severity": severity,
            "message": self.message, "hint": self.hint })
    }

    /// `file:line:column: error: message`, the line with a mark below it, and the hint.
    fn print(&self, output: &Output) -> String {
        let (word, paint) = if self.error { ("error", Paint::Red) } else { ("warning", Paint::Yellow) };
        let column = if self.column > 0 { format!(":{}", self.column) } else { String::new() };
        let head = format!("{}:{}{column}", self.file, self.line);
        let mut lines = vec![format!(
            "{}: {} {}",
            output.paint(Paint::Bold, &head),
            output.paint(paint, &format!("{word}:")),
            self.message
        )];
        if let Some(text) = &self.text {
            let number = format!("{:>5}", self.line);
            // Control characters and tabs take one column each, so that the mark stands right and nothing else happens.
            let shown: String =
                text.chars().take(MAX_SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
            lines.push(format!("{} {shown}", output.paint(Paint::Dim, &format!("{number} |"))));
            if (1..=MAX_SHOWN).contains(&self.column) {
                let blank = " ".repeat(self.column - 1);
                lines.push(format!(
                    "{} {blank}{}",
                    output.paint(Paint::Dim, "      |"),
                    output.paint(paint, "^")
                ));
            }
        }
        lines.extend(
            self.hint.as_ref().map(|hint| format!("      {} {hint}", output.paint(Paint::Cyan, "Hint:"))),
        );
        lines.join("\n")
    }
}

fn nth(text: &str, line: usize) -> Option<String> {
    text.lines().nth(line.checked_sub(1)?).map(str::to_owned)
}

fn is_agentfile(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name == "Agentfile" || name.ends_with(".af") || name.ends_with(".Agentfile")
}

/// A path as a person would type it: from the current directory where it lies below.
fn near(path: &Path) -> String {
    let here = env::current_dir().and_then(|dir| dir.canonicalize()).unwrap_or_default();
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    real.strip_prefix(&here).map_or(path, Path::new).display().to_string()
}

fn read(path: &Path) -> Result<String, Failure> {
    let refuse = |reason: String| Failure::check(format!("{}: {reason}", path.display()));
    let metadata = fs::metadata(path).map_err(|error| refuse(error.to_string()))?;
    if !metadata.is_file() || metadata.len() > MAX_TEXT_BYTES as u64 {
        return Err(refuse(format!("not a file of at most {MAX_TEXT_BYTES} bytes")));
    }
    fs::read_to_string(path).map_err(|error| refuse(error.to_string()))
}
