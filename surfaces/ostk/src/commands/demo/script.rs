//! The transcripts of the demo's agents, made for the files of the repository at hand.
//!
//! Each worker makes targeted edits in its own regions of files that all workers share. On top of that, by number:
//! 1 edits near line L of a file and tries to write outside the workspace; 2 rewrites the same file from a stale version
//! right beside that line and accepts the merge that it is handed; the last one rewrites a shared file from a stale
//! version far from everybody; the first also runs a command that writes, and 2 edits a file that was changed outside.

use std::path::Path;

use ostk_log::Hash;
use scripted_model::Script;
use serde_json::{Value, json};

/// Lines that a file must have to be shared by the fleet.
const MIN_LINES: usize = 40;
const MAX_LINES: usize = 3_000;
/// Targeted edits of each worker in each shared file.
const EDITS: usize = 3;

/// A file of the repository that the agents work on.
pub(super) struct Target {
    pub(super) path: String,
    lines: Vec<String>,
    hash: Hash,
    comment: &'static str,
}

/// What the fleet will do.
pub(super) struct Plan {
    pub(super) script: Script,
    pub(super) files: Vec<String>,
    /// The file that somebody edits outside the kernel, and the line that is added.
    pub(super) outside: (String, String),
}

/// Picks the files to work on: source files of a fair size with enough lines that occur once.
pub(super) fn targets(root: &Path, tracked: &[String]) -> Vec<Target> {
    let mut found: Vec<Target> = tracked.iter().filter_map(|path| target(root, path)).collect();
    found.sort_by_key(|target| std::cmp::Reverse(target.lines.len()));
    found.truncate(4);
    found
}

fn target(root: &Path, path: &str) -> Option<Target> {
    let comment = match path.rsplit('.').next()? {
        "rs" | "c" | "h" | "cpp" | "go" | "js" | "ts" | "java" | "swift" => "//",
        "py" | "sh" | "rb" | "toml" | "yml" | "yaml" => "#",
        "md" | "txt" => "",
        _ => return None,
    };
    let file = root.join(path);
    if std::fs::symlink_metadata(&file).ok()?.is_symlink() {
        return None;
    }
    let text = String::from_utf8(std::fs::read(file).ok()?).ok()?;
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let fits = (MIN_LINES..=MAX_LINES).contains(&lines.len()) && text.ends_with('\n') && !text.contains('\r');
    fits.then(|| Target { path: path.to_owned(), hash: Hash::of(text.as_bytes()), lines, comment })
}

/// Whether the worker's transcript has commands in it.
pub(super) const fn runs_commands(worker: usize) -> bool {
    worker <= 2
}

/// Writes the transcripts of `workers` agents. Needs four targets.
pub(super) fn plan(targets: &[Target], workers: usize) -> Option<Plan> {
    let [first, second, close, outside] = targets else { return None };
    let mut conversations = Vec::new();
    let marked = close.mark("worker-1 was here");
    let at = close.middle();
    let added = outside.mark("edited outside the kernel");
    for worker in 1..=workers {
        let mut turns = vec![reads(&[first, second, close, outside])];
        for edit in 0..EDITS {
            for target in [first, second] {
                turns.push(target.edit(worker, workers, edit));
            }
            if edit == 0 && worker == 1 {
                turns.push(tool("fs_ops", json!({ "path": close.path, "old_str": close.line(at), "new_str": format!("{}\n{marked}", close.line(at)) })));
                turns.push(tool(
                    "fs_ops",
                    json!({ "path": "../outside-the-bounds.txt", "content": "escaped\n" }),
                ));
                turns.push(tool(
                    "fs_ops",
                    json!({ "path": ".git/hooks/pre-commit", "content": "#!/bin/sh\n" }),
                ));
                turns.push(tool(
                    "bash",
                    json!({ "cmd": "printf 'made by a command\\n' > demo-made-by-a-command.txt" }),
                ));
            }
            if edit == 0 && worker == 2 {
                turns.push(wait_for(&marked, &close.path));
                turns.push(tool("fs_ops", close.stale_rewrite(at + 1, "worker-2 was close")));
                turns.push(tool(
                    "fs_ops",
                    json!({ "accept": { "$from_last_result": "\"token\": \"(c[0-9]+)\"" } }),
                ));
                let line = outside.line(outside.middle());
                let new = format!("{line}\n{}", outside.mark("worker-2 after the outside edit"));
                turns.push(tool("fs_ops", json!({ "path": outside.path, "old_str": line, "new_str": new })));
            }
            if edit == 1 && worker == workers {
                turns.push(tool(
                    "fs_ops",
                    first.stale_rewrite(first.lines.len() - 1, "rewritten from a stale version"),
                ));
            }
        }
        turns.push(tool("note", json!({ "text": format!("worker-{worker} is done") })));
        turns.push(json!({ "reply": [{ "text": "Done." }] }));
        conversations.push(json!({ "name": format!("worker-{worker}"),
            "match": { "first_user": format!("You are worker-{worker} ") }, "turns": turns }));
    }
    let script = Script::from_value(json!({ "conversations": conversations })).ok()?;
    let files = targets.iter().map(|target| target.path.clone()).collect();
    Some(Plan { script, files, outside: (outside.path.clone(), added) })
}

