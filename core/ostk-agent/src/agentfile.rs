//! The Agentfile: what an agent is, one directive a line.
//!
//! `#` starts a comment line; indented lines continue `TASK` and `PROMPT`; `${VAR}` and `${VAR:-default}` expand through
//! the caller's lookup. Every mistake is an error with its line, its directive and a hint; nothing is ignored.

use serde::{Deserialize, Serialize};

/// The largest Agentfile in bytes and in lines.
const MAX_BYTES: usize = 256 * 1024;
const MAX_LINES: usize = 5_000;
/// Tool classes, as the gate knows them.
const TOOLS: &[&str] = &["shell", "file:read", "file:edit", "file:write"];
/// Every directive.
const DIRECTIVES: &[&str] = &[
    "FROM",
    "FROM-PROFILE",
    "PROMPT",
    "TASK",
    "TOOL",
    "SKILL",
    "LIMIT",
    "WORK",
    "INTERRUPT",
    "PIN",
    "BETA",
    "ISOLATION",
    "BOOT",
    "ATTEST",
    "RESTART",
];
const LIMITS: &[&str] = &[
    "tokens",
    "budget_usd",
    "turns",
    "max_turns",
    "wall_clock",
    "context_pct",
    "permissions",
    "destructive_ops",
    "revival_policy",
    "sandbox.read",
    "sandbox.readwrite",
    "read-path",
    "write-path",
    "verb",
];

/// A parsed Agentfile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agentfile {
    /// The model.
    pub from: String,
    /// A profile that this file overrides.
    pub profile: Option<String>,
    /// System prompt parts, in order; `file://` parts are paths that the caller loads.
    pub prompts: Vec<String>,
    /// The first user message.
    pub task: Option<String>,
    /// What it may use; empty grants whatever the pin leaves.
    pub tools: Vec<ToolGrant>,
    /// Instruction bundles.
    pub skills: Vec<String>,
    /// Budgets and modes.
    pub limits: Limits,
    /// The capability profile.
    pub pin: Option<String>,
    /// Work filters, each `field op value,value`.
    pub work: Option<String>,
    /// Wake triggers.
    pub interrupts: Vec<String>,
    /// Vendor features.
    pub betas: Vec<String>,
    /// `none`, `nono`, `docker` or `firecracker`.
    pub isolation: Option<String>,
    /// A command before the first turn.
    pub boot: Option<String>,
    /// How the file is attested.
    pub attest: Option<String>,
    /// An OTP restart strategy.
    pub restart: Option<String>,
}

/// A tool class and the paths it is granted for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolGrant {
    /// `shell`, `file:read`, `file:edit` or `file:write`.
    pub class: String,
    /// An anchored path prefix or glob; `None` is everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
}

/// Budgets and modes. `None` is unlimited, or the default mode.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Answered model calls.
    pub turns: Option<u64>,
    /// Prompt and reply tokens.
    pub tokens: Option<u64>,
    /// Seconds since the spawn.
    pub wall_clock_s: Option<u64>,
    /// Millionths of a dollar.
    pub budget_micro_usd: Option<u64>,
    /// Percent of the context window that may be used.
    pub context_pct: Option<u64>,
    /// Other limits as they stand: key and value, in order.
    pub other: Vec<(String, String)>,
}

