//! Putting the entries of ostk into a coding agent's settings, and taking them out.
//!
//! Every file is planned before any is written, so a malformed one changes nothing. What each file was is kept under
//! `.ostk/clients/`: a file that nobody touched since gets its old bytes back, whatever they were; from any other only
//! our entries are cut. A link is followed, and the file at its end is replaced as a whole.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    codex,
    json::{Doc, JsonError},
};

/// Largest settings file.
const MAX_FILE: u64 = 4 * 1024 * 1024;
/// Seconds that a client waits for a hook.
const HOOK_TIMEOUT_S: u64 = 30;
/// Seconds that it waits at the end of a session; Codex grants no more.
const FAREWELL_TIMEOUT_S: u64 = 3;

/// The hooks of one client.
struct Hooks {
    /// Its tools that touch files, run commands or reach beyond the project.
    tools: &'static str,
    /// What stands before the event's name in the command.
    command: &'static str,
}

const CLAUDE: Hooks = Hooks {
    tools: "Read|Edit|MultiEdit|Write|NotebookEdit|Bash|WebFetch|WebSearch|mcp__.*",
    command: "ostk hook",
};
const CODEX: Hooks = Hooks { tools: "Bash|apply_patch", command: "ostk hook --client codex" };

/// Event of a client, whether it names tools, argument of `ostk hook`, seconds that it may take.
const EVENTS: &[(&str, bool, &str, u64)] = &[
    ("SessionStart", false, "session-start", HOOK_TIMEOUT_S),
    ("PreToolUse", true, "pre-tool", HOOK_TIMEOUT_S),
    ("PostToolUse", true, "post-tool", HOOK_TIMEOUT_S),
    ("Stop", false, "turn-end", HOOK_TIMEOUT_S),
    ("SessionEnd", false, "session-end", FAREWELL_TIMEOUT_S),
];

/// A coding agent that can be set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// Claude Code: hooks in `.claude/settings.json`, the server in `.mcp.json`.
    Claude,
    /// Codex: hooks in `.codex/hooks.json`, the server in `.codex/config.toml`.
    Codex,
    /// Cursor: the server in `.cursor/mcp.json`.
    Cursor,
}

/// What was done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Done {
    /// Entries were added.
    Added,
    /// Everything was there.
    Unchanged,
    /// Our entries were removed.
    Removed,
    /// The file is back as it was before the entries came.
    Restored,
    /// An entry was changed by hand and stays.
    Kept,
}

/// One file of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The file, relative to the project's root.
    pub path: String,
    /// What was done to it.
    pub done: Done,
}

/// Why a client is not set up. No file was changed unless the disk failed halfway.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The file is not what its format says, or has no place for the entries.
    #[error("{path}: {problem}")]
    Content {
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The disk refused.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
}

#[derive(Clone, Copy)]
enum Format {
    Hooks(&'static Hooks),
    Servers,
    Codex,
}

impl Client {
    const fn files(self) -> &'static [(&'static str, Format)] {
        match self {
            Self::Claude => {
                &[(".claude/settings.json", Format::Hooks(&CLAUDE)), (".mcp.json", Format::Servers)]
            }
            Self::Codex => {
                &[(".codex/hooks.json", Format::Hooks(&CODEX)), (".codex/config.toml", Format::Codex)]
            }
            Self::Cursor => &[(".cursor/mcp.json", Format::Servers)],
        }
    }
}

/// What a file was before the entries came, and what it was then.
#[derive(Serialize, Deserialize)]
struct Memory {
    before: Option<String>,
    after: String,
    /// Whether its directory came with it.
    made_dir: bool,
}

/// Adds the entries of ostk to the settings of `client` in the project at `root`; again, it changes nothing.
///
/// # Errors
/// See [`SetupError`].
pub fn install(root: &Path, client: Client) -> Result<Vec<Step>, SetupError> {
    let mut plans = Vec::new();
    for (path, format) in client.files() {
        let old = read(root, path)?;
        let new = format.add(old.as_deref().unwrap_or_default()).map_err(|problem| content(path, problem))?;
        // Before any is written: files may share a directory that is made for the first.
        let makes_dir = root.join(path).parent().is_some_and(|dir| !dir.exists());
        plans.push((*path, old, new, makes_dir));
    }
    let mut steps = Vec::new();
    for (path, old, new, makes_dir) in plans {
        let done = if new.is_some() { Done::Added } else { Done::Unchanged };
        if let Some(new) = new {
            remember(root, path, (old, makes_dir), &new)?;
            write(root, path, &new)?;
        }
        steps.push(Step { path: path.to_owned(), done });
    }
    Ok(steps)
}