impl Target {
    fn line(&self, at: usize) -> &str {
        self.lines.get(at).map(String::as_str).unwrap_or_default()
    }

    fn mark(&self, text: &str) -> String {
        format!("{} ostk demo: {text}", self.comment).trim_start().to_owned()
    }

    fn is_unique(&self, at: usize) -> bool {
        let line = self.line(at);
        line.trim().len() > 8 && self.lines.iter().filter(|other| other.contains(line)).count() == 1
    }

    /// The unique line closest to the middle that is not close to the end.
    fn middle(&self) -> usize {
        self.unique_from(self.lines.len() / 2)
    }

    /// The first line at or after `from` that occurs once; the search wraps around.
    fn unique_from(&self, from: usize) -> usize {
        let count = self.lines.len().max(1);
        (0..count).map(|step| (from + step) % count).find(|at| self.is_unique(*at)).unwrap_or(0)
    }

    /// A targeted edit in the worker's own region.
    fn edit(&self, worker: usize, workers: usize, edit: usize) -> Value {
        let slot = (worker - 1) * EDITS + edit;
        let at = self.unique_from(self.lines.len() * slot / (workers * EDITS));
        let mark = self.mark(&format!("worker-{worker} edit {}", edit + 1));
        tool(
            "fs_ops",
            json!({ "path": self.path, "old_str": self.line(at), "new_str": format!("{}\n{mark}", self.line(at)),
            "reason": format!("edit {} of worker-{worker}", edit + 1) }),
        )
    }

    /// A whole-file write made from the version before anybody worked, with one line added after `at`.
    fn stale_rewrite(&self, at: usize, text: &str) -> Value {
        let mut lines = self.lines.clone();
        lines.insert((at + 1).min(lines.len()), self.mark(text));
        json!({ "path": self.path, "content": format!("{}\n", lines.join("\n")), "base_blob": self.hash })
    }
}

fn tool(name: &str, input: Value) -> Value {
    json!({ "reply": [{ "tool": { "name": name, "input": input } }] })
}

fn reads(targets: &[&Target]) -> Value {
    let calls: Vec<Value> = targets
        .iter()
        .map(|target| json!({ "tool": { "name": "read", "input": { "path": target.path } } }))
        .collect();
    json!({ "reply": calls })
}

/// Waits until a line is in a file, at most ten seconds.
fn wait_for(line: &str, path: &str) -> Value {
    let cmd = format!(
        "for i in $(seq 200); do grep -qF {} {} && exit 0; sleep 0.05; done; exit 1",
        quote(line),
        quote(path)
    );
    tool("bash", json!({ "cmd": cmd }))
}

fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}
