//! What clients ask for: agents of other programs that read, edit, write, delete, rename, take back, run commands, lock,
//! note and talk to each other, with keys that they repeat when an answer is lost.
//!
//! A client makes one call at a time and believes what it was told. Its calls on shared files change its own line only.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    daemon::Answer, features::Features, ledger::Deed, ledger::Ledger, pipes, rng::Rng, sagas::Begun, workers,
};

/// Files that everybody edits, line by line.
pub(crate) const SHARED: &[&str] = &["s0", "s1"];
/// Files with which anything may happen.
pub(crate) const FREE: &[&str] = &["f0", "f1"];
/// Locks that clients fight for.
const LOCKS: &[&str] = &["l0", "l1"];

/// A call as its client means it.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) verb: &'static str,
    pub(crate) args: Value,
    pub(crate) deed: Deed,
    /// The path that it is about, and the text that the client believes in afterwards.
    pub(crate) path: String,
    pub(crate) view: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) timeout_ms: u64,
    /// Its answer was lost: it is asked again.
    pub(crate) again: bool,
}

impl Wish {
    pub(crate) fn new(verb: &'static str, path: &str, args: Value) -> Self {
        let (deed, view, key) = (Deed::default(), None, None);
        Self { verb, args, deed, path: path.to_owned(), view, key, timeout_ms: 30_000, again: false }
    }

    /// Whether the call may take as long as a command.
    pub(crate) fn is_long(&self) -> bool {
        let long = ["shell.run", "work.close", "process.start", "process.interact", "search"];
        long.contains(&self.verb) || self.verb.starts_with("saga.")
    }
}

/// One client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) name: String,
    /// What it believes the files to be.
    pub(crate) views: BTreeMap<String, String>,
    /// Its line in each shared file; absent if it does not know.
    pub(crate) own: BTreeMap<String, String>,
    /// The call that it waits for.
    pub(crate) open: Option<u64>,
    /// What it asks next.
    pub(crate) next: Option<Wish>,
    /// It may die.
    mortal: bool,
    /// A file that it asked for and never saw: it goes on from what it knew before.
    hasty: Option<&'static str>,
    /// It shares needles in so many of 100 cases.
    works: usize,
    /// Its needles have words by which workers find them.
    tags: bool,
    /// It talks through pipes.
    talks: bool,
    /// It begins sagas, and knows these.
    sagas: Option<Begun>,
    made: u64,
    /// The token of a conflict, and the change that it was about.
    token: Option<(String, String, Deed)>,
    process: Option<String>,
    pub(crate) writes: Vec<u64>,
}

impl Client {
    pub(crate) fn new(name: String, works: bool, features: &Features) -> Self {
        let works = if works { 60 } else { usize::from(features.workers) * 50 };
        let own = SHARED.iter().map(|path| ((*path).to_owned(), first_line(&name, path))).collect();
        Self {
            name,
            views: BTreeMap::new(),
            own,
            open: None,
            next: None,
            mortal: features.mortals,
            hasty: None,
            works,
            tags: features.workers,
            talks: features.pipes,
            sagas: features.sagas.then(Begun::default),
            made: 0,
            token: None,
            process: None,
            writes: Vec::new(),
        }
    }

    /// The daemon died: what was asked is asked again if it had a key, otherwise nobody knows.
    pub(crate) fn daemon_died(&mut self, asked: Option<Wish>) {
        (self.open, self.process) = (None, None);
        self.unanswered(asked);
    }

    /// It dies and begins anew, from what it had written down: which change it would ask for, and perhaps what it had seen.
    pub(crate) fn die(&mut self, asked: Option<Wish>, notes: bool) {
        (self.open, self.token) = (None, None);
        if !notes {
            self.views.clear();
        }
        self.unanswered(
            asked.map(|wish| Wish { key: wish.key.filter(|_| wish.verb != "file.read"), ..wish }),
        );
    }

    /// Nobody knows what came of a call; one with a key is asked again.
    pub(crate) fn unanswered(&mut self, asked: Option<Wish>) {
        let Some(wish) = asked else { return };
        if wish.key.is_some() {
            self.next = Some(Wish { again: true, ..wish });
        } else if self.mortal && wish.verb == "file.read" {
            self.hasty = SHARED.iter().find(|path| **path == wish.path).copied();
        } else {
            for (path, _) in &wish.deed.adds {
                self.own.remove(path);
            }
        }
    }

