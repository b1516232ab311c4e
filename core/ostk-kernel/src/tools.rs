//! The tools that language models see: names and arguments of the field, mapped onto system calls.
//!
//! MCP and the native agents announce the same list. A tool adds nothing to a call but its shape; the alias names
//! (`Read`, `Edit`, …) are those that coding agents know from their own tools.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    call::{CallError, Code},
    needles, pipes, sagas,
    table::{ArgKind, lookup},
};

/// A tool for a model.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Tool {
    /// Its name.
    pub name: &'static str,
    /// What it is for, in a model's words.
    pub doc: &'static str,
    /// The system call it makes.
    pub call: &'static str,
    /// Its arguments: name as the model gives it, name in the system call, whether it is needed.
    pub args: &'static [(&'static str, &'static str, bool)],
}

/// Every tool, the project's own first, then the aliases.
pub const TOOLS: &[Tool] = &[
    Tool {
        name: "read",
        doc: "Read a file. A file you have seen that has not changed is answered with one line.",
        call: "file.read",
        args: &[
            ("path", "path", true),
            ("offset", "offset", false),
            ("limit", "limit", false),
            ("fresh", "fresh", false),
        ],
    },
    Tool {
        name: "fs_ops",
        doc: "Change files. One change: path with old_str and new_str (targeted edit), path with content (whole file), op \
              delete, op rename with to, or accept with a conflict's token. Several that succeed or fail as one: ops, each \
              {op: edit|write|delete, path, old, new, content}.",
        call: "file.batch",
        args: &[
            ("path", "path", false),
            ("old_str", "old", false),
            ("new_str", "new", false),
            ("content", "content", false),
            ("op", "op", false),
            ("to", "to", false),
            ("accept", "token", false),
            ("ops", "ops", false),
            ("all", "all", false),
            ("reason", "reason", false),
            ("base_blob", "base_blob", false),
        ],
    },
    Tool {
        name: "bash",
        doc: "Run a shell command in the sandbox. Use cwd instead of cd.",
        call: "shell.run",
        args: &[("cmd", "command", true), ("cwd", "cwd", false), ("timeout_ms", "timeout_ms", false)],
    },
    Tool {
        name: "search",
        doc: "Search the files of the workspace: mode literal, regex or glob (file names).",
        call: "search",
        args: &[
            ("query", "pattern", true),
            ("mode", "mode", false),
            ("globs", "globs", false),
            ("limit", "limit", false),
            ("context", "context", false),
            ("ignore_case", "ignore_case", false),
        ],
    },
    Tool {
        name: "spawn_stack",
        doc: "Delegate a directory to a sub-stack with agents, log and budget of its own. Until it is sealed you read there and \
              do not write.",
        call: "stack.spawn",
        args: &[
            ("name", "name", true),
            ("scope", "scope", true),
            ("agentfile", "agentfile", true),
            ("task", "task", false),
            ("budget_micro_usd", "budget_micro_usd", false),
            ("tokens", "tokens", false),
            ("turns", "turns", false),
        ],
    },
    Tool {
        name: "seal_stack",
        doc: "End a sub-stack that you spawned and take its directory back.",
        call: "stack.seal",
        args: &[("name", "name", true), ("reason", "reason", false)],
    },
    Tool {
        name: "saga",
        doc: "Do several steps of which all or none shall stay: when one fails, those before it are undone, last first, also after \
              a crash. steps: each {id, do, undo, timeout_s, retries, idempotent}; do and undo are a command line, or {call, args} \
              with call file.write|file.edit|file.delete|file.rename|file.batch|note|nudge|lock. With id alone: where that saga stands.",
        call: "saga.run",
        args: &[("name", "name", false), ("steps", "steps", false), ("id", "id", false)],
    },
    Tool {
        name: "nudge",
        doc: "Send a message to another agent; it sees it with its next tool result. In a sub-stack, the agent `project` is \
              whoever spawned it.",
        call: "nudge",
        args: &[("agent", "lineage", true), ("message", "text", true)],
    },
    Tool {
        name: "spawn",
        doc: "Start a background process under an alias, optionally waiting for a text in its output.",
        call: "process.start",
        args: &[
            ("alias", "alias", true),
            ("cmd", "command", true),
            ("wait_for", "wait_for", false),
            ("timeout_ms", "timeout_ms", false),
        ],
    },
    Tool {
        name: "interact",
        doc: "Talk to a background process: read_tail, write, wait_for or kill.",
        call: "process.interact",
        args: &[
            ("alias", "alias", true),
            ("action", "action", true),
            ("input", "input", false),
            ("lines", "lines", false),
            ("timeout_ms", "timeout_ms", false),
        ],
    },
    Tool {
        name: "lock",
        doc: "An advisory lock among agents: create, release or status.",
        call: "lock",
        args: &[("action", "action", true), ("name", "name", true), ("timeout_ms", "timeout_ms", false)],
    },
    Tool {
        name: "session",
        doc: "Who else works here: every process and what it does.",
        call: "ps",
        args: &[],
    },
    Tool {
        name: "work",
        doc: "The project's work items. action: next (take the best one that can be begun), list, show, add (title, priority P0-P3, \
              description, ac = commands that pass when it is done), close (runs ac), claim, release, edit, link (kind, other), \
              hay (file a thought as text), decide (key, value).",
        call: "work.next",
        args: &[
            ("action", "action", true),
            ("id", "id", false),
            ("title", "title", false),
            ("priority", "priority", false),
            ("description", "description", false),
            ("ac", "ac", false),
            ("tags", "tags", false),
            ("depends_on", "depends_on", false),
            ("tag", "tag", false),
            ("status", "status", false),
            ("text", "text", false),
            ("key", "key", false),
            ("value", "value", false),
            ("kind", "kind", false),
            ("other", "other", false),
            ("reason", "reason", false),
            ("force", "force", false),
        ],
    },
    Tool {
        name: "pipe",
        doc: "Messages to and from other agents through a named pipe: action make, write (text), read, close or list. A \
              read waits for a message and a write for room, 30 s or timeout_ms; each message goes to one reader. \
              `end` in the answer means that everybody who wrote is gone.",
        call: "pipe.read",
        args: &[
            ("action", "action", true),
            ("pipe", "pipe", false),
            ("text", "text", false),
            ("timeout_ms", "timeout_ms", false),
            ("messages", "messages", false),
            ("bytes", "bytes", false),
            ("end", "end", false),
        ],
    },
    Tool { name: "note", doc: "Leave a remark in the log.", call: "note", args: &[("text", "text", true)] },
    Tool {
        name: "Read",
        doc: "Read a file.",
        call: "file.read",
        args: &[("file_path", "path", true), ("offset", "offset", false), ("limit", "limit", false)],
    },
    Tool {
        name: "Write",
        doc: "Write a whole file that you have read, or a new one.",
        call: "file.write",
        args: &[("file_path", "path", true), ("content", "content", true)],
    },
    Tool {
        name: "Edit",
        doc: "Replace a text that occurs exactly once in a file.",
        call: "file.edit",
        args: &[
            ("file_path", "path", true),
            ("old_string", "old", true),
            ("new_string", "new", true),
            ("replace_all", "all", false),
        ],
    },
    Tool {
        name: "Bash",
        doc: "Run a shell command in the sandbox.",
        call: "shell.run",
        args: &[("command", "command", true), ("timeout", "timeout_ms", false)],
    },
    Tool {
        name: "Grep",
        doc: "Search file contents with a regular expression.",
        call: "search",
        args: &[
            ("pattern", "pattern", true),
            ("glob", "globs", false),
            ("-i", "ignore_case", false),
            ("head_limit", "limit", false),
        ],
    },
    Tool { name: "Glob", doc: "Find files by name.", call: "search", args: &[("pattern", "pattern", true)] },
];

