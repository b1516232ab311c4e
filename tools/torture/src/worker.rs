//! One client: edits, rewrites, batches, commands and reads in an order that the seed decides, each change with an
//! idempotency key, each answer written down.
//!
//! The worker keeps what it believes of each file the way a careful agent would: the text it read last, moved on by its
//! own writes only. Whole-file writes start from there, so they are often stale.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    ledger::{Answer, Deed, Line, marker},
    link::{Failure, Link},
    rng::Rng,
    scratch::Shared,
};

/// A candidate that is refused again is accepted again this often; then the worker lets the change be.
const MAX_ACCEPTS: u64 = 3;

/// Turns on the files that somebody outside edits too.
#[derive(Debug, Default)]
pub(crate) struct Turns(BTreeMap<String, Mutex<()>>);

impl Turns {
    pub(crate) fn new(shared: &[Shared]) -> Self {
        let reserved = shared.iter().filter(|file| file.reserved);
        Self(reserved.map(|file| (file.path.clone(), Mutex::new(()))).collect())
    }

    pub(crate) fn take(&self, path: &str) -> Option<MutexGuard<'_, ()>> {
        self.0.get(path).map(|turn| turn.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn reserved(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }
}

/// What all workers share.
#[derive(Debug)]
pub(crate) struct World<'a> {
    pub(crate) shared: &'a [Shared],
    pub(crate) turns: &'a Turns,
    pub(crate) edits: u64,
    pub(crate) until: Instant,
    /// Calls answered so far, by all workers.
    pub(crate) progress: &'a AtomicU64,
}

/// What a worker hands in.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) deeds: Vec<Deed>,
    pub(crate) conflicts: u64,
    pub(crate) accepted: u64,
    pub(crate) repeated: u64,
    /// What the answers themselves showed to be wrong.
    pub(crate) problems: Vec<String>,
}

/// A client at work.
#[derive(Debug)]
pub(crate) struct Worker<'a> {
    name: String,
    link: Link,
    rng: Rng,
    world: &'a World<'a>,
    number: u64,
    keys: u64,
    beliefs: BTreeMap<String, String>,
    /// Its own lines in shared files.
    mine: Vec<Line>,
    /// Its own scratch files and the line in each.
    scratch: Vec<Line>,
    account: Account,
}

/// A call that may change something.
struct Wish {
    verb: &'static str,
    args: Value,
    adds: Vec<Line>,
    removes: Vec<Line>,
}

impl<'a> Worker<'a> {
    pub(crate) fn new(name: String, link: Link, rng: Rng, world: &'a World<'a>) -> Self {
        let (beliefs, mine, scratch) = (BTreeMap::new(), Vec::new(), Vec::new());
        Self {
            name,
            link,
            rng,
            world,
            number: 0,
            keys: 0,
            beliefs,
            mine,
            scratch,
            account: Account::default(),
        }
    }

    /// Makes all its calls.
    pub(crate) fn work(mut self) -> Account {
        for _ in 0..self.world.edits {
            if Instant::now() < self.world.until {
                self.step();
            }
            self.world.progress.fetch_add(1, Ordering::Relaxed);
        }
        self.account.repeated = self.link.repeated;
        self.account
    }

    fn step(&mut self) {
        let Some(file) = self.rng.pick(self.world.shared) else { return };
        let turns = self.world.turns;
        match self.rng.below(100) {
            0..=14 => self.read(&file.path),
            15..=44 => {
                let _turn = turns.take(&file.path);
                self.insert(file);
            }
            45..=56 => self.replace_mine(),
            57..=79 => {
                let _turn = turns.take(&file.path);
                self.rewrite(&file.path);
            }
            80..=88 => self.batch(),
            89..=93 => self.create(),
            94..=96 => self.delete(),
            _ => self.shell(),
        }
    }

    fn fresh(&mut self, path: &str) -> Line {
        self.number += 1;
        Line { path: path.to_owned(), text: marker(&self.name, self.number) }
    }

    fn read(&mut self, path: &str) {
        let fresh = !self.beliefs.contains_key(path) || self.rng.chance(10);
        match self.link.call("file.read", &json!({ "path": path, "fresh": fresh }), None) {
            Ok(answer) => self.learn(path, &answer),
            Err(failure) => self.account.problems.push(format!("{}: read {path}: {failure:?}", self.name)),
        }
    }

