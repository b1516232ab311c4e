//! One line of an Agentfile that bounds what its agent may do: `TOOL file:edit(src/parser)`, `LIMIT write-path src`.
//!
//! A grant travels in the request, as text, because it belongs to one agent and not to the workspace. Grants of one
//! agent add up; limits restrict. The Agentfile itself is parsed elsewhere, which calls [`ToolGrant::parse`].

use serde::{Deserialize, Serialize};

use crate::{
    path::{PathPattern, PatternError},
    request::Class,
    suggest::nearest,
};

/// What a grant or limit is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Scope {
    Class(Class),
    Shell,
    ReadonlyShell,
    ReadLimit,
    WriteLimit,
}

const NAMES: [(&str, Scope); 12] = [
    ("shell", Scope::Shell),
    ("shell:read", Scope::Class(Class::ShellRead)),
    ("shell:write", Scope::Class(Class::ShellWrite)),
    ("shell:exec", Scope::Class(Class::ShellExec)),
    ("shell:secret", Scope::Class(Class::ShellSecret)),
    ("file:read", Scope::Class(Class::FileRead)),
    ("file:edit", Scope::Class(Class::FileEdit)),
    ("file:write", Scope::Class(Class::FileWrite)),
    ("kernel:spawn", Scope::Class(Class::KernelSpawn)),
    ("kernel:secret", Scope::Class(Class::KernelSecret)),
    ("limit:read", Scope::ReadLimit),
    ("limit:write", Scope::WriteLimit),
];

/// A TOOL grant or a path LIMIT. Written `shell`, `shell(readonly)`, `file:read`, `file:edit(src/**/*.rs)`,
/// `kernel:spawn`; a limit is `limit:read(PATH)` or `limit:write(PATH)`. A pattern is anchored at the workspace
/// root, never a substring: see [`PathPattern`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ToolGrant {
    scope: Scope,
    pattern: Option<PathPattern>,
}

/// A text that is not a grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// No such tool.
    #[error("no such tool: {name:?}{}", .nearest.map(|near| format!("; did you mean {near}?")).unwrap_or_default())]
    Unknown {
        /// As written.
        name: String,
        /// The closest tool there is.
        nearest: Option<&'static str>,
    },
    /// `(` without `)`, or text after it.
    #[error("a pattern stands in parentheses at the end: {0:?}")]
    Parentheses(String),
    /// Only files are granted by path.
    #[error("{0} takes no path: only file:read, file:edit, file:write and limits do")]
    NoPattern(String),
    /// A limit without a path.
    #[error("{0} needs a path in parentheses")]
    NeedsPattern(String),
    /// A bad path.
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

impl ToolGrant {
    /// Reads a grant as an Agentfile writes it after `TOOL`.
    pub fn parse(text: &str) -> Result<Self, GrantError> {
        let text = text.trim();
        let (name, argument) = match text.split_once('(') {
            None => (text, None),
            Some((name, rest)) => {
                let inner = rest.strip_suffix(')').ok_or_else(|| GrantError::Parentheses(text.to_owned()))?;
                (name.trim_end(), Some(inner.trim()))
            }
        };
        if (name, argument) == ("shell", Some("readonly")) {
            return Ok(Self { scope: Scope::ReadonlyShell, pattern: None });
        }
        let Some((_, scope)) = NAMES.iter().find(|(known, _)| *known == name) else {
            let nearest = nearest(name, NAMES.iter().map(|(known, _)| *known));
            return Err(GrantError::Unknown { name: name.chars().take(80).collect(), nearest });
        };
        let pattern = argument.map(PathPattern::parse).transpose()?;
        match (scope, &pattern) {
            (Scope::ReadLimit | Scope::WriteLimit, None) => Err(GrantError::NeedsPattern(name.to_owned())),
            (Scope::Class(class), Some(_)) if !class.is_file() => Err(GrantError::NoPattern(name.to_owned())),
            (Scope::Shell, Some(_)) => Err(GrantError::NoPattern(name.to_owned())),
            _ => Ok(Self { scope: *scope, pattern }),
        }
    }

