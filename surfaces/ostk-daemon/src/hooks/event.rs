//! A hook of Claude Code: its input, the system call it makes, and its answer.
//!
//! Input and output are those of <https://code.claude.com/docs/en/hooks>: JSON on standard input and output. A denial
//! is a decision; what is allowed gets no decision, so that the client's own permissions stay in charge.

use std::path::{Component, Path, PathBuf};

use ostk_kernel::CallError;
use serde::Deserialize;
use serde_json::{Value, json};

/// Characters of the client's session that name the lineage.
const SESSION_CHARS: usize = 8;
/// Longest part of a tool's name that is recorded.
const MAX_TOOL: usize = 100;

/// When a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The client starts or resumes a session.
    SessionStart,
    /// A tool is about to run.
    PreTool,
    /// A tool has run.
    PostTool,
    /// The model has ended its turn.
    TurnEnd,
    /// The client ends the session.
    SessionEnd,
}

/// No hook is called so.
#[derive(Debug, thiserror::Error)]
#[error("no hook event is called {0:?}")]
pub struct NotAnEvent(String);

impl std::str::FromStr for Event {
    type Err = NotAnEvent;

    /// The names of `ostk hook`, and those of the client.
    fn from_str(name: &str) -> Result<Self, NotAnEvent> {
        match name {
            "session-start" | "SessionStart" => Ok(Self::SessionStart),
            "pre-tool" | "PreToolUse" => Ok(Self::PreTool),
            "post-tool" | "PostToolUse" => Ok(Self::PostTool),
            "turn-end" | "Stop" | "SubagentStop" => Ok(Self::TurnEnd),
            "session-end" | "SessionEnd" => Ok(Self::SessionEnd),
            other => Err(NotAnEvent(other.to_owned())),
        }
    }
}

/// What the client says on standard input; members that are not needed are ignored.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Input {
    /// The client's session.
    #[serde(default)]
    pub session_id: String,
    /// The directory that the client works in.
    #[serde(default)]
    pub cwd: PathBuf,
    /// The tool, for events of tools.
    #[serde(default)]
    pub tool_name: String,
    /// Its arguments.
    #[serde(default)]
    pub tool_input: Value,
}

/// The input is not what a hook gets.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// Not JSON of the documented shape.
    #[error("the hook's input is malformed: {0}")]
    Malformed(#[from] serde_json::Error),
    /// No session to work for.
    #[error("the hook's input names no session")]
    NoSession,
}

/// What a tool does to its resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It shows a file to the model.
    Read,
    /// It changes a part of a file.
    Edit,
    /// It replaces a file.
    Write,
    /// It runs a command.
    Shell,
}

impl Access {
    /// Of a tool of Claude Code that touches files or runs commands.
    fn of(tool: &str) -> Option<Self> {
        match tool {
            "Read" => Some(Self::Read),
            "Edit" | "MultiEdit" | "NotebookEdit" => Some(Self::Edit),
            "Write" => Some(Self::Write),
            "Bash" => Some(Self::Shell),
            _ => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Edit => "edit",
            Self::Write => "write",
            Self::Shell => "shell",
        }
    }

    /// Whether the tool may not run unless the kernel has agreed.
    pub const fn changes(self) -> bool {
        !matches!(self, Self::Read)
    }
}

/// What a hook asks the kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// The system call.
    pub verb: &'static str,
    /// Its arguments.
    pub args: Value,
    /// What the tool does.
    pub access: Access,
}

impl Input {
    /// Reads a hook's input.
    ///
    /// # Errors
    /// When it is not the documented JSON or has no session.
    pub fn parse(text: &[u8]) -> Result<Self, InputError> {
        let input: Self = serde_json::from_slice(text)?;
        if input.session_id.is_empty() {
            return Err(InputError::NoSession);
        }
        Ok(input)
    }

    /// The lineage of the session: `claude-` and the first characters of its name.
    pub fn lineage(&self) -> String {
        let plain = self.session_id.chars().filter(char::is_ascii_alphanumeric);
        format!("claude-{}", plain.take(SESSION_CHARS).collect::<String>())
    }

    /// The system call that `event` makes for the project at `root`; none for tools and files that are not its concern.
    pub fn ask(&self, event: Event, root: &Path) -> Option<Ask> {
        let access = Access::of(&self.tool_name)?;
        let tool: String = self.tool_name.chars().take(MAX_TOOL).collect();
        let text = |name: &str| self.tool_input.get(name).and_then(Value::as_str);
        let cwd = inside(root, &self.cwd).unwrap_or_default();
        let path = || {
            let named = text("file_path").or_else(|| text("notebook_path"))?;
            inside(root, &self.cwd.join(named))
        };
        let args = match (event, access) {
            (Event::PreTool, Access::Shell) => {
                json!({ "tool": tool, "access": access.name(), "command": text("command")?, "cwd": cwd })
            }
            (Event::PreTool, _) => json!({ "tool": tool, "access": access.name(), "path": path()? }),
            (Event::PostTool, Access::Shell) => json!({ "tool": tool, "scan": true }),
            (Event::PostTool, _) => json!({ "tool": tool, "paths": [path()?] }),
            _ => return None,
        };
        let verb = if event == Event::PreTool { "hook.before" } else { "hook.after" };
        Some(Ask { verb, args, access })
    }
}

impl Event {
    /// What the client is told; nothing where there is nothing to say.
    pub fn answer(self, result: &Result<Value, CallError>) -> Option<Value> {
        let digest = |value: &Value| value.get("digest").and_then(Value::as_str).map(str::to_owned);
        match (self, result) {
            (Self::PreTool, Err(error)) => Some(deny(&error.to_text())),
            (Self::PostTool, Ok(value)) => digest(value).map(|digest| context(&digest)),
            (Self::PostTool, Err(error)) => digest(&error.data).map(|digest| context(&digest)),
            _ => None,
        }
    }
}