/// Takes the entries out again; every other byte stays.
///
/// # Errors
/// See [`SetupError`].
pub fn uninstall(root: &Path, client: Client) -> Result<Vec<Step>, SetupError> {
    let mut plans = Vec::new();
    for (path, format) in client.files() {
        let Some(now) = read(root, path)? else {
            let _ = fs::remove_file(memory_path(root, path));
            continue;
        };
        let memory = recall(root, path)?;
        let plan = match memory {
            Some(memory) if memory.after == now => (memory.before, Done::Restored, memory.made_dir),
            memory => {
                let before = memory.as_ref().and_then(|memory| memory.before.as_deref());
                let (text, done) = format.remove(&now, before).map_err(|problem| content(path, problem))?;
                (Some(text), done, false)
            }
        };
        plans.push((*path, now, plan));
    }
    let mut steps = Vec::new();
    for (path, now, (new, done, made_dir)) in plans {
        match new {
            Some(new) if new == now => {}
            Some(new) => write(root, path, &new)?,
            None => delete(root, path, made_dir)?,
        }
        let _ = fs::remove_file(memory_path(root, path));
        steps.push(Step { path: path.to_owned(), done });
    }
    let _ = fs::remove_dir(root.join(".ostk/clients"));
    Ok(steps)
}

impl Format {
    /// The text with our entries, or nothing if they are there.
    fn add(self, text: &str) -> Result<Option<String>, String> {
        let added = match self {
            Self::Codex => return codex::add(text).map_err(|error| error.to_string()),
            Self::Servers => add_server(text),
            Self::Hooks(hooks) => add_hooks(text, hooks),
        };
        added.map_err(|error| error.to_string())
    }

    /// The text without our entries. Containers that `before` did not have go too when they are empty.
    fn remove(self, text: &str, before: Option<&str>) -> Result<(String, Done), String> {
        let removed = match self {
            Self::Codex => {
                let removed = codex::remove(text, before);
                let changed = removed.unwrap_or_else(|| text.to_owned());
                let left = changed.contains("[mcp_servers.ostk");
                return Ok((changed, if left { Done::Kept } else { Done::Removed }));
            }
            Self::Servers => remove_server(text, before),
            Self::Hooks(_) => remove_hooks(text, before),
        };
        let text = removed.map_err(|error| error.to_string())?;
        Ok((text, Done::Removed))
    }
}

fn server() -> Value {
    json!({ "command": "ostk", "args": ["mcp"] })
}

fn add_server(text: &str) -> Result<Option<String>, JsonError> {
    let mut doc = Doc::parse(text)?;
    if doc.get(&["mcpServers"]).is_none() {
        doc.add_member(&[], "mcpServers", &json!({ "ostk": server() }))?;
    } else if !doc.add_member(&["mcpServers"], "ostk", &server())? {
        return Ok(None);
    }
    Ok(Some(ended(doc, text)))
}

fn remove_server(text: &str, before: Option<&str>) -> Result<String, JsonError> {
    let mut doc = Doc::parse(text)?;
    doc.remove_member(&["mcpServers"], "ostk")?;
    drop_if_empty(&mut doc, &[], "mcpServers", before)?;
    Ok(doc.into_text())
}

fn hook(hooks: &Hooks, of_tools: bool, argument: &str, timeout_s: u64) -> Value {
    let command = format!("{} {argument}", hooks.command);
    let command = json!({ "type": "command", "command": command, "timeout": timeout_s });
    if of_tools {
        json!({ "matcher": hooks.tools, "hooks": [command] })
    } else {
        json!({ "hooks": [command] })
    }
}

/// Whether an entry of a hook list runs `ostk hook` and nothing else.
fn is_ours(entry: &Value) -> bool {
    let hooks = entry.get("hooks").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let ours = |hook: &Value| {
        hook.get("command").and_then(Value::as_str).is_some_and(|command| command.starts_with("ostk hook "))
    };
    !hooks.is_empty() && hooks.iter().all(ours)
}

