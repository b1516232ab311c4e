//! One line of an Agentfile that bounds what its agent may do: `TOOL file:edit(src/parser)`, `LIMIT write-path src`.
//!
//! A grant travels in the request because it belongs to one agent and not to the workspace. Grants of one agent add
//! up; limits restrict. The Agentfile is parsed elsewhere; a grant that is unknown or malformed here gives nothing.

use serde::{Deserialize, Serialize};

use crate::{
    path::{PathPattern, PatternError},
    request::Class,
    suggest::nearest,
};

/// A TOOL grant or a path LIMIT of an Agentfile.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolGrant {
    /// A tool: `shell`, `file:read`, `file:edit` (and so read), `file:write` (and so edit and read). A limit:
    /// `limit:read` for `LIMIT read-path` and `sandbox.read`, `limit:write` for `write-path` and
    /// `sandbox.readwrite`.
    pub class: String,
    /// An anchored path, see [`PathPattern`]; `None` is everywhere. For `shell`, only `readonly` is a pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
}

/// The only pattern of `shell`: commands run, and may write nothing of the workspace.
const READONLY: &str = "readonly";

/// Every class of a grant. Starting an agent needs none, so `kernel:spawn` may be written and changes nothing.
const CLASSES: [&str; 8] = [
    "shell",
    "file:read",
    "file:edit",
    "file:write",
    "kernel:spawn",
    "kernel:secret",
    "limit:read",
    "limit:write",
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
        if !CLASSES.contains(&class) {
            let name = class.chars().take(80).collect();
            return Err(GrantError::Unknown { name, nearest: nearest(class, CLASSES) });
        }
        match (class, pattern) {
            ("limit:read" | "limit:write", None) => return Err(GrantError::NeedsPattern(class.to_owned())),
            (_, None) | ("shell", Some(READONLY)) => {}
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