/// What is wrong with an Agentfile, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {directive}: {message}{}", .hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default())]
pub struct AgentfileError {
    /// Counted from 1; 0 is the file as a whole.
    pub line: usize,
    /// The directive, or the word in its place.
    pub directive: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

impl Agentfile {
    /// Parses a text. `lookup` gives the values of variables.
    ///
    /// # Errors
    /// Every mistake in the file, in order.
    pub fn parse(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, Vec<AgentfileError>> {
        if text.len() > MAX_BYTES || text.lines().count() > MAX_LINES {
            let message = format!("larger than {MAX_BYTES} bytes or {MAX_LINES} lines");
            return Err(vec![error(0, "Agentfile", message, None)]);
        }
        let mut parser = Parser { file: Self::default(), errors: Vec::new(), seen: Vec::new() };
        for (line, directive, argument) in logical_lines(text, &mut parser.errors) {
            match expand(&argument, lookup) {
                Ok(argument) => parser.directive(line, &directive, argument.trim()),
                Err(message) => parser.errors.push(error(line, &directive, message, None)),
            }
        }
        if parser.file.from.is_empty() {
            parser.errors.push(error(
                0,
                "FROM",
                "is missing".to_owned(),
                Some("FROM claude-sonnet-4-6".to_owned()),
            ));
        }
        if parser.errors.is_empty() { Ok(parser.file) } else { Err(parser.errors) }
    }

    /// The system prompt: the parts in order, one blank line between them.
    pub fn system_prompt(&self) -> String {
        self.prompts.join("\n\n")
    }
}

struct Parser {
    file: Agentfile,
    errors: Vec<AgentfileError>,
    seen: Vec<String>,
}

impl Parser {
    fn directive(&mut self, line: usize, directive: &str, argument: &str) {
        const ONCE: &[&str] =
            &["FROM", "FROM-PROFILE", "TASK", "WORK", "PIN", "ISOLATION", "BOOT", "ATTEST", "RESTART"];
        if ONCE.contains(&directive) {
            if self.seen.iter().any(|seen| seen == directive) {
                return self.fail(line, directive, "stands twice", None);
            }
            self.seen.push(directive.to_owned());
        }
        if argument.is_empty() {
            return self.fail(line, directive, "needs an argument", None);
        }
        let text = argument.to_owned();
        match directive {
            "FROM" => self.file.from = text,
            "FROM-PROFILE" => self.file.profile = Some(text),
            "PROMPT" => self.prompt(line, text),
            "TASK" => self.file.task = Some(text),
            "TOOL" => self.tool(line, &text),
            "SKILL" => self.file.skills.push(text),
            "LIMIT" => self.limit(line, &text),
            "WORK" => self.file.work = Some(text),
            "INTERRUPT" => self.file.interrupts.push(text),
            "PIN" => self.file.pin = Some(text),
            "BETA" => self.file.betas.push(text),
            "ISOLATION" => {
                self.file.isolation =
                    self.one_of(line, directive, &text, &["none", "nono", "docker", "firecracker"])
            }
            "BOOT" => self.file.boot = Some(text),
            "ATTEST" => {
                self.file.attest =
                    self.one_of(line, directive, &text, &["ed25519", "gpg", "sigstore", "both"])
            }
            "RESTART" => {
                let strategies = ["one_for_one", "one_for_all", "rest_for_one", "simple_one_for_one"];
                self.file.restart = self.one_of(line, directive, &text, &strategies);
            }
            unknown => {
                let hint = nearest(unknown, DIRECTIVES).map(|known| format!("did you mean {known}?"));
                self.fail(line, unknown, "is not a directive", hint);
            }
        }
    }

    fn fail(&mut self, line: usize, directive: &str, message: &str, hint: Option<String>) {
        self.errors.push(error(line, directive, message.to_owned(), hint));
    }

    fn one_of(&mut self, line: usize, directive: &str, text: &str, known: &[&str]) -> Option<String> {
        if known.contains(&text) {
            return Some(text.to_owned());
        }
        self.fail(
            line,
            directive,
            &format!("{text:?} is not known"),
            Some(format!("one of: {}", known.join(", "))),
        );
        None
    }

    fn prompt(&mut self, line: usize, text: String) {
        let outside =
            text.strip_prefix("file://").is_some_and(|path| path.split('/').any(|part| part == ".."));
        if outside {
            return self.fail(line, "PROMPT", "a path may not contain `..`", None);
        }
        self.file.prompts.push(text);
    }