    /// `LIMIT read-path PATH`, `LIMIT sandbox.read PATH`: reads stay within the limits given.
    pub fn read_limit(path: &str) -> Result<Self, PatternError> {
        Ok(Self { scope: Scope::ReadLimit, pattern: Some(PathPattern::parse(path)?) })
    }

    /// `LIMIT write-path PATH`, `LIMIT sandbox.readwrite PATH`: writes stay within the limits given.
    pub fn write_limit(path: &str) -> Result<Self, PatternError> {
        Ok(Self { scope: Scope::WriteLimit, pattern: Some(PathPattern::parse(path)?) })
    }

    /// Whether this grant gives `class` on `path`.
    fn covers(&self, class: Class, path: Option<&str>) -> bool {
        match self.scope {
            Scope::Class(granted) => granted == class && self.pattern_covers(path),
            Scope::Shell => matches!(class, Class::ShellRead | Class::ShellWrite | Class::ShellExec),
            Scope::ReadonlyShell => matches!(class, Class::ShellRead | Class::ShellExec),
            Scope::ReadLimit | Scope::WriteLimit => false,
        }
    }

    fn pattern_covers(&self, path: Option<&str>) -> bool {
        match (&self.pattern, path) {
            (None, _) => true,
            (Some(pattern), Some(path)) => pattern.covers(path),
            (Some(_), None) => false,
        }
    }

    pub(crate) const fn is_readonly_shell(&self) -> bool {
        matches!(self.scope, Scope::ReadonlyShell)
    }

    pub(crate) const fn is_writing_shell(&self) -> bool {
        matches!(self.scope, Scope::Shell | Scope::Class(Class::ShellWrite | Class::ShellExec))
    }

    /// The path of a write limit.
    pub(crate) fn as_write_limit(&self) -> Option<&PathPattern> {
        if self.scope == Scope::WriteLimit { self.pattern.as_ref() } else { None }
    }
}

/// Whether an Agentfile must grant the class. An agent's model, its session, its notes and reading the kernel's state
/// need no grant.
pub(crate) const fn needs_grant(class: Class) -> bool {
    !matches!(class, Class::KernelRead | Class::KernelWrite | Class::ModelCall)
}

/// Whether any of `tools` grants `class` on `path`.
pub(crate) fn grants(tools: &[ToolGrant], class: Class, path: Option<&str>) -> bool {
    tools.iter().any(|tool| tool.covers(class, path))
}

/// Whether the limits among `tools` forbid `class` on `path`: there are limits of that kind and none covers it.
pub(crate) fn beyond_limits(tools: &[ToolGrant], class: Class, path: Option<&str>) -> bool {
    let scope = match class {
        Class::FileRead => Scope::ReadLimit,
        Class::FileEdit | Class::FileWrite => Scope::WriteLimit,
        _ => return false,
    };
    let mut limits = tools.iter().filter(|tool| tool.scope == scope).peekable();
    limits.peek().is_some() && !limits.any(|limit| limit.pattern_covers(path))
}

impl TryFrom<String> for ToolGrant {
    type Error = GrantError;

    fn try_from(text: String) -> Result<Self, GrantError> {
        Self::parse(&text)
    }
}

impl From<ToolGrant> for String {
    fn from(grant: ToolGrant) -> Self {
        grant.to_string()
    }
}

impl std::fmt::Display for ToolGrant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.scope == Scope::ReadonlyShell {
            return f.write_str("shell(readonly)");
        }
        let name = NAMES.iter().find(|(_, scope)| *scope == self.scope).map_or("", |(name, _)| name);
        match &self.pattern {
            None => f.write_str(name),
            Some(pattern) => write!(f, "{name}({})", pattern.as_str()),
        }
    }
}
