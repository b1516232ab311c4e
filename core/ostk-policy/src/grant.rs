//! One line of an Agentfile that bounds what its agent may do: `TOOL file:edit(src/parser)`, `LIMIT write-path src`.
//!
//! A grant travels in the request because it belongs to one agent and not to the workspace. Grants of one agent add
//! up; limits restrict. The Agentfile is parsed elsewhere; a grant that is unknown or malformed here gives nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    host::{HostError, HostPattern},
    path::{PathPattern, PatternError},
    request::{Argument, Class},
    suggest::nearest,
};

/// A TOOL grant or a path LIMIT of an Agentfile.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolGrant {
    /// A tool: `shell`, `file:read`, `file:edit` (and so read), `file:write` (and so edit and read). A limit:
    /// `limit:read` for `LIMIT read-path` and `sandbox.read`, `limit:write` for `write-path` and
    /// `sandbox.readwrite`, `limit:connect` for `connect`, `limit:arg.NAME` for `arg.NAME`.
    pub class: String,
    /// An anchored path, see [`PathPattern`]; `None` is everywhere. For `shell`, only `readonly` is a pattern; for
    /// `limit:connect` a [`HostPattern`]; for an argument its text, where `*` stands for any characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
}

/// The only pattern of `shell`: commands run, and may write nothing of the workspace.
const READONLY: &str = "readonly";

/// What `LIMIT arg.NAME PATTERN` becomes: `limit:arg.NAME`.
const ARGUMENT: &str = "limit:arg.";

/// Every class of a grant but those of arguments. Starting an agent needs none, so `kernel:spawn` may be written and changes nothing.
const CLASSES: [&str; 9] = [
    "shell",
    "file:read",
    "file:edit",
    "file:write",
    "kernel:spawn",
    "kernel:secret",
    "limit:read",
    "limit:write",
    "limit:connect",
];

/// Why a text is no grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// No such class.
    #[error("no such tool: {name:?}{}", .nearest.map(|near| format!("; did you mean {near}?")).unwrap_or_default())]
    Unknown {
        /// As written.
        name: String,
        /// The closest one there is.
        nearest: Option<&'static str>,
    },
    /// `(` without `)` at the end.
    #[error("a pattern stands in parentheses at the end")]
    Parentheses,
    /// A pattern where none is understood.
    #[error("{0} takes no path; shell takes `readonly`, files and limits take a path")]
    NoPattern(String),
    /// A limit without a path.
    #[error("{0} needs a path in parentheses")]
    NeedsPattern(String),
    /// A bad path.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// A bad host.
    #[error(transparent)]
    Host(#[from] HostError),
}

impl ToolGrant {
    /// Reads a grant as an Agentfile writes it after `TOOL`: `shell`, `shell(readonly)`, `file:edit(src/**/*.rs)`.
    ///
    /// # Errors
    /// What would give nothing, or would not be the limit its author meant.
    pub fn parse(text: &str) -> Result<Self, GrantError> {
        let text = text.trim();
        let (class, pattern) = match text.split_once('(') {
            None => (text, None),
            Some((class, rest)) => (class, Some(rest.strip_suffix(')').ok_or(GrantError::Parentheses)?)),
        };
        let argument = class.strip_prefix(ARGUMENT).is_some_and(|name| !name.is_empty());
        if !argument && !CLASSES.contains(&class) {
            let name = class.chars().take(80).collect();
            return Err(GrantError::Unknown { name, nearest: nearest(class, CLASSES) });
        }
        match (class, pattern) {
            (limit, None) if limit.starts_with("limit:") => {
                return Err(GrantError::NeedsPattern(class.to_owned()));
            }
            (_, None) | ("shell", Some(READONLY)) => {}
            (_, Some(_)) if argument => {}
            ("limit:connect", Some(host)) => drop(HostPattern::parse(host)?),
            ("shell" | "kernel:spawn" | "kernel:secret", Some(_)) => {
                return Err(GrantError::NoPattern(class.to_owned()));
            }
            (_, Some(path)) => drop(PathPattern::parse(path)?),
        }
        Ok(Self { class: class.to_owned(), pattern: pattern.map(str::to_owned) })
    }

    /// Whether this grant gives `class` on `path`.
    fn covers(&self, class: Class, path: Option<&str>) -> bool {
        match (self.class.as_str(), class) {
            ("file:read", Class::FileRead)
            | ("file:edit", Class::FileRead | Class::FileEdit)
            | ("file:write", Class::FileRead | Class::FileEdit | Class::FileWrite) => self.reaches(path),
            ("shell", Class::ShellRead | Class::ShellExec) => {
                self.pattern.is_none() || self.is_readonly_shell()
            }
            ("shell", Class::ShellWrite) | ("kernel:secret", Class::KernelSecret) => self.pattern.is_none(),
            _ => false,
        }
    }

