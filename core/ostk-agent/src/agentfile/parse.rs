//! From directives to an [`Agentfile`]. Every mistake is an error with its place, its directive and a hint where there
//! is one; nothing is passed over, and all mistakes of a file are found in one go.

use super::{
    Agentfile, AgentfileError, Attest, FILE, HealthCheck, Isolation, Lifetime, Limits, RestartRule,
    ToolGrant, Use,
    lines::{self, Line, clip, nearest},
    work,
};

/// The largest Agentfile in bytes and in lines: a hundred times what people write, small enough to parse at once.
pub(super) const MAX_BYTES: usize = 256 * 1024;
const MAX_LINES: usize = 5_000;
/// Errors reported for one file; more help nobody.
const MAX_ERRORS: usize = 100;

/// Tool classes, as the gate knows them.
const TOOLS: &[&str] = &["shell", "file:read", "file:edit", "file:write", "kernel:spawn", "kernel:secret"];
/// Directives that stand at most once.
const ONCE: &[&str] = &[
    "FROM",
    "FROM-PROFILE",
    "TASK",
    "WORK",
    "PIN",
    "ISOLATION",
    "ATTEST",
    "RESTART",
    "LIFETIME",
    "HEALTHCHECK",
];
/// The others.
const MANY: &[&str] = &["PROMPT", "TOOL", "SKILL", "LIMIT", "INTERRUPT", "BETA", "BOOT"];
/// Directives of the reference that mean nothing to a single agent.
const FOREIGN: &[(&str, &str)] = &[
    ("IDENTITY", "belongs to bench pools"),
    ("GOAL", "belongs to bench pools"),
    ("COORDINATE", "belongs to bench pools"),
];
/// Limits that stand at most once: numbers and modes.
const LIMITS_ONCE: &[&str] = &[
    "tokens",
    "budget_usd",
    "turns",
    "wall_clock",
    "tool_calls",
    "bytes_written",
    "context_pct",
    "context_window",
    "permissions",
    "destructive_ops",
    "revival_policy",
];
/// Limits whose value makes the difference.
const MODES: &[&str] = &["permissions", "destructive_ops", "revival_policy"];
/// Limits that add up.
const LIMITS_MANY: &[&str] =
    &["sandbox.read", "sandbox.readwrite", "read-path", "write-path", "connect", "verb"];
/// What `LIMIT arg.to *@example.org` begins with: the values that an argument of that name may have.
const ARGUMENT: &str = "arg.";

/// What a directive's argument lacks: message and hint.
pub(super) type Mistake = (String, Option<String>);