    fn learn(&mut self, path: &str, answer: &Value) {
        let blob = answer.get("blob").and_then(Value::as_str).unwrap_or_default();
        if let Some(text) = answer.get("content").and_then(Value::as_str) {
            self.beliefs.insert(path.to_owned(), text.to_owned());
        }
        let believed = self.beliefs.get(path).map(|text| sha256(text)).unwrap_or_default();
        if believed != blob {
            let what = format!("{}: read {path}: told of {blob}, knows {believed}: {answer}", self.name);
            self.account.problems.push(what.chars().take(400).collect());
            self.beliefs.remove(path);
        }
    }

    fn insert(&mut self, file: &Shared) {
        let Some(anchor) = self.rng.pick(&file.lines).cloned() else { return };
        let line = self.fresh(&file.path);
        let args = json!({ "path": file.path, "old": anchor, "new": format!("{anchor}\n{}", line.text) });
        self.edit(args, vec![line], Vec::new());
    }

    fn replace_mine(&mut self) {
        let Some(old) = self.rng.pick(&self.mine).cloned() else { return };
        let turns = self.world.turns;
        let _turn = turns.take(&old.path);
        let new = self.fresh(&old.path);
        let args = json!({ "path": old.path, "old": old.text, "new": new.text });
        self.edit(args, vec![new], vec![old]);
    }

    fn edit(&mut self, args: Value, adds: Vec<Line>, removes: Vec<Line>) {
        let moved = ["path", "old", "new"]
            .map(|name| args.get(name).and_then(Value::as_str).unwrap_or("").to_owned());
        let [path, old, new] = moved;
        let answer = self.wish(Wish { verb: "file.edit", args, adds, removes });
        match answer {
            Answer::Done(_) => self.move_belief(&path, &old, &new),
            Answer::Refused(_) => {}
            Answer::Unknown(_) => drop(self.beliefs.remove(&path)),
        }
    }

    /// The kernel moves the caller's belief by the caller's own edit, if it applies there.
    fn move_belief(&mut self, path: &str, old: &str, new: &str) {
        if let Some(text) = self.beliefs.get_mut(path)
            && text.matches(old).count() == 1
        {
            *text = text.replacen(old, new, 1);
        }
    }

    fn rewrite(&mut self, path: &str) {
        if !self.beliefs.contains_key(path) {
            self.read(path);
        }
        let Some(base) = self.beliefs.get(path).cloned() else { return };
        let line = self.fresh(path);
        let mut lines: Vec<&str> = base.lines().collect();
        lines.insert(self.rng.below(lines.len() + 1), &line.text);
        let content = format!("{}\n", lines.join("\n"));
        let mut args = json!({ "path": path, "content": content });
        if self.rng.chance(50)
            && let Some(args) = args.as_object_mut()
        {
            args.insert("base_blob".to_owned(), json!(sha256(&base)));
        }
        match self.wish(Wish { verb: "file.write", args, adds: vec![line], removes: Vec::new() }) {
            Answer::Done(_) => drop(self.beliefs.insert(path.to_owned(), content)),
            // A conflict may have been accepted since; whatever it is, look again before the next one.
            Answer::Refused(_) | Answer::Unknown(_) => drop(self.beliefs.remove(path)),
        }
    }

    fn batch(&mut self) {
        let world = self.world;
        let free: Vec<&Shared> = world.shared.iter().filter(|file| !file.reserved).collect();
        let (Some(first), Some(second)) = (self.rng.pick(&free).copied(), self.rng.pick(&free).copied())
        else {
            return;
        };
        let (mut ops, mut adds) = (Vec::new(), Vec::new());
        for file in [first, second] {
            let Some(anchor) = self.rng.pick(&file.lines).cloned() else { return };
            let line = self.fresh(&file.path);
            ops.push((file.path.clone(), anchor.clone(), format!("{anchor}\n{}", line.text)));
            adds.push(line);
        }
        let list: Vec<Value> = ops
            .iter()
            .map(|(path, old, new)| json!({ "op": "edit", "path": path, "old": old, "new": new }))
            .collect();
        match self.wish(Wish { verb: "file.batch", args: json!({ "ops": list }), adds, removes: Vec::new() })
        {
            Answer::Done(_) => {
                for (path, old, new) in &ops {
                    self.move_belief(path, old, new);
                }
            }
            Answer::Refused(_) => {}
            Answer::Unknown(_) => {
                for (path, ..) in &ops {
                    self.beliefs.remove(path);
                }
            }
        }
    }

    fn create(&mut self) {
        let path = format!("own/{}-{}.txt", self.name, self.rng.below(6));
        if self.scratch.iter().any(|line| line.path == path) {
            return;
        }
        let line = self.fresh(&path);
        let args = json!({ "path": path, "content": format!("{}\n", line.text) });
        match self.wish(Wish { verb: "file.write", args, adds: vec![line.clone()], removes: Vec::new() }) {
            Answer::Done(_) => self.scratch.push(line),
            other => self.account.problems.push(format!("{}: create {path}: {other:?}", self.name)),
        }
    }