    fn reaches(&self, path: Option<&str>) -> bool {
        let Some(pattern) = &self.pattern else { return true };
        path.is_some_and(|path| PathPattern::parse(pattern).is_ok_and(|pattern| pattern.covers(path)))
    }

    pub(crate) fn is_readonly_shell(&self) -> bool {
        self.class == "shell" && self.pattern.as_deref() == Some(READONLY)
    }

    pub(crate) fn is_writing_shell(&self) -> bool {
        self.class == "shell" && self.pattern.is_none()
    }

    /// The path of a write limit, `""` for the root; `Some(None)` for a glob, which no sandbox knows.
    pub(crate) fn write_limit(&self) -> Option<Option<String>> {
        (self.class == "limit:write").then(|| {
            let pattern = PathPattern::parse(self.pattern.as_deref()?).ok()?;
            pattern.literal().map(str::to_owned)
        })
    }
}

/// Whether an Agentfile must grant the class. An agent's model, its session, its notes, reading the kernel's state and
/// starting another agent need no TOOL; a pin may still deny them.
pub(crate) const fn needs_grant(class: Class) -> bool {
    class.is_file() || class.is_shell() || matches!(class, Class::KernelSecret)
}

/// Whether any of `tools` grants `class` on `path`.
pub(crate) fn grants(tools: &[ToolGrant], class: Class, path: Option<&str>) -> bool {
    tools.iter().any(|tool| tool.covers(class, path))
}

/// Whether the limits among `tools` forbid `class` on `path`: there are limits of that kind and none reaches it.
pub(crate) fn beyond_limits(tools: &[ToolGrant], class: Class, path: Option<&str>) -> bool {
    let kind = match class {
        Class::FileRead => "limit:read",
        Class::FileEdit | Class::FileWrite => "limit:write",
        _ => return false,
    };
    let mut limits = tools.iter().filter(|tool| tool.class == kind).peekable();
    limits.peek().is_some() && !limits.any(|limit| limit.reaches(path))
}

/// Whether the limits among `tools` leave the host within reach.
pub(crate) fn reaches_host(tools: &[ToolGrant], target: &str) -> bool {
    let mut limits = tools.iter().filter(|tool| tool.class == "limit:connect").peekable();
    let reaches = |limit: &ToolGrant| {
        limit.pattern.as_deref().is_some_and(|p| HostPattern::parse(p).is_ok_and(|p| p.covers_target(target)))
    };
    limits.peek().is_none() || limits.any(reaches)
}

/// Whether an argument has limits among `tools` and none reaches it, or cannot be judged by them.
pub(crate) fn beyond_arguments(tools: &[ToolGrant], args: &BTreeMap<String, Argument>) -> bool {
    let limited = tools.iter().filter_map(|tool| tool.class.strip_prefix(ARGUMENT));
    let mut given = limited.filter_map(|name| Some((name, args.get(name)?)));
    given.any(|(name, argument)| {
        let patterns = || {
            let of = tools.iter().filter(|tool| tool.class.strip_prefix(ARGUMENT) == Some(name));
            of.filter_map(|tool| tool.pattern.as_deref())
        };
        let within = |text: &str| patterns().any(|pattern| matches_wildcard(pattern, text));
        match argument {
            Argument::Text(text) => !within(text),
            Argument::Texts(texts) => !texts.iter().all(|text| within(text)),
            Argument::Number(number) => {
                !patterns().any(|most| most.parse().is_ok_and(|most: i64| *number <= most))
            }
            Argument::Flag(flag) => !within(if *flag { "true" } else { "false" }),
            Argument::Withheld { .. } => true,
        }
    })
}

/// `*` stands for any characters; everything else for itself.
fn matches_wildcard(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut last = None;
    for part in parts {
        if let Some(previous) = last.replace(part) {
            let Some((_, after)) = rest.split_once(previous) else { return false };
            rest = after;
        }
    }
    last.map_or(rest.is_empty(), |last: &str| rest.ends_with(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_any_characters_and_nothing_else_does() {
        for (pattern, text, matches) in [
            ("ada@example.org", "ada@example.org", true),
            ("*@example.org", "ada@example.org", true),
            ("*@example.org", "ada@example.org.evil.net", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXc", false),
            ("a*a", "a", false),
            ("*", "", true),
            ("a.c", "abc", false),
            ("", "a", false),
        ] {
            assert_eq!(matches_wildcard(pattern, text), matches, "{pattern} {text}");
        }
    }
}
