//! One client: edits, rewrites, batches, commands and reads in an order that the seed decides, each change with an
//! idempotency key.
//!
//! The worker keeps what it believes of each file the way a careful agent would: the text it read last, moved on by its
//! own writes only. Whole-file writes start from there, so they are often stale. It is a process of its own and may be
//! killed at any moment, so it says what it is about to do before it does it, and what came of it ([`Word`]); whoever
//! started it writes that down, and starts another from there, which first repeats the call that has no answer.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use libostk::Identity;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    ledger::{Answer, Line, marker},
    link::{Failure, Link},
    rng::Rng,
    scratch::Shared,
    turns::Turns,
};

/// A candidate that is refused again is accepted again this often; then the worker lets the change be.
const MAX_ACCEPTS: u64 = 3;

/// What a worker is told when it starts, as one JSON document on its standard input.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    /// Its lineage.
    pub(crate) name: String,
    pub(crate) socket: PathBuf,
    /// Decides every choice, together with its stream.
    pub(crate) seed: u64,
    pub(crate) stream: u64,
    pub(crate) shared: Vec<Shared>,
    /// Where the turns' locks lie.
    pub(crate) turns: PathBuf,
    /// Steps to go.
    pub(crate) steps: u64,
    /// It begins no step later than this.
    pub(crate) limit_ms: u64,
    pub(crate) memory: Memory,
    /// The call of its predecessor that has no answer.
    pub(crate) open: Option<Attempt>,
}

/// What a worker must not forget.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// Lines made so far.
    number: u64,
    /// Keys used so far.
    keys: u64,
    /// Its own lines in shared files.
    mine: Vec<Line>,
    /// Its own scratch files and the line in each.
    scratch: Vec<Line>,
}

/// A call that is about to be made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Attempt {
    pub(crate) key: String,
    pub(crate) verb: String,
    pub(crate) args: Value,
    pub(crate) adds: Vec<Line>,
    pub(crate) removes: Vec<Line>,
    /// Lines that its worker had made by then.
    pub(crate) made: u64,
}

impl Memory {
    /// A call is about to be made.
    pub(crate) fn begin(&mut self, attempt: &Attempt) {
        self.keys += 1;
        self.number = attempt.made;
    }

    /// A call was answered.
    pub(crate) fn learn(&mut self, attempt: &Attempt, answer: &Answer) {
        if !matches!(answer, Answer::Done(_)) {
            return;
        }
        let Attempt { verb, adds, removes, .. } = attempt;
        self.mine.retain(|line| !removes.contains(line));
        self.scratch.retain(|line| !removes.contains(line));
        for line in adds {
            if line.path.starts_with("src/") {
                self.mine.push(line.clone());
            } else if verb == "file.write" {
                self.scratch.push(line.clone());
            }
        }
    }
}

/// What a worker says, a JSON document on a line of its standard output.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Word {
    /// A call follows.
    Begun(Attempt),
    /// It was answered.
    Answered(Answer),
    /// A step is over.
    Step,
    /// A conflict was handed back.
    Conflict,
    /// A candidate was accepted.
    Accepted,
    /// Calls that were repeated because their connection broke.
    Repeated(u64),
    /// An answer showed something to be wrong.
    Problem(String),
}

/// A client at work.
#[derive(Debug)]
pub(crate) struct Worker<'a> {
    name: &'a str,
    link: Link,
    rng: Rng,
    shared: &'a [Shared],
    turns: Turns,
    beliefs: BTreeMap<String, String>,
    memory: Memory,
}

/// A call that may change something.
struct Wish {
    verb: &'static str,
    args: Value,
    adds: Vec<Line>,
    removes: Vec<Line>,
}

/// Is a worker: reads its task from standard input, works, and says so on standard output.
///
/// # Errors
/// When the task cannot be read, or a lock cannot be taken.
pub fn work() -> Result<()> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    let task: Task = serde_json::from_str(&text).context("the task")?;
    let until = Instant::now() + Duration::from_millis(task.limit_ms);
    let mut worker = Worker {
        name: &task.name,
        link: Link::new(task.socket.clone(), Identity::Lineage(task.name.clone())),
        rng: Rng::new(task.seed, task.stream),
        shared: &task.shared,
        turns: Turns::new(&task.turns, &task.shared)?,
        beliefs: BTreeMap::new(),
        memory: task.memory.clone(),
    };
    if let Some(open) = task.open {
        worker.repeat(open);
    }
    for _ in 0..task.steps {
        if Instant::now() < until {
            worker.step()?;
        }
        tell(&Word::Step);
    }
    tell(&Word::Repeated(worker.link.repeated));
    Ok(())
}

/// Whoever listens may have gone; then the worker goes on to its end all the same.
fn tell(word: &Word) {
    if let Ok(mut line) = serde_json::to_string(word) {
        line.push('\n');
        let mut out = io::stdout().lock();
        let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    }
}

fn problem(what: &str) {
    tell(&Word::Problem(what.chars().take(400).collect()));
}