fn add_hooks(text: &str, hooks: &Hooks) -> Result<Option<String>, JsonError> {
    let mut doc = Doc::parse(text)?;
    let mut changed = doc.get(&["hooks"]).is_none() && doc.add_member(&[], "hooks", &json!({}))?;
    for (event, of_tools, argument, timeout_s) in EVENTS {
        let entry = hook(hooks, *of_tools, argument, *timeout_s);
        match doc.get(&["hooks", event]) {
            None => changed |= doc.add_member(&["hooks"], event, &json!([entry]))?,
            Some(Value::Array(entries)) if entries.iter().any(is_ours) => {}
            Some(_) => {
                doc.add_element(&["hooks", event], &entry)?;
                changed = true;
            }
        }
    }
    Ok(changed.then(|| ended(doc, text)))
}

fn remove_hooks(text: &str, before: Option<&str>) -> Result<String, JsonError> {
    let mut doc = Doc::parse(text)?;
    for (event, ..) in EVENTS {
        doc.remove_elements(&["hooks", event], is_ours)?;
        drop_if_empty(&mut doc, &["hooks"], event, before)?;
    }
    drop_if_empty(&mut doc, &[], "hooks", before)?;
    Ok(doc.into_text())
}

fn drop_if_empty(doc: &mut Doc, path: &[&str], key: &str, before: Option<&str>) -> Result<(), JsonError> {
    let full: Vec<&str> = path.iter().copied().chain([key]).collect();
    let is_empty = |doc: &Doc| match doc.get(&full) {
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(members)) => members.is_empty(),
        _ => false,
    };
    if !is_empty(doc) {
        return Ok(());
    }
    match before.and_then(|text| Doc::parse(text).ok()).filter(|old| old.get(&full).is_some()) {
        // Also the blanks between its brackets.
        Some(old) if is_empty(&old) => doc.put_back(&full, &old),
        Some(_) => Ok(()),
        None => doc.remove_member(path, key),
    }
}

/// A file that we begin ends with a line break.
fn ended(doc: Doc, old: &str) -> String {
    let text = doc.into_text();
    if old.is_empty() { format!("{text}\n") } else { text }
}

fn content(path: &str, problem: String) -> SetupError {
    SetupError::Content { path: path.to_owned(), problem }
}

fn failed(path: &str) -> impl Fn(io::Error) -> SetupError {
    move |source| SetupError::Io { path: path.to_owned(), source }
}

fn read(root: &Path, path: &str) -> Result<Option<String>, SetupError> {
    let full = root.join(path);
    match fs::symlink_metadata(&full) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(failed(path))?,
    };
    if fs::metadata(&full).map_err(failed(path))?.len() > MAX_FILE {
        return Err(content(path, format!("larger than {MAX_FILE} bytes")));
    }
    fs::read_to_string(&full).map(Some).map_err(failed(path))
}

/// Replaces the file as a whole; a link keeps pointing to it, and its permissions stay.
fn write(root: &Path, path: &str, text: &str) -> Result<(), SetupError> {
    let full = root.join(path);
    let target = full.canonicalize().unwrap_or(full);
    let dir = target.parent().unwrap_or(root);
    fs::create_dir_all(dir).map_err(failed(path))?;
    let file = tempfile::NamedTempFile::new_in(dir).map_err(failed(path))?;
    fs::write(file.path(), text).map_err(failed(path))?;
    let permissions = fs::metadata(&target)
        .map_or_else(|_| std::os::unix::fs::PermissionsExt::from_mode(0o644), |found| found.permissions());
    fs::set_permissions(file.path(), permissions).map_err(failed(path))?;
    file.as_file().sync_all().map_err(failed(path))?;
    file.persist(&target).map(|_| ()).map_err(|error| failed(path)(error.error))
}

fn delete(root: &Path, path: &str, made_dir: bool) -> Result<(), SetupError> {
    fs::remove_file(root.join(path)).map_err(failed(path))?;
    if let Some(dir) = root.join(path).parent().filter(|dir| made_dir && *dir != root) {
        // It stays if somebody else keeps something there.
        let _ = fs::remove_dir(dir);
    }
    Ok(())
}

fn memory_path(root: &Path, path: &str) -> PathBuf {
    root.join(".ostk/clients").join(format!("{}.json", path.trim_start_matches('.').replace('/', "-")))
}