impl Tool {
    /// The tool of that name.
    pub fn lookup(name: &str) -> Option<&'static Self> {
        TOOLS.iter().find(|tool| tool.name == name)
    }

    /// Other calls that it makes, as its arguments say.
    fn others(&self) -> impl Iterator<Item = &'static str> {
        let calls = match self.name {
            "work" => needles::ACTIONS,
            "pipe" => &pipes::ACTIONS,
            "saga" => &[("show", "saga.show")],
            _ => &[],
        };
        calls.iter().map(|(_, call)| *call)
    }

    /// JSON Schema of the arguments as a model gives them.
    pub fn schema(&self) -> Value {
        let mut properties = Map::new();
        for (name, arg, _) in self.args {
            let mut calls = std::iter::once(self.call).chain(self.others()).filter_map(|call| lookup(call));
            let found = calls.find_map(|call| call.args.iter().find(|known| known.name == *arg));
            let schema = match (found, *name) {
                (_, "glob") => json!({ "type": "string" }),
                (Some(known), _) => match known.kind {
                    ArgKind::Text | ArgKind::Path => json!({ "type": "string", "description": known.doc }),
                    ArgKind::Number => json!({ "type": "integer", "minimum": 0, "description": known.doc }),
                    ArgKind::Flag => json!({ "type": "boolean", "description": known.doc }),
                    ArgKind::Objects => {
                        json!({ "type": "array", "items": { "type": "object" }, "description": known.doc })
                    }
                    ArgKind::Texts => {
                        json!({ "type": "array", "items": { "type": "string" }, "description": known.doc })
                    }
                },
                (None, "all") => json!({ "type": "boolean" }),
                (None, _) => json!({ "type": "string" }),
            };
            properties.insert((*name).to_owned(), schema);
        }
        let required: Vec<&str> =
            self.args.iter().filter(|(.., needed)| *needed).map(|(name, ..)| *name).collect();
        json!({ "type": "object", "properties": properties, "required": required })
    }
}