    /// What it asks for now.
    pub(crate) fn wish(&mut self, rng: &mut Rng, others: &[String]) -> Wish {
        if let Some(wish) = self.next.take() {
            return wish;
        }
        self.made += 1;
        let mut wish = self.choose(rng, others);
        if rng.chance(80) {
            wish.key = Some(format!("{}-{}", self.name, self.made));
        }
        if let Some(timeout) = rng.pick(&[2_000, 30_000, 30_000, 120_000]) {
            wish.timeout_ms = *timeout;
        }
        wish
    }

    fn choose(&mut self, rng: &mut Rng, others: &[String]) -> Wish {
        if let Some(path) = self.hasty.take() {
            return self.write(path);
        }
        if self.mortal && rng.chance(25) {
            let path = pick(rng, SHARED);
            return Wish::new("file.read", path, json!({ "path": path }));
        }
        if self.works > 0 && rng.chance(self.works) {
            return self.about_work(rng);
        }
        if self.talks && rng.chance(50) {
            return pipes::wish(&self.name, self.made, rng);
        }
        if let Some(begun) = self.sagas.as_ref().filter(|_| rng.chance(25)) {
            return begun.wish(&self.name, self.made, others, rng);
        }
        let (shared, free) = (pick(rng, SHARED), pick(rng, FREE));
        if let Some((token, path, deed)) = self.token.take()
            && rng.chance(60)
        {
            return Wish { deed, ..Wish::new("file.accept", &path, json!({ "token": token })) };
        }
        match rng.below(100) {
            0..=11 => Wish::new("file.read", shared, json!({ "path": shared })),
            12..=29 => self.edit(shared),
            30..=41 => self.write(shared),
            42..=47 => self.batch(),
            48..=53 => self.command(shared, rng),
            54..=59 => lock(pick(rng, LOCKS), rng),
            60..=62 => Wish::new("note", "", json!({ "text": format!("note {} {}", self.name, self.made) })),
            63..=69 => {
                let to = rng.pick(others).cloned().unwrap_or_default();
                let text = format!("nudge {} {}", self.name, self.made);
                Wish::new("nudge", "", json!({ "lineage": to, "text": text }))
            }
            70..=90 => self.anything(free, rng),
            91..=93 => self.process(),
            94 => Wish::new("search", "", json!({ "pattern": "=" })),
            95 => Wish::new("dir.list", "", json!({})),
            96 => {
                let agent = format!("a{}", rng.below(2));
                Wish::new("agent.wait", "", json!({ "lineage": agent }))
            }
            97 => Wish::new("file.read", "", json!({ "path": "../outside" })),
            _ => self.about_signals(rng),
        }
    }

    /// Work that all share: whoever takes it holds it, until it is closed, given back, or its lease ends.
    fn about_work(&self, rng: &mut Rng) -> Wish {
        let id = format!("{}", rng.within(1, 8));
        match rng.below(10) {
            0..=2 => {
                let (title, priority) = (format!("needle {} {}", self.name, self.made), rng.below(4));
                let tags = if self.tags { workers::tags(rng) } else { Vec::new() };
                let args = json!({ "title": title, "priority": format!("P{priority}"), "description": "d", "ac": [],
                    "tags": tags });
                Wish::new("work.add", "", args)
            }
            3..=5 => Wish::new("work.next", "", json!({ "lease_ms": rng.within(1_000, 60_000) })),
            6..=7 => {
                let args = json!({ "id": id, "force": rng.chance(50), "reason": "r", "timeout_ms": 5_000 });
                Wish::new("work.close", "", args)
            }
            8 => Wish::new("work.release", "", json!({ "id": id })),
            _ => Wish::new("work.claim", "", json!({ "id": id, "lease_ms": rng.within(1_000, 60_000) })),
        }
    }

    /// What it does with signals to itself.
    fn about_signals(&self, rng: &mut Rng) -> Wish {
        let signal = rng.pick(&["SIGTERM", "SIGUSR1", "SIGHUP", "SIGFREEZE"]).copied().unwrap_or_default();
        let list = rng.pick(&["block", "ignore", "handle", "default"]).copied().unwrap_or_default();
        match rng.below(5) {
            0..=1 => Wish::new("signal.mask", "", json!({ list: [signal] })),
            2..=3 => Wish::new("signal.wait", "", json!({ "timeout_ms": 5_000 })),
            _ => Wish::new("agent.signal", "", json!({ "lineage": self.name, "signal": signal })),
        }
    }