impl Agentfile {
    /// Parses a text. `lookup` gives the values of variables.
    ///
    /// # Errors
    /// Every mistake in the file, in order; the first 100.
    pub fn parse(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, Vec<AgentfileError>> {
        Self::parse_with_uses(text, lookup).map(|(file, _)| file)
    }

    /// Parses a text, and tells the directives that it uses, in its order: a host refuses those that it does not carry
    /// out, rather than pass over them.
    ///
    /// # Errors
    /// As [`Agentfile::parse`].
    pub fn parse_with_uses(
        text: &str,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(Self, Vec<Use>), Vec<AgentfileError>> {
        if text.len() > MAX_BYTES || text.lines().count() > MAX_LINES {
            let message = format!("is larger than {MAX_BYTES} bytes or {MAX_LINES} lines");
            return Err(vec![super::whole_file_error("Agentfile", message)]);
        }
        let (mut file, mut seen, mut errors, mut uses) =
            (Self::default(), Vec::new(), Vec::new(), Vec::new());
        for line in lines::split(text, &mut errors) {
            match file.read(&line, &mut seen, lookup) {
                Ok(name) => uses.push(Use { line: line.number, name }),
                Err((message, hint)) => {
                    let (directive, column) = (clip(line.directive), line.column);
                    errors.push(AgentfileError { line: line.number, column, directive, message, hint });
                }
            }
        }
        if !seen.iter().any(|name| name == "FROM") {
            let mut missing = super::whole_file_error("FROM", "is missing".to_owned());
            missing.hint = Some("FROM claude-sonnet-4-6".to_owned());
            errors.push(missing);
        }
        errors.extend(file.check_supervision(&uses));
        errors.sort_by_key(|error| (error.line == 0, error.line));
        errors.truncate(MAX_ERRORS);
        if errors.is_empty() { Ok((file, uses)) } else { Err(errors) }
    }

    /// Takes one directive; returns the name of its use.
    fn read(
        &mut self,
        line: &Line<'_>,
        seen: &mut Vec<String>,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<String, Mistake> {
        let name = line.directive;
        if !ONCE.contains(&name) && !MANY.contains(&name) {
            return Err(unknown_directive(name));
        }
        let text = lines::expand(&line.argument, lookup).map_err(plain)?;
        let text = lines::tidy(&text);
        let key = match name {
            "LIMIT" => format!("LIMIT {}", limit_key(&text).0),
            _ => name.to_owned(),
        };
        let once = ONCE.contains(&name) || LIMITS_ONCE.contains(&limit_key(&text).0);
        if once && seen.contains(&key) {
            return Err(plain("stands twice"));
        }
        seen.push(key);
        if text.is_empty() {
            return Err(plain("needs an argument"));
        }
        if !lines::continues(name) && text.chars().any(char::is_control) {
            return Err(plain("a control character is not allowed here"));
        }
        let used = use_name(name, &text);
        self.set(name, text).map(|()| used)
    }

    fn set(&mut self, name: &str, text: String) -> Result<(), Mistake> {
        match name {
            "FROM" => self.from = word(text)?,
            "FROM-PROFILE" => self.profile = Some(word(text)?),
            "PROMPT" => self.prompts.push(text_or_file(text)?),
            "TASK" => self.task = Some(text_or_file(text)?),
            "TOOL" => self.tools.push(tool(&text)?),
            "SKILL" => self.skills.push(word(text)?),
            "LIMIT" => self.limits.read(&text)?,
            "WORK" => self.work = text.split_whitespace().map(work::term).collect::<Result<_, _>>()?,
            "INTERRUPT" => self.interrupts.push(text),
            "PIN" => self.pin = Some(word(text)?),
            "BETA" => self.betas.push(word(text)?),
            "ISOLATION" => self.isolation = Some(one_of(&text, Isolation::ALL)?),
            "BOOT" => self.boot.push(text),
            "ATTEST" => self.attest = Some(one_of(&text, Attest::ALL)?),
            "RESTART" => self.restart = Some(RestartRule::read(&text)?),
            "LIFETIME" => self.lifetime = Some(one_of(&text, Lifetime::ALL)?),
            "HEALTHCHECK" => self.health = Some(HealthCheck::read(&text)?),
            other => return Err(unknown_directive(other)),
        }
        Ok(())
    }
}

impl Limits {
    fn read(&mut self, text: &str) -> Result<(), Mistake> {
        let (key, value) = limit_key(text);
        match key {
            "turns" => self.turns = Some(number(key, value, u64::MAX)?),
            "tokens" => self.tokens = Some(number(key, value, u64::MAX)?),
            "wall_clock" => self.wall_clock_s = Some(number(key, value, u64::MAX)?),
            "tool_calls" => self.tool_calls = Some(number(key, value, u64::MAX)?),
            "bytes_written" => self.bytes_written = Some(number(key, value, u64::MAX)?),
            "context_pct" => self.context_pct = Some(number(key, value, 100)?),
            "context_window" => self.context_window = Some(number(key, value, u64::MAX)?),
            "budget_usd" => self.budget_micro_usd = Some(micro_usd(value)?),
            "permissions" => self.set_mode(key, value, &["governed", "supervised", "restricted"])?,
            "destructive_ops" => self.set_mode(key, value, &["confirm", "deny", "allow"])?,
            "revival_policy" => self.set_mode(key, value, &["revive", "reap", "ask"])?,
            _ if key.len() > ARGUMENT.len() && key.starts_with(ARGUMENT) && !value.is_empty() => {
                self.other.push((key.to_owned(), value.to_owned()));
            }
            _ if !LIMITS_MANY.contains(&key) => {
                let known = [LIMITS_ONCE, LIMITS_MANY].concat();
                return Err((format!("{:?} is not known", clip(key)), Some(suggest(key, &known))));
            }
            _ if value.is_empty() => return Err(plain(format!("{key} needs a value"))),
            "verb" | "connect" => self.other.push((key.to_owned(), value.to_owned())),
            _ => self.other.push((key.to_owned(), inside(value.to_owned())?)),
        }
        Ok(())
    }

    fn set_mode(&mut self, key: &str, value: &str, known: &[&str]) -> Result<(), Mistake> {
        if !known.contains(&value) {
            let message = format!("{:?} is no value for {key}", clip(value));
            return Err((message, Some(suggest(value, known))));
        }
        self.other.push((key.to_owned(), value.to_owned()));
        Ok(())
    }
}

/// Key and value of a LIMIT, under the key's one name.
fn limit_key(text: &str) -> (&str, &str) {
    let (key, value) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (if key == "max_turns" { "turns" } else { key }, value.trim_start())
}

/// The name of a directive's use, see [`Use`].
fn use_name(directive: &str, text: &str) -> String {
    let (key, _) = limit_key(text);
    match directive {
        "FROM" if text == "auto" => "FROM auto".to_owned(),
        "ISOLATION" => format!("ISOLATION {text}"),
        "LIMIT" if MODES.contains(&key) => format!("LIMIT {text}"),
        "LIMIT" if key.starts_with(ARGUMENT) => "LIMIT arg".to_owned(),
        "LIMIT" => format!("LIMIT {key}"),
        "PROMPT" | "TASK" if text.starts_with(FILE) => format!("{directive} {FILE}"),
        _ => directive.to_owned(),
    }
}

pub(super) fn plain(message: impl Into<String>) -> Mistake {
    (message.into(), None)
}

pub(super) fn suggest(word: &str, known: &[&str]) -> String {
    match nearest(word, known) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("one of: {}", known.join(", ")),
    }
}

fn unknown_directive(name: &str) -> Mistake {
    if let Some((_, why)) = FOREIGN.iter().find(|(foreign, _)| *foreign == name) {
        return plain(*why);
    }
    let near = nearest(name, &[ONCE, MANY].concat());
    ("is not a directive".to_owned(), near.map(|near| format!("did you mean {near}?")))
}

/// A name: one word.
fn word(text: String) -> Result<String, Mistake> {
    if text.contains(char::is_whitespace) { Err(plain("takes one word")) } else { Ok(text) }
}

pub(super) fn one_of<T: Copy>(text: &str, known: &[(&str, T)]) -> Result<T, Mistake> {
    let found = known.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
    found.ok_or_else(|| (format!("{:?} is not known", clip(text)), Some(suggest(text, &words))))
}

/// A text, or the name of a file that the caller loads.
fn text_or_file(text: String) -> Result<String, Mistake> {
    match text.strip_prefix(FILE) {
        None => Ok(text),
        Some(path) if path.is_empty() || path.chars().any(char::is_control) => {
            Err(plain("file:// needs a path, alone"))
        }
        Some(path) => inside(path.to_owned()).map(|_| text),
    }
}

/// A path that cannot leave the workspace by its name; symbolic links are the gate's concern.
fn inside(path: String) -> Result<String, Mistake> {
    if path.starts_with(['/', '~']) || path.split(['/', '\\']).any(|part| part == "..") {
        let hint = "a path relative to the repository, without `..`".to_owned();
        return Err((format!("{:?} is outside the workspace", clip(&path)), Some(hint)));
    }
    Ok(path)
}

fn tool(text: &str) -> Result<ToolGrant, Mistake> {
    let example = || Some("file:edit(src/parser)".to_owned());
    let (class, pattern) = match text.split_once('(').map(|(class, rest)| (class, rest.strip_suffix(')'))) {
        None => (text, None),
        Some((class, Some(pattern))) if !pattern.trim().is_empty() => (class, Some(pattern.trim())),
        Some(_) => return Err(("a pattern stands in parentheses at the end".to_owned(), example())),
    };
    if !TOOLS.contains(&class) {
        return Err((format!("{:?} is not known", clip(class)), Some(suggest(class, TOOLS))));
    }
    let pattern = match (class, pattern) {
        (_, None) => None,
        ("shell", Some("readonly")) => Some("readonly".to_owned()),
        (class, Some(path)) if class.starts_with("file:") => Some(inside(path.to_owned())?),
        ("shell", _) => return Err(("shell takes no path".to_owned(), Some("shell(readonly)".to_owned()))),
        (class, _) => return Err(plain(format!("{class} takes no path"))),
    };
    Ok(ToolGrant { class: class.to_owned(), pattern })
}

fn number(key: &str, value: &str, max: u64) -> Result<u64, Mistake> {
    let number = value.parse::<u64>().ok().filter(|number| (1..=max).contains(number));
    let hint = if max == u64::MAX { "a whole number above 0".to_owned() } else { format!("1 to {max}") };
    number.ok_or_else(|| (format!("{:?} is no value for {key}", clip(value)), Some(hint)))
}

/// Dollars with up to six decimals, as millionths; more than zero and at most a million dollars.
fn micro_usd(text: &str) -> Result<u64, Mistake> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let parse = || -> Option<u64> {
        if fraction.len() > 6 || !digits(whole) || !digits(fraction) {
            return None;
        }
        let dollars = whole.parse::<u64>().ok()?.checked_mul(1_000_000)?;
        dollars.checked_add(format!("{fraction:0<6}").parse().ok()?)
    };
    parse().filter(|micros| (1..=1_000_000_000_000).contains(micros)).ok_or_else(|| {
        let hint = "dollars above 0, with at most six decimals: 2.50".to_owned();
        (format!("{:?} is no value for budget_usd", clip(text)), Some(hint))
    })
}