impl Worker<'_> {
    fn step(&mut self) -> io::Result<()> {
        let Some(file) = self.rng.pick(self.shared) else { return Ok(()) };
        match self.rng.below(100) {
            0..=14 => self.read(&file.path),
            15..=44 => {
                let _turn = self.turns.take(&file.path)?;
                self.insert(file);
            }
            45..=56 => self.replace_mine()?,
            57..=79 => {
                let _turn = self.turns.take(&file.path)?;
                self.rewrite(&file.path);
            }
            80..=88 => self.batch(),
            89..=93 => self.create(),
            94..=96 => self.delete(),
            _ => self.shell(),
        }
        Ok(())
    }

    /// Makes the call that the worker before this one did not live to see answered.
    fn repeat(&mut self, open: Attempt) {
        let path = open.adds.first().or(open.removes.first()).map(|line| line.path.clone());
        let _turn = path.and_then(|path| self.turns.take(&path).ok());
        // A conflict's candidate is let be: nobody knows what its caller had in mind.
        let _ = self.make(&open);
    }

    fn fresh(&mut self, path: &str) -> Line {
        self.memory.number += 1;
        Line { path: path.to_owned(), text: marker(self.name, self.memory.number) }
    }

    fn read(&mut self, path: &str) {
        let fresh = !self.beliefs.contains_key(path) || self.rng.chance(10);
        match self.link.call("file.read", &json!({ "path": path, "fresh": fresh }), None) {
            Ok(answer) => self.learn(path, &answer),
            Err(failure) => problem(&format!("{}: read {path}: {failure:?}", self.name)),
        }
    }

    fn learn(&mut self, path: &str, answer: &Value) {
        let blob = answer.get("blob").and_then(Value::as_str).unwrap_or_default();
        if let Some(text) = answer.get("content").and_then(Value::as_str) {
            self.beliefs.insert(path.to_owned(), text.to_owned());
        }
        let believed = self.beliefs.get(path).map(|text| sha256(text)).unwrap_or_default();
        if believed != blob {
            problem(&format!("{}: read {path}: told of {blob}, knows {believed}: {answer}", self.name));
            self.beliefs.remove(path);
        }
    }

    fn insert(&mut self, file: &Shared) {
        let Some(anchor) = self.rng.pick(&file.lines).cloned() else { return };
        let line = self.fresh(&file.path);
        let args = json!({ "path": file.path, "old": anchor, "new": format!("{anchor}\n{}", line.text) });
        self.edit(args, vec![line], Vec::new());
    }

    fn replace_mine(&mut self) -> io::Result<()> {
        let Some(old) = self.rng.pick(&self.memory.mine).cloned() else { return Ok(()) };
        let _turn = self.turns.take(&old.path)?;
        let new = self.fresh(&old.path);
        let args = json!({ "path": old.path, "old": old.text, "new": new.text });
        self.edit(args, vec![new], vec![old]);
        Ok(())
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
        let free: Vec<&Shared> = self.shared.iter().filter(|file| !file.reserved).collect();
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
        if self.memory.scratch.iter().any(|line| line.path == path) {
            return;
        }
        let line = self.fresh(&path);
        let args = json!({ "path": path, "content": format!("{}\n", line.text) });
        match self.wish(Wish { verb: "file.write", args, adds: vec![line], removes: Vec::new() }) {
            Answer::Done(_) => {}
            other => problem(&format!("{}: create {path}: {other:?}", self.name)),
        }
    }

    fn delete(&mut self) {
        let Some(line) = self.rng.pick(&self.memory.scratch).cloned() else { return };
        let args = json!({ "path": line.path });
        match self.wish(Wish { verb: "file.delete", args, adds: Vec::new(), removes: vec![line.clone()] }) {
            Answer::Done(_) => {}
            other => problem(&format!("{}: delete {}: {other:?}", self.name, line.path)),
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
                tell(&Word::Accepted);
                // The text that was accepted is the kernel's: read it before building on it.
                return Answer::Unknown("accepted".to_owned());
            }
        }
        result.unwrap_or_else(|_| Answer::Refused("conflict".to_owned()))
    }

    /// One call with a key of its own. An error is the token of a conflict.
    fn attempt(
        &mut self,
        verb: &str,
        args: &Value,
        adds: &[Line],
        removes: &[Line],
    ) -> Result<Answer, String> {
        let attempt = Attempt {
            key: format!("{}-k{}", self.name, self.memory.keys + 1),
            verb: verb.to_owned(),
            args: args.clone(),
            adds: adds.to_vec(),
            removes: removes.to_vec(),
            made: self.memory.number,
        };
        self.memory.begin(&attempt);
        tell(&Word::Begun(attempt.clone()));
        self.make(&attempt)
    }

    fn make(&mut self, attempt: &Attempt) -> Result<Answer, String> {
        let Attempt { key, verb, args, .. } = attempt;
        let (answer, token) = match self.link.call(verb, args, Some(key)) {
            Ok(result) => self.done(verb, &result),
            Err(Failure::Silent(what)) => {
                problem(&format!("{}: {verb} {key}: no answer: {what}", self.name));
                (Answer::Unknown(what), None)
            }
            // A command that a restart interrupted, or a file that somebody outside changed on top of a write that was not
            // finished: the message says so, and nobody does it again.
            Err(Failure::Refused { code, message, .. })
                if verb == "shell.run" || message.contains("is unknown") =>
            {
                (Answer::Unknown(format!("{code}: {message}")), None)
            }
            Err(Failure::Refused { code, message, data }) => self.refused(verb, key, &code, &message, &data),
        };
        self.memory.learn(attempt, &answer);
        tell(&Word::Answered(answer.clone()));
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
            problem(&format!("{}: {verb} was answered without an intent: {result}", self.name));
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
        if code == "conflict" {
            tell(&Word::Conflict);
        }
        let expected =
            matches!(code, "conflict" | "unread") || (verb == "file.accept" && code == "not_found");
        if !expected {
            problem(&format!("{}: {verb} {key} failed: {code}: {message}", self.name));
        }
        (Answer::Refused(code.to_owned()), token.filter(|_| code == "conflict"))
    }
}

fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}