/// The system call that a model's tool call makes: its name and arguments.
///
/// # Errors
/// [`Code::Usage`] when there is no such tool, or its arguments name no operation.
pub fn tool_call(name: &str, input: &Value) -> Result<(&'static str, Value), CallError> {
    let tool = Tool::lookup(name).ok_or_else(|| {
        let names: Vec<&str> = TOOLS.iter().map(|tool| tool.name).collect();
        CallError::new(Code::Usage, format!("no tool is called {name:?}"))
            .hint(format!("one of: {}", names.join(", ")))
    })?;
    let mut args = Map::new();
    for (given, value) in input.as_object().into_iter().flatten() {
        let known = tool.args.iter().find(|(known, ..)| known == given);
        let target = known.map_or(given.as_str(), |(_, target, _)| target);
        let value = if target == "globs" && value.is_string() { json!([value]) } else { value.clone() };
        args.insert(target.to_owned(), value);
    }
    match name {
        "fs_ops" => Ok((fs_ops_call(&mut args)?, Value::Object(args))),
        "saga" => Ok((sagas::saga_call(&mut args)?, Value::Object(args))),
        "pipe" => Ok((pipes::pipe_call(&mut args)?, Value::Object(args))),
        "work" => Ok((needles::work_call(&mut args)?, Value::Object(args))),
        "Grep" | "Glob" => {
            let mode = if name == "Grep" { "regex" } else { "glob" };
            args.insert("mode".to_owned(), json!(mode));
            Ok((tool.call, Value::Object(args)))
        }
        _ => Ok((tool.call, Value::Object(args))),
    }
}