    fn next_line(&self, path: &str) -> String {
        format!("{} in {path}: {};", self.name, self.made)
    }

    fn edit(&self, path: &'static str) -> Wish {
        let Some(old) = self.own.get(path) else {
            return Wish::new("file.read", path, json!({ "path": path, "fresh": true }));
        };
        let new = self.next_line(path);
        let mut wish = Wish::new("file.edit", path, json!({ "path": path, "old": old, "new": new }));
        wish.view = self.views.get(path).map(|view| view.replace(old, &new));
        wish.deed.adds.push((path.to_owned(), new));
        wish.deed.removes.push((path.to_owned(), old.clone()));
        wish
    }

    fn write(&self, path: &'static str) -> Wish {
        let (Some(view), Some(old)) = (self.views.get(path), self.own.get(path)) else {
            return Wish::new("file.read", path, json!({ "path": path, "fresh": true }));
        };
        if !view.contains(old.as_str()) {
            return Wish::new("file.read", path, json!({ "path": path, "fresh": true }));
        }
        let edit = self.edit(path);
        let content = edit.view.clone().unwrap_or_default();
        let args = json!({ "path": path, "content": content });
        Wish { view: Some(content), deed: edit.deed, ..Wish::new("file.write", path, args) }
    }

    fn batch(&self) -> Wish {
        let mut wish = Wish::new("file.batch", "", Value::Null);
        let mut ops = Vec::new();
        for path in SHARED {
            let edit = self.edit(path);
            if edit.verb == "file.edit" {
                ops.push(edit.args);
                wish.deed.adds.extend(edit.deed.adds);
                wish.deed.removes.extend(edit.deed.removes);
            }
        }
        if ops.is_empty() {
            return self.edit("s0");
        }
        wish.args = json!({ "ops": ops });
        wish
    }

    /// A command that changes the client's own line past the kernel, or does nothing for a while.
    fn command(&self, path: &'static str, rng: &mut Rng) -> Wish {
        let edit = self.edit(path);
        if edit.verb != "file.edit" {
            return edit;
        }
        let timeout = 5_000;
        let (Some((_, new)), Some((_, old))) = (edit.deed.adds.first(), edit.deed.removes.first()) else {
            return edit;
        };
        let (command, deed) = if rng.chance(70) {
            (format!("set\t{path}\t{old}\t{new}"), edit.deed.clone())
        } else {
            (format!("sleep\t{} {}", self.name, self.made), Deed::default())
        };
        let args = json!({ "command": command, "timeout_ms": timeout });
        Wish { deed, ..Wish::new("shell.run", path, args) }
    }

    /// Whole files: written, deleted, renamed, taken back.
    fn anything(&mut self, path: &'static str, rng: &mut Rng) -> Wish {
        let text = format!("{} wrote {}\n{}", self.name, self.made, "filler\n".repeat(rng.below(4)));
        let path_only = json!({ "path": path });
        match rng.below(14) {
            0..=2 => Wish::new("file.read", path, path_only),
            3..=4 => Wish {
                view: Some(text.clone()),
                ..Wish::new("file.write", path, json!({ "path": path, "content": text }))
            },
            5 => {
                let args = json!({ "path": path, "content": text, "base_blob": "absent", "executable": rng.chance(50) });
                Wish { view: Some(text), ..Wish::new("file.write", path, args) }
            }
            6 | 11 | 12 => match self.views.get(path) {
                Some(view) => {
                    let more = format!("{view}{} added {}\n", self.name, self.made);
                    Wish {
                        view: Some(more.clone()),
                        ..Wish::new("file.write", path, json!({ "path": path, "content": more }))
                    }
                }
                None => Wish::new("file.read", path, path_only),
            },
            7 => Wish::new("file.delete", path, path_only),
            8 => Wish::new("file.rename", path, json!({ "from": path, "to": pick(rng, FREE) })),
            9 => {
                let args =
                    json!({ "lineage": self.name, "path": path, "reason": format!("lineage={}", self.name) });
                Wish::new("file.undo", path, args)
            }
            10 => match rng.pick(&self.writes) {
                Some(seq) => {
                    Wish::new("file.undo", path, json!({ "seq": seq, "reason": format!("seq={seq}") }))
                }
                None => Wish::new("file.log", path, path_only),
            },
            _ => Wish::new("file.blame", path, path_only),
        }
    }