    fn tool(&mut self, line: usize, text: &str) {
        let (class, pattern) = match text.split_once('(') {
            None => (text, None),
            Some((class, rest)) => match rest.strip_suffix(')') {
                Some(pattern) if !pattern.is_empty() => (class, Some(pattern.to_owned())),
                _ => {
                    return self.fail(
                        line,
                        "TOOL",
                        "the pattern needs both parentheses",
                        Some("file:edit(src/parser)".to_owned()),
                    );
                }
            },
        };
        if !TOOLS.contains(&class) {
            let hint = nearest(class, TOOLS).map_or_else(
                || format!("one of: {}", TOOLS.join(", ")),
                |known| format!("did you mean {known}?"),
            );
            return self.fail(line, "TOOL", &format!("{class:?} is not known"), Some(hint));
        }
        let climbs = pattern
            .as_ref()
            .is_some_and(|pattern| pattern.starts_with('/') || pattern.split('/').any(|part| part == ".."));
        if climbs {
            return self.fail(line, "TOOL", "the pattern must stay inside the workspace", None);
        }
        self.file.tools.push(ToolGrant { class: class.to_owned(), pattern });
    }

    fn limit(&mut self, line: usize, text: &str) {
        let (key, value) =
            text.split_once(char::is_whitespace).map_or((text, ""), |(key, value)| (key, value.trim()));
        if !LIMITS.contains(&key) {
            let hint = nearest(key, LIMITS).map(|known| format!("did you mean {known}?"));
            return self.fail(line, "LIMIT", &format!("{key:?} is not known"), hint);
        }
        let number = value.parse::<u64>().ok().filter(|number| *number > 0);
        let limits = &mut self.file.limits;
        let fits = match key {
            "turns" | "max_turns" => set(&mut limits.turns, number),
            "tokens" => set(&mut limits.tokens, number),
            "wall_clock" => set(&mut limits.wall_clock_s, number),
            "context_pct" => set(&mut limits.context_pct, number.filter(|percent| *percent <= 100)),
            "budget_usd" => set(&mut limits.budget_micro_usd, micro_usd(value)),
            _ if value.is_empty() => false,
            "permissions" => ["governed", "supervised", "restricted"].contains(&value),
            "destructive_ops" => ["confirm", "deny", "allow"].contains(&value),
            "revival_policy" => ["revive", "reap", "ask"].contains(&value),
            _ => true,
        };
        if !fits {
            return self.fail(
                line,
                "LIMIT",
                &format!("{value:?} is no value for {key}"),
                Some("a limit is more than zero and finite".to_owned()),
            );
        }
        const NUMBERS: &[&str] = &["turns", "max_turns", "tokens", "wall_clock", "context_pct", "budget_usd"];
        if !NUMBERS.contains(&key) {
            limits.other.push((key.to_owned(), value.to_owned()));
        }
    }
}

fn set(slot: &mut Option<u64>, value: Option<u64>) -> bool {
    *slot = value.or(*slot);
    value.is_some()
}

/// Dollars with up to six decimals, as millionths; more than zero and at most a million dollars.
fn micro_usd(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || fraction.len() > 6 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let micros = whole
        .parse::<u64>()
        .ok()?
        .checked_mul(1_000_000)?
        .checked_add(format!("{fraction:0<6}").parse().ok()?)?;
    (1..=1_000_000_000_000).contains(&micros).then_some(micros)
}

/// Directives with their continuation lines joined: line number, directive, argument.
fn logical_lines(text: &str, errors: &mut Vec<AgentfileError>) -> Vec<(usize, String, String)> {
    let mut lines: Vec<(usize, String, String)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let number = number + 1;
        let indented = line.starts_with([' ', '\t']);
        if line.trim().is_empty() || (!indented && line.starts_with('#')) {
            continue;
        }
        if !indented {
            let (directive, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            lines.push((number, directive.to_owned(), argument.to_owned()));
            continue;
        }
        match lines.last_mut() {
            Some((_, directive, argument)) if directive == "TASK" || directive == "PROMPT" => {
                argument.push('\n');
                argument.push_str(line.trim());
            }
            _ => errors.push(error(
                number,
                line.trim(),
                "only TASK and PROMPT continue on indented lines".to_owned(),
                None,
            )),
        }
    }
    lines
}

/// Replaces `${VAR}` and `${VAR:-default}`; the result is not expanded again.
fn expand(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let (inside, tail) = after.split_once('}').ok_or("`${` without `}`")?;
        let (name, default) =
            inside.split_once(":-").map_or((inside, None), |(name, default)| (name, Some(default)));
        let value = lookup(name).or_else(|| default.map(str::to_owned));
        out.push_str(&value.ok_or_else(|| format!("the variable {name} is not set"))?);
        if out.len() > MAX_BYTES {
            return Err(format!("longer than {MAX_BYTES} bytes when expanded"));
        }
        rest = tail;
    }
    out.push_str(rest);
    Ok(out)
}

fn error(line: usize, directive: &str, message: String, hint: Option<String>) -> AgentfileError {
    AgentfileError { line, directive: directive.chars().take(80).collect(), message, hint }
}

/// The known word closest to `word`, if at most three letters differ (Levenshtein).
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    if word.len() > 32 {
        return None;
    }
    let scored =
        known.iter().map(|candidate| (distance(&word.to_lowercase(), &candidate.to_lowercase()), *candidate));
    scored.min_by_key(|(score, _)| *score).filter(|(score, _)| *score <= 3).map(|(_, candidate)| candidate)
}

fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (j, y) in b.chars().enumerate() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX - 1);
            let best = (at(&row, j) + usize::from(x != y)).min(at(&row, j + 1) + 1).min(at(&next, j) + 1);
            next.push(best);
        }
        row = next;
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Agentfile, Vec<String>> {
        Agentfile::parse(text, &|name| (name == "HOME_MODEL").then(|| "claude-x".to_owned()))
            .map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_example_of_the_book_parses() {
        let file = parse(
            "# a fixer\nFROM ${HOME_MODEL}\nTASK Make the parser tests pass.\n  Touch nothing outside src/parser.\n\
             TOOL shell\nTOOL file:edit(src/parser)\nLIMIT budget_usd 2.50\nLIMIT destructive_ops deny\nPIN fixer\n\
             WORK priority>=P1 tags=parser,lexer\nISOLATION nono\nRESTART one_for_one\nPROMPT ${NAME:-be brief}\n",
        )
        .unwrap();
        assert_eq!(file.from, "claude-x");
        assert_eq!(
            file.task.as_deref(),
            Some("Make the parser tests pass.\nTouch nothing outside src/parser.")
        );
        assert_eq!(file.tools.len(), 2);
        assert_eq!(file.tools[1].pattern.as_deref(), Some("src/parser"));
        assert_eq!(file.limits.budget_micro_usd, Some(2_500_000));
        assert_eq!(file.system_prompt(), "be brief");
    }

    #[test]
    fn every_mistake_is_named_with_its_line() {
        let errors = parse("FORM x\nTOOL shel\nLIMIT budget_usd 0\nLIMIT turn 3\nPIN a\nPIN b\nTOOL file:edit(../x)\n  stray\n").unwrap_err();
        for wanted in [
            "line 1: FORM: is not a directive (did you mean FROM?)",
            "line 2: TOOL: \"shel\" is not known (did you mean shell?)",
            "line 3: LIMIT: \"0\" is no value for budget_usd",
            "line 4: LIMIT: \"turn\" is not known (did you mean turns?)",
            "line 6: PIN: stands twice",
            "line 7: TOOL: the pattern must stay inside the workspace",
            "line 8: stray: only TASK and PROMPT continue",
            "FROM: is missing",
        ] {
            assert!(errors.iter().any(|error| error.contains(wanted)), "{wanted} not in {errors:#?}");
        }
    }
}