    fn delete(&mut self) {
        if self.scratch.is_empty() {
            return;
        }
        let line = self.scratch.swap_remove(self.rng.below(self.scratch.len()));
        let args = json!({ "path": line.path });
        match self.wish(Wish { verb: "file.delete", args, adds: Vec::new(), removes: vec![line.clone()] }) {
            Answer::Done(_) => {}
            other => self.account.problems.push(format!("{}: delete {}: {other:?}", self.name, line.path)),
        }
    }

    fn shell(&mut self) {
        let path = format!("own/{}.log", self.name);
        let line = self.fresh(&path);
        let args = json!({ "command": format!("echo '{}' >> {path}", line.text) });
        self.wish(Wish { verb: "shell.run", args, adds: vec![line], removes: Vec::new() });
    }

    /// Makes a call, accepts the candidate if it ends in a conflict that has one, and writes down all of it.
    fn wish(&mut self, wish: Wish) -> Answer {
        let mut result = self.attempt(wish.verb, &wish.args, &wish.adds, &wish.removes);
        for _ in 0..MAX_ACCEPTS {
            let Err(token) = result else { break };
            result = self.attempt("file.accept", &json!({ "token": token }), &wish.adds, &wish.removes);
            if matches!(result, Ok(Answer::Done(_))) {
                self.account.accepted += 1;
                self.remember(&wish);
                // The text that was accepted is the kernel's: read it before building on it.
                return Answer::Unknown("accepted".to_owned());
            }
        }
        let answer = result.unwrap_or_else(|_| Answer::Refused("conflict".to_owned()));
        if matches!(answer, Answer::Done(_)) {
            self.remember(&wish);
        }
        answer
    }

    /// Which of its lines in shared files it may replace later.
    fn remember(&mut self, wish: &Wish) {
        self.mine.retain(|line| !wish.removes.contains(line));
        self.mine.extend(wish.adds.iter().filter(|line| line.path.starts_with("src/")).cloned());
    }

    /// One call with a key of its own. An error is the token of a conflict.
    fn attempt(
        &mut self,
        verb: &'static str,
        args: &Value,
        adds: &[Line],
        removes: &[Line],
    ) -> Result<Answer, String> {
        self.keys += 1;
        let key = format!("{}-k{}", self.name, self.keys);
        let (answer, token) = match self.link.call(verb, args, Some(&key)) {
            Ok(result) => self.done(verb, &result),
            Err(Failure::Silent(what)) => {
                self.account.problems.push(format!("{}: {verb} {key}: no answer: {what}", self.name));
                (Answer::Unknown(what), None)
            }
            // A command that a restart interrupted: the message says so, and nobody runs it again.
            Err(Failure::Refused { code, message, .. }) if verb == "shell.run" => {
                (Answer::Unknown(format!("{code}: {message}")), None)
            }
            Err(Failure::Refused { code, message, data }) => self.refused(verb, &key, &code, &message, &data),
        };
        let (adds, removes, who) = (adds.to_vec(), removes.to_vec(), self.name.clone());
        self.account.deeds.push(Deed { key, who, verb, adds, removes, answer: answer.clone() });
        token.map_or(Ok(answer), Err)
    }

    fn done(&mut self, verb: &str, result: &Value) -> (Answer, Option<String>) {
        let intent = result.get("intent").and_then(Value::as_u64);
        if verb == "shell.run" {
            let exit = result.get("exit").and_then(Value::as_i64);
            return match exit {
                Some(0) => (Answer::Done(None), None),
                _ => (Answer::Unknown(format!("exit {exit:?}: {result}")), None),
            };
        }
        if intent.is_none() {
            let what = format!("{}: {verb} was answered without an intent: {result}", self.name);
            self.account.problems.push(what.chars().take(400).collect());
        }
        (Answer::Done(intent), None)
    }

    fn refused(
        &mut self,
        verb: &str,
        key: &str,
        code: &str,
        message: &str,
        data: &Value,
    ) -> (Answer, Option<String>) {
        let token = data.get("token").and_then(Value::as_str).map(str::to_owned);
        self.account.conflicts += u64::from(code == "conflict");
        let expected =
            matches!(code, "conflict" | "unread") || (verb == "file.accept" && code == "not_found");
        if !expected {
            let what = format!("{}: {verb} {key} failed: {code}: {message}", self.name);
            self.account.problems.push(what.chars().take(400).collect());
        }
        (Answer::Refused(code.to_owned()), token.filter(|_| code == "conflict"))
    }
}

fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}