/// The tool call is refused, with the reason for the model.
fn deny(reason: &str) -> Value {
    json!({ "hookSpecificOutput": { "hookEventName": "PreToolUse", "permissionDecision": "deny",
        "permissionDecisionReason": format!("ostk: {reason}") } })
}

/// Words for the model that go with the tool's result.
fn context(text: &str) -> Value {
    json!({ "hookSpecificOutput": { "hookEventName": "PostToolUse", "additionalContext": text } })
}

/// `path` relative to `root`, if it lies inside; symbolic links on the way are followed as far as there is something.
/// The root itself is the empty path.
fn inside(root: &Path, path: &Path) -> Option<String> {
    let root = real(root);
    let relative = real(path).strip_prefix(&root).ok()?.to_owned();
    relative.to_str().map(str::to_owned)
}

/// The path with the links of its existing part followed; the last component is kept, so that the kernel sees a link.
fn real(path: &Path) -> PathBuf {
    let path = lexical(path);
    let (mut existing, mut rest) = (path.clone(), PathBuf::new());
    if let (Some(parent), Some(name)) = (path.parent(), path.file_name())
        && !path.is_dir()
    {
        (existing, rest) = (parent.to_owned(), PathBuf::from(name));
    }
    loop {
        if let Ok(found) = existing.canonicalize() {
            return if rest.as_os_str().is_empty() { found } else { found.join(rest) };
        }
        let (Some(parent), Some(name)) = (existing.parent(), existing.file_name()) else { return path };
        rest = Path::new(name).join(&rest);
        existing = parent.to_owned();
    }
}

/// The path without `.` and `..`.
fn lexical(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            other => clean.push(other),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use ostk_kernel::Code;

    use super::*;

    fn input(tool: &str, arguments: Value) -> Input {
        let text = json!({ "session_id": "3f2a9c1e-77", "cwd": "/repo/src", "tool_name": tool,
            "tool_input": arguments, "hook_event_name": "PreToolUse", "transcript_path": "/x" });
        Input::parse(text.to_string().as_bytes()).unwrap()
    }

    fn args(event: Event, tool: &str, arguments: Value) -> Option<Value> {
        input(tool, arguments).ask(event, Path::new("/repo")).map(|ask| ask.args)
    }

    #[test]
    fn a_session_is_a_lineage() {
        assert_eq!(input("Read", json!({})).lineage(), "claude-3f2a9c1e");
        assert!(matches!(Input::parse(b"{}"), Err(InputError::NoSession)));
        assert!(matches!(Input::parse(b"not json"), Err(InputError::Malformed(_))));
    }

    #[test]
    fn each_tool_asks_for_what_it_does() {
        let file = || json!({ "file_path": "/repo/src/a.rs" });
        for (tool, access) in [("Read", "read"), ("Edit", "edit"), ("MultiEdit", "edit"), ("Write", "write")]
        {
            let expected = json!({ "tool": tool, "access": access, "path": "src/a.rs" });
            assert_eq!(args(Event::PreTool, tool, file()), Some(expected));
        }
        let notebook = args(Event::PreTool, "NotebookEdit", json!({ "notebook_path": "n.ipynb" }));
        assert_eq!(notebook.unwrap()["path"], "src/n.ipynb");
        let shell = args(Event::PreTool, "Bash", json!({ "command": "make" }));
        assert_eq!(
            shell,
            Some(json!({ "tool": "Bash", "access": "shell", "command": "make", "cwd": "src" }))
        );
        assert_eq!(
            args(Event::PostTool, "Edit", file()),
            Some(json!({ "tool": "Edit", "paths": ["src/a.rs"] }))
        );
        let after = args(Event::PostTool, "Bash", json!({ "command": "make" }));
        assert_eq!(after, Some(json!({ "tool": "Bash", "scan": true })));
    }

    #[test]
    fn tools_without_files_and_files_outside_are_not_asked_about() {
        assert_eq!(args(Event::PreTool, "WebFetch", json!({ "url": "x" })), None);
        assert_eq!(args(Event::PreTool, "Edit", json!({ "file_path": "/etc/hosts" })), None);
        assert_eq!(args(Event::PreTool, "Edit", json!({ "file_path": "/repo/../etc/hosts" })), None);
        assert_eq!(args(Event::PreTool, "Edit", json!({ "file_path": 3 })), None);
    }

    #[test]
    fn a_refusal_is_a_decision_and_a_permission_is_none() {
        let refused = CallError::new(Code::Conflict, "a.rs was changed by bob since you read it")
            .hint("read a.rs again, then repeat the change");
        let answer = Event::PreTool.answer(&Err(refused)).unwrap();
        assert_eq!(
            answer,
            json!({ "hookSpecificOutput": { "hookEventName": "PreToolUse", "permissionDecision": "deny",
                "permissionDecisionReason": "ostk: a.rs was changed by bob since you read it\nHint: read a.rs again, then \
                 repeat the change" } })
        );
        assert_eq!(Event::PreTool.answer(&Ok(json!({ "ok": true }))), None);
        assert_eq!(Event::PostTool.answer(&Ok(json!({ "changed": ["a"] }))), None);
        let told = Event::PostTool.answer(&Ok(json!({ "digest": "[files] x" }))).unwrap();
        assert_eq!(told["hookSpecificOutput"]["additionalContext"], "[files] x");
    }
}