fn remember(
    root: &Path,
    path: &str,
    (mut before, mut made_dir): (Option<String>, bool),
    after: &str,
) -> Result<(), SetupError> {
    // Entries were missing from a file that we have been at: what it was before that still counts.
    if let Some(earlier) = recall(root, path)?.filter(|earlier| Some(&earlier.after) == before.as_ref()) {
        (before, made_dir) = (earlier.before, earlier.made_dir);
    }
    let memory = Memory { before, after: after.to_owned(), made_dir };
    let place = memory_path(root, path);
    if let Some(dir) = place.parent() {
        fs::create_dir_all(dir).map_err(failed(path))?;
        // Settings may hold secrets.
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(dir, private).map_err(failed(path))?;
    }
    let text = serde_json::to_string(&memory).map_err(|error| content(path, error.to_string()))?;
    fs::write(place, text).map_err(failed(path))
}

/// What is remembered of a file; a memory that cannot be read is none.
fn recall(root: &Path, path: &str) -> Result<Option<Memory>, SetupError> {
    match fs::read(memory_path(root, path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => Ok(serde_json::from_slice(&other.map_err(failed(path))?).ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMATS: [Format; 3] = [Format::Hooks(&CLAUDE), Format::Hooks(&CODEX), Format::Servers];

    /// Numbers that look random and are the same in every run.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, sides: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(self.0 >> 33).unwrap() % sides
        }

        fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
            choices[self.roll(choices.len())]
        }

        /// Members in some order, in one style of spacing, which is not always the same inside of them.
        fn settings(&mut self) -> String {
            let newline = self.of(&["\n", "\r\n", ""]);
            let indent = if newline.is_empty() { " " } else { self.of(&["  ", "\t", "    ", ""]) };
            let mut members = vec!["\"z\" : [1,2 , 3]", "\"model\":\"o\\\"}\u{e9}\""];
            members.push(self.of(&[
                "\"hooks\": {}",
                "\"hooks\":{ }",
                "\"hooks\": {\"Stop\": [ ], \"PreToolUse\":[{\"matcher\":\"X\",\"hooks\":[{\"type\":\"command\",\"command\":\"mine\"}]}]}",
                "\"hooks\": {\n\t\"SessionStart\": [\n\t]\n}",
                "\"a\": null",
            ]));
            members.push(self.of(&[
                "\"mcpServers\": {}",
                "\"mcpServers\":{\"b\":{\"command\":\"b\"} }",
                "\"b\": 2e5",
            ]));
            for at in (1..members.len()).rev() {
                members.swap(at, self.roll(at + 1));
            }
            members.truncate(1 + self.roll(members.len()));
            let inner = members.join(&format!(",{newline}{indent}"));
            format!(
                "{}{{{newline}{indent}{inner}{newline}}}{}",
                self.of(&["", " ", "\n"]),
                self.of(&["", "\n", "\r\n\r\n"])
            )
        }
    }

    #[test]
    fn cutting_our_entries_out_leaves_every_byte_of_any_settings() {
        let mut dice = Dice(7);
        for _ in 0..200 {
            let before = dice.settings();
            for format in FORMATS {
                let added = format.add(&before).unwrap().unwrap();
                assert!(serde_json::from_str::<Value>(&added).is_ok(), "{before:?}\n{added}");
                assert_eq!(format.add(&added).unwrap(), None, "a second time adds nothing");
                assert_eq!(format.remove(&added, Some(&before)).unwrap(), (before.clone(), Done::Removed));
                // Its owner has changed something else meanwhile.
                let theirs = |text: &str| text.replace("2 , 3]", "2 , 3, 4]").replace("\"o\\", "\"p\\");
                assert_eq!(format.remove(&theirs(&added), Some(&before)).unwrap().0, theirs(&before));
            }
        }
    }

    #[test]
    fn cutting_our_table_out_leaves_every_byte_of_any_toml() {
        let parts = [
            "# mine\n",
            "model = \"o5\"   # odd\n",
            "\n\n",
            "[tui]\n\ttheme = 'dark'\n",
            "[mcp_servers.b]\ncommand = \"b\"",
        ];
        for chosen in 0..1_usize << parts.len() {
            let taken = (0..parts.len()).filter(|part| chosen >> part & 1 == 1);
            let text: String = taken.map(|part| parts[part]).collect();
            for before in [text.clone(), text.replace('\n', "\r\n"), text.trim_end().to_owned()] {
                let added = Format::Codex.add(&before).unwrap().unwrap();
                assert_eq!(
                    Format::Codex.remove(&added, Some(&before)).unwrap(),
                    (before.clone(), Done::Removed)
                );
            }
        }
    }
}
