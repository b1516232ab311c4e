//! A hook of Claude Code or Codex: its input, the system calls it makes, and its answer.
//!
//! Input and output are those of <https://code.claude.com/docs/en/hooks>, which
//! <https://developers.openai.com/codex/hooks> has taken over: JSON on standard input and output. A denial is a decision;
//! what is allowed gets no decision, so that the client's own permissions stay in charge.

use std::path::{Component, Path, PathBuf};

use ostk_kernel::{CallError, Code};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{install::Client, open::EVERY_TOOL, patch};

/// Characters of the client's session that name the lineage.
const SESSION_CHARS: usize = 8;
/// Files that one tool may change; each is a call to the daemon, and the client waits.
pub const MAX_ASKS: usize = 200;
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
#[derive(Clone, Debug, Deserialize)]
pub struct Input {
    /// Who says it.
    #[serde(skip, default = "claude")]
    pub client: Client,
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

const fn claude() -> Client {
    Client::Claude
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
    /// It changes lines that it names and finds again itself.
    Patch,
    /// It replaces a file.
    Write,
    /// It runs a command.
    Shell,
    /// It fetches an address of the web.
    Fetch,
    /// It does what only the client knows: another server's tool, a search of the web.
    Other,
}

impl Access {
    /// Of a client's tool that touches files or runs commands.
    fn of(client: Client, tool: &str) -> Option<Self> {
        match (client, tool) {
            (_, "Bash") => Some(Self::Shell),
            (Client::Codex, "apply_patch") => Some(Self::Patch),
            (Client::Codex, _) => None,
            (_, "Read") => Some(Self::Read),
            (_, "Edit" | "MultiEdit" | "NotebookEdit") => Some(Self::Edit),
            (_, "Write") => Some(Self::Write),
            (_, "WebFetch") => Some(Self::Fetch),
            (_, "WebSearch") => Some(Self::Other),
            // What this server's tools do passes the gate as calls of their own.
            (_, tool) if tool.starts_with("mcp__") && !tool.starts_with("mcp__ostk__") => Some(Self::Other),
            _ => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Edit => "edit",
            Self::Patch => "patch",
            Self::Write => "write",
            Self::Shell => "shell",
            Self::Fetch => "fetch",
            Self::Other => "tool",
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
    /// Reads the input of a hook of `client`.
    ///
    /// # Errors
    /// When it is not the documented JSON or has no session.
    pub fn parse(client: Client, text: &[u8]) -> Result<Self, InputError> {
        let input = Self { client, ..serde_json::from_slice(text)? };
        if input.session_id.is_empty() {
            return Err(InputError::NoSession);
        }
        Ok(input)
    }

    /// The lineage of the session: `claude-` and the first characters of its name, or `codex-` and the last, because
    /// the first of Codex's are the time.
    pub fn lineage(&self) -> String {
        let plain: Vec<char> = self.session_id.chars().filter(char::is_ascii_alphanumeric).collect();
        let first = plain.iter().take(SESSION_CHARS).collect::<String>();
        let last = plain.iter().skip(plain.len().saturating_sub(SESSION_CHARS)).collect::<String>();
        match self.client {
            Client::Codex => format!("codex-{last}"),
            Client::Claude | Client::Cursor => format!("claude-{first}"),
        }
    }

    /// The system calls that `event` makes for the project at `root`, one for each file; none for tools and files that
    /// are not its concern.
    pub fn asks(&self, event: Event, root: &Path) -> Vec<Ask> {
        match event {
            Event::PreTool => self.before(root),
            Event::PostTool => self.after(root),
            Event::TurnEnd | Event::SessionEnd => {
                // No model hears the answer. Codex reports no end of a command that was a patch: what its tools left is its own.
                let args =
                    json!({ "tool": EVERY_TOOL, "scan": self.client == Client::Codex, "silent": true });
                vec![Ask { verb: "hook.after", args, access: Access::Read }]
            }
            Event::SessionStart => Vec::new(),
        }
    }

    fn before(&self, root: &Path) -> Vec<Ask> {
        let Some(own) = Access::of(self.client, &self.tool_name) else { return Vec::new() };
        let ask = |access, args| Ask { verb: "hook.before", args, access };
        let of_file = |(access, path): (Access, String)| {
            ask(access, json!({ "tool": self.tool(), "access": access.name(), "path": path }))
        };
        if matches!(own, Access::Fetch | Access::Other) {
            let mut args = json!({ "tool": self.tool(), "access": own.name() });
            if self.tool_input.is_object() {
                extend(&mut args, json!({ "input": [self.tool_input] }));
            }
            if let Some(target) = self.text("url").and_then(target) {
                extend(&mut args, json!({ "target": target }));
            }
            return vec![ask(own, args)];
        }
        let mut asks: Vec<Ask> = self.files(own, root).into_iter().map(of_file).collect();
        if let (Access::Shell, Some(command)) = (own, self.text("command")) {
            let cwd = inside(root, &self.cwd).unwrap_or_default();
            let args = json!({ "tool": self.tool(), "access": own.name(), "command": command, "cwd": cwd });
            asks.push(ask(own, args));
        }
        asks
    }

    fn after(&self, root: &Path) -> Vec<Ask> {
        let Some(access) = Access::of(self.client, &self.tool_name) else { return Vec::new() };
        let ask = |args| Ask { verb: "hook.after", args, access };
        if access == Access::Shell {
            return vec![ask(json!({ "tool": self.tool(), "scan": true }))];
        }
        if let Some(label) = self.brings() {
            return vec![ask(json!({ "tool": self.tool(), "labels": [label] }))];
        }
        let of_file = |(_, path)| ask(json!({ "tool": self.tool(), "paths": [path] }));
        self.files(access, root).into_iter().map(of_file).collect()
    }

    /// The label of what the tool shows the model from elsewhere.
    fn brings(&self) -> Option<String> {
        let server = || self.tool_name.strip_prefix("mcp__").and_then(|rest| rest.split("__").next());
        match self.tool_name.as_str() {
            "WebFetch" | "WebSearch" => Some("network".to_owned()),
            _ => server().filter(|server| *server != "ostk").map(|server| {
                let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
                format!("tool:{}", server.chars().take(MAX_TOOL).map(plain).collect::<String>())
            }),
        }
    }

    /// The files inside the project that the tool names, each once.
    fn files(&self, own: Access, root: &Path) -> Vec<(Access, String)> {
        let patched = || self.text("command").map(patch::files).unwrap_or_default();
        let named = match own {
            Access::Patch => patched(),
            Access::Shell
                if self.client == Client::Codex && self.text("command").is_some_and(patch::is_in) =>
            {
                patched()
            }
            Access::Shell => Vec::new(),
            _ => self
                .text("file_path")
                .or_else(|| self.text("notebook_path"))
                .map(|path| (own, path))
                .into_iter()
                .collect(),
        };
        let mut files: Vec<(Access, String)> = Vec::new();
        for (access, name) in named {
            if let Some(path) = inside(root, &self.cwd.join(name))
                && files.iter().all(|(_, known)| *known != path)
            {
                files.push((access, path));
            }
        }
        files
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.tool_input.get(name).and_then(Value::as_str)
    }

    fn tool(&self) -> String {
        self.tool_name.chars().take(MAX_TOOL).collect()
    }

    /// What the client is told of the results of an event's calls; nothing where there is nothing to say.
    pub fn answer(&self, event: Event, results: &[Result<Value, CallError>]) -> Option<Value> {
        let name = match event {
            Event::PreTool => "PreToolUse",
            Event::PostTool => "PostToolUse",
            Event::SessionStart | Event::TurnEnd | Event::SessionEnd => return None,
        };
        let told = results.iter().map(told).filter(|told| !told.is_empty()).collect::<Vec<_>>().join("\n");
        let mut said = json!({ "hookEventName": name });
        match results.iter().find_map(|result| result.as_ref().err()) {
            Some(error) if event == Event::PreTool => {
                let gap = if told.is_empty() { "" } else { "\n" };
                let reason = format!("ostk: {}{gap}{told}", self.in_tools(error).to_text());
                extend(
                    &mut said,
                    json!({ "permissionDecision": "deny", "permissionDecisionReason": reason }),
                );
            }
            _ if told.is_empty() => return None,
            _ => extend(&mut said, json!({ "additionalContext": told })),
        }
        Some(json!({ "hookSpecificOutput": said }))
    }

    /// The error with a remedy that the client has a tool for: Codex reads with commands, which the kernel cannot see.
    fn in_tools(&self, error: &CallError) -> CallError {
        let error = error.clone();
        match (self.client, error.code) {
            (Client::Codex, Code::Unread | Code::Conflict) => {
                error.hint("look at the file, then change it with *** Update File")
            }
            _ => error,
        }
    }
}

impl Ask {
    /// The call that says that a tool which was allowed does not run after all.
    pub fn withdrawn(&self) -> Self {
        let args = json!({ "tool": self.args.get("tool"), "silent": true });
        Self { verb: "hook.after", args, access: self.access }
    }
}

/// Host and port of a web address; `None` where the address is not plain enough to be sure.
fn target(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let port = match scheme.to_ascii_lowercase().as_str() {
        "https" => 443,
        "http" => 80,
        _ => return None,
    };
    let host = rest.split(['/', '?', '#', '\\']).next().filter(|host| !host.contains('@'))?;
    let has_port = host.rsplit(']').next().is_some_and(|after| after.contains(':'));
    Some(if has_port { host.to_owned() } else { format!("{host}:{port}") })
}

/// Words for the model: messages to it, then what others changed. They come once, so whatever answer has them says them.
fn told(result: &Result<Value, CallError>) -> String {
    let fields = result.as_ref().unwrap_or_else(|error| &error.data);
    let nudges = fields.get("nudges").and_then(Value::as_array).into_iter().flatten();
    let nudges = nudges.filter_map(Value::as_str).map(|nudge| format!("[message] {nudge}"));
    let digest = fields.get("digest").and_then(Value::as_str).map(str::to_owned);
    nudges.chain(digest).collect::<Vec<_>>().join("\n")
}

fn extend(said: &mut Value, with: Value) {
    if let (Value::Object(said), Value::Object(with)) = (said, with) {
        said.extend(with);
    }
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
        Input::parse(Client::Claude, text.to_string().as_bytes()).unwrap()
    }

    fn args(event: Event, tool: &str, arguments: Value) -> Option<Value> {
        let mut asks = input(tool, arguments).asks(event, Path::new("/repo"));
        assert!(asks.len() < 2, "{asks:?}");
        asks.pop().map(|ask| ask.args)
    }

    fn codex(tool: &str, command: &str) -> Input {
        let text = json!({ "session_id": "01a1fd34-1482-7d71-b546-f55d59d1450e", "cwd": "/repo/src",
            "tool_name": tool, "tool_input": { "command": command } });
        Input::parse(Client::Codex, text.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_session_is_a_lineage() {
        assert_eq!(input("Read", json!({})).lineage(), "claude-3f2a9c1e");
        assert_eq!(codex("Bash", "ls").lineage(), "codex-59d1450e");
        assert!(matches!(Input::parse(Client::Codex, b"{}"), Err(InputError::NoSession)));
        assert!(matches!(Input::parse(Client::Claude, b"not json"), Err(InputError::Malformed(_))));
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
    fn a_patch_asks_for_each_of_its_files_once_and_reports_the_same() {
        let patch = "*** Begin Patch\n*** Update File: a.rs\n@@\n-x\n+y\n*** Update File: a.rs\n@@\n-z\n+y\n\
            *** Add File: ../b.rs\n+new\n*** Delete File: /etc/hosts\n*** End Patch\n";
        let root = Path::new("/repo");
        let asked = |input: &Input, event| -> Vec<Value> {
            input.asks(event, root).into_iter().map(|ask| ask.args).collect()
        };
        let tool = codex("apply_patch", patch);
        let before = [
            json!({ "tool": "apply_patch", "access": "patch", "path": "src/a.rs" }),
            json!({ "tool": "apply_patch", "access": "write", "path": "b.rs" }),
        ];
        assert_eq!(asked(&tool, Event::PreTool), before);
        let after = ["src/a.rs", "b.rs"].map(|path| json!({ "tool": "apply_patch", "paths": [path] }));
        assert_eq!(asked(&tool, Event::PostTool), after);
        let command = format!("apply_patch <<'EOF'\n{patch}EOF");
        let shell = asked(&codex("Bash", &command), Event::PreTool);
        assert_eq!(
            (shell.len(), &shell[0]["path"], &shell[2]["access"]),
            (3, &json!("src/a.rs"), &json!("shell"))
        );
        assert_eq!(asked(&tool, Event::TurnEnd), [json!({ "tool": "*", "scan": true, "silent": true })]);
    }

    #[test]
    fn tools_without_files_and_files_outside_are_not_asked_about() {
        assert_eq!(args(Event::PreTool, "TodoWrite", json!({ "todos": [] })), None);
        assert_eq!(args(Event::PreTool, "mcp__ostk__read", json!({ "path": "a" })), None);
        assert_eq!(args(Event::PreTool, "Edit", json!({ "file_path": "/etc/hosts" })), None);
        assert_eq!(args(Event::PreTool, "Edit", json!({ "file_path": "/repo/../etc/hosts" })), None);
        assert_eq!(args(Event::PreTool, "Edit", json!({ "file_path": 3 })), None);
    }

    #[test]
    fn a_tool_that_reaches_beyond_the_project_is_asked_about_with_its_arguments() {
        let fetch =
            args(Event::PreTool, "WebFetch", json!({ "url": "https://Example.org:8443/a?b" })).unwrap();
        assert_eq!((&fetch["access"], &fetch["target"]), (&json!("fetch"), &json!("Example.org:8443")));
        let plain = args(Event::PreTool, "WebFetch", json!({ "url": "http://example.org/" })).unwrap();
        assert_eq!(plain["target"], "example.org:80");
        let odd = args(Event::PreTool, "WebFetch", json!({ "url": "https://a@b/" })).unwrap();
        assert_eq!(odd.get("target"), None, "what is not plain names no host, so it is refused");
        let mail = args(Event::PreTool, "mcp__mail__send", json!({ "to": "eve@evil.net" })).unwrap();
        assert_eq!((&mail["access"], &mail["input"][0]["to"]), (&json!("tool"), &json!("eve@evil.net")));
        let brought = args(Event::PostTool, "mcp__mail__list", json!({})).unwrap();
        assert_eq!(brought["labels"], json!(["tool:mail"]));
    }

    #[test]
    fn a_refusal_is_a_decision_and_a_permission_is_none() {
        let claude = input("Edit", json!({}));
        let refused = CallError::new(Code::Conflict, "a.rs was changed by bob since you read it")
            .hint("read a.rs again, then repeat the change");
        let patched = codex("apply_patch", "").answer(Event::PreTool, &[Err(refused.clone())]).unwrap();
        assert!(
            patched.to_string().contains("Hint: look at the file, then change it with *** Update File"),
            "{patched}"
        );
        let answer = claude.answer(Event::PreTool, &[Err(refused)]).unwrap();
        assert_eq!(
            answer,
            json!({ "hookSpecificOutput": { "hookEventName": "PreToolUse", "permissionDecision": "deny",
                "permissionDecisionReason": "ostk: a.rs was changed by bob since you read it\nHint: read a.rs again, then \
                 repeat the change" } })
        );
        assert_eq!(claude.answer(Event::PreTool, &[Ok(json!({ "ok": true }))]), None);
        assert_eq!(claude.answer(Event::PostTool, &[Ok(json!({ "changed": ["a"] }))]), None);
    }

    #[test]
    fn whatever_answer_carries_news_tells_them() {
        let claude = input("Edit", json!({}));
        let news = || Ok(json!({ "digest": "[files] x", "nudges": ["stop that"] }));
        for (event, name) in [(Event::PreTool, "PreToolUse"), (Event::PostTool, "PostToolUse")] {
            let said = claude.answer(event, &[Ok(json!({})), news()]).unwrap();
            let expected = json!({ "hookSpecificOutput": { "hookEventName": name,
                "additionalContext": "[message] stop that\n[files] x" } });
            assert_eq!(said, expected);
        }
        let mut refused = CallError::new(Code::Denied, "no");
        refused.data = json!({ "digest": "[files] x" });
        let said = claude.answer(Event::PreTool, &[Err(refused)]).unwrap();
        assert_eq!(said["hookSpecificOutput"]["permissionDecisionReason"], "ostk: no\n[files] x");
    }
}