    fn process(&mut self) -> Wish {
        match &self.process {
            None => {
                let alias = format!("p-{}-{}", self.name, self.made);
                let wish = Wish::new("process.start", "", json!({ "alias": alias, "command": "serve" }));
                self.process = Some(alias);
                wish
            }
            Some(alias) => {
                let action = if self.made.is_multiple_of(3) { "kill" } else { "read_tail" };
                let wish = Wish::new("process.interact", "", json!({ "alias": alias, "action": action }));
                if action == "kill" {
                    self.process = None;
                }
                wish
            }
        }
    }

    /// Takes an answer in.
    pub(crate) fn hear(&mut self, wish: &Wish, answer: &Answer, ledger: &mut Ledger) {
        if let Some(begun) = &mut self.sagas {
            begun.hear(wish, answer);
        }
        match answer {
            // A command that was ended may have done its work or not.
            Ok(result) if result.get("exit").is_some_and(|exit| exit != 0) => {
                for (path, _) in &wish.deed.adds {
                    self.own.remove(path);
                    self.views.remove(path);
                }
            }
            Ok(result) => {
                ledger.done(&wish.deed);
                for (path, line) in &wish.deed.adds {
                    self.own.insert(path.clone(), line.clone());
                }
                self.believe(wish, result, ledger);
            }
            Err(error) => {
                let data = &error.data;
                let token = data.get("token").and_then(Value::as_str);
                self.token = token.map(|token| (token.to_owned(), wish.path.clone(), wish.deed.clone()));
                for name in ["theirs", "candidate"] {
                    if let Some(text) = data.get(name).and_then(Value::as_str) {
                        ledger.shown(&self.name, &wish.path, text);
                    }
                }
                // A command may have ended badly and done its work, and a write may be finished by the next start.
                let unknown = wish.verb == "shell.run" || error.message.contains("is unknown");
                if !unknown && error.code != ostk_kernel::Code::Poisoned {
                    ledger.refused(&wish.deed);
                }
                for path in wish.deed.adds.iter().map(|(path, _)| path).chain([&wish.path]) {
                    self.own.remove(path);
                    self.views.remove(path);
                }
            }
        }
    }

    fn believe(&mut self, wish: &Wish, result: &Value, ledger: &mut Ledger) {
        match wish.verb {
            "file.read" => {
                if let Some(content) = result.get("content").and_then(Value::as_str) {
                    self.views.insert(wish.path.clone(), content.to_owned());
                }
                let Some(view) = self.views.get(&wish.path).cloned() else { return };
                ledger.shown(&self.name, &wish.path, &view);
                if SHARED.contains(&wish.path.as_str()) {
                    let mine = format!("{} in ", self.name);
                    if let Some(line) = view.lines().find(|line| line.starts_with(&mine)) {
                        self.own.insert(wish.path.clone(), line.to_owned());
                    }
                }
            }
            "file.write" | "file.edit" | "file.accept" => {
                self.writes.extend(
                    result
                        .get("intent")
                        .and_then(Value::as_u64)
                        .filter(|_| FREE.contains(&wish.path.as_str())),
                );
                match &wish.view {
                    Some(view) => {
                        ledger.shown(&self.name, &wish.path, view);
                        self.views.insert(wish.path.clone(), view.clone());
                    }
                    None => drop(self.views.remove(&wish.path)),
                }
            }
            "file.batch" => {
                for ((path, new), (_, old)) in wish.deed.adds.iter().zip(&wish.deed.removes) {
                    if let Some(view) = self.views.get_mut(path) {
                        *view = view.replace(old, new);
                    }
                }
            }
            "file.delete" | "file.rename" | "file.undo" | "shell.run" => {
                self.views.remove(&wish.path);
            }
            _ => {}
        }
    }
}

/// The line that a client finds of its own.
pub(crate) fn first_line(name: &str, path: &str) -> String {
    format!("{name} in {path}: 0;")
}

fn pick(rng: &mut Rng, items: &[&'static str]) -> &'static str {
    rng.pick(items).copied().unwrap_or_default()
}

fn lock(name: &str, rng: &mut Rng) -> Wish {
    let action = if rng.chance(60) { "create" } else { "release" };
    let held = rng.within(500, 60_000);
    Wish::new("lock", name, json!({ "action": action, "name": name, "timeout_ms": held }))
}