fn fs_ops_call(args: &mut Map<String, Value>) -> Result<&'static str, CallError> {
    let op = args.remove("op").and_then(|op| op.as_str().map(str::to_owned));
    if args.contains_key("ops") {
        return Ok("file.batch");
    }
    if args.contains_key("token") {
        return Ok("file.accept");
    }
    match op.as_deref() {
        Some("delete") => Ok("file.delete"),
        Some("rename") => {
            if let Some(from) = args.remove("path") {
                args.insert("from".to_owned(), from);
            }
            Ok("file.rename")
        }
        None | Some("edit" | "write") if args.contains_key("old") => Ok("file.edit"),
        None | Some("write") if args.contains_key("content") => Ok("file.write"),
        None | Some("write") if args.contains_key("new") => {
            if let Some(content) = args.remove("new") {
                args.insert("content".to_owned(), content);
            }
            Ok("file.write")
        }
        _ => Err(CallError::new(
            Code::Usage,
            "fs_ops: give path with old_str and new_str, path with content, op, or ops",
        )),
    }
}

/// A result as a model reads it: the payload first, the digest last.
pub fn render(call: &str, result: &Result<Value, CallError>) -> (String, bool) {
    let (mut text, told, failed) = match result {
        Ok(value) => (render_ok(call, value), value, false),
        Err(error) => {
            let mut text = error.to_text();
            for (label, field) in [("theirs", "theirs"), ("merge of both", "candidate")] {
                if let Some(version) = error.data.get(field).and_then(Value::as_str) {
                    text.push_str(&format!("\n--- {label} ---\n{version}"));
                }
            }
            (text, &error.data, true)
        }
    };
    let nudges = told.get("nudges").and_then(Value::as_array).into_iter().flatten();
    for nudge in nudges.filter_map(Value::as_str) {
        text.push_str("\n[message] ");
        text.push_str(nudge);
    }
    if let Some(digest) = told.get("digest").and_then(Value::as_str) {
        text.push('\n');
        text.push_str(digest);
    }
    (text, failed)
}

fn render_ok(call: &str, value: &Value) -> String {
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
    match call {
        "file.read" if value.get("elided").is_some() => {
            format!("[304] {}:gen={} (current)", text("path"), value["generation"])
        }
        "file.read" if value.get("binary").is_some() => {
            format!("[binary] {} {} bytes, sha256 {}", text("path"), value["size"], text("blob"))
        }
        "file.read" => text("content").to_owned(),
        "shell.run" => {
            let exit = &value["exit"];
            let mark = if *exit == json!(0) { '+' } else { '!' };
            let late = if value["timed_out"] == json!(true) { " (deadline passed, killed)" } else { "" };
            format!(
                "{mark} exit:{exit} {}ms{late}\n{}{}",
                value["duration_ms"],
                text("stdout"),
                text("stderr")
            )
        }
        "search" => {
            let rows = value.get("matches").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let line = |row: &Value| match row.get("line").and_then(Value::as_u64) {
                Some(line) if line > 0 => {
                    format!(
                        "{}:{line}: {}",
                        row["path"].as_str().unwrap_or(""),
                        row["text"].as_str().unwrap_or("").trim_end()
                    )
                }
                _ => row["path"].as_str().unwrap_or("").to_owned(),
            };
            let mut lines: Vec<String> = rows.iter().map(line).collect();
            if lines.is_empty() {
                lines.push("no match".to_owned());
            }
            if let Some(withheld) = value["files_withheld"].as_u64().filter(|withheld| *withheld > 0) {
                lines.push(format!("[{withheld} files that you may not read were not searched]"));
            }
            lines.join("\n")
        }
        _ if call.starts_with("work.") => needles::work_text(value),
        _ if value.get("files").is_some() => {
            let rows = value["files"].as_array().map(Vec::as_slice).unwrap_or_default();
            let row = |file: &Value| {
                let merged =
                    if file["merged"] == json!(true) { ", merged with another writer's change" } else { "" };
                format!("{} gen={}{merged}", file["path"].as_str().unwrap_or(""), file["generation"])
            };
            rows.iter().map(row).collect::<Vec<_>>().join("\n")
        }
        _ => value.to_string(),
    }
}
