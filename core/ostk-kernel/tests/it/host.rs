//! A host in memory: files, blobs and a log that is durable exactly as far as a test says.
//!
//! It carries acts out as the daemon would: an operation starts when the records it waits for are durable, a reply is
//! sent when those it promises are. After every step the records are folded again, from their bytes, and the folded
//! state must equal the kernel's.

use std::collections::{BTreeMap, VecDeque};

use ostk_agent::{
    AgentState,
    model::{Block, ModelReply, ModelRequest, StopReason, Usage},
};
use ostk_kernel::{
    Act, After, Allowance, BlobBytes, Call, CallError, CallId, Caller, Code, Config, Found, Kernel,
    ModelFacts, Op, OpId, Outcome, Placed, ProcessSignal, Seen, ShellEnd, State, Unresolved, Within, fold,
};
use ostk_log::{Draft, Hash, Timestamp};
use ostk_policy::{Documents, Gate};
use serde_json::{Map, Value};

pub(crate) type Reply = Result<Value, CallError>;
pub(crate) type Files = BTreeMap<String, (Vec<u8>, bool)>;

/// Calls of one model at once.
pub(crate) const SLOTS: usize = 4;

/// What the model says to a conversation.
type Brain = Box<dyn FnMut(&ModelRequest) -> Vec<Block>>;
/// What a command does to the files, and its output.
type Command = Box<dyn FnMut(&mut Files) -> ShellEnd>;

pub(crate) struct Host {
    pub(crate) kernel: Kernel,
    pub(crate) files: Files,
    pub(crate) blobs: BTreeMap<Hash, BlobBytes>,
    /// Records with the blobs that came with each.
    pub(crate) log: Vec<(Draft, Vec<(Hash, BlobBytes)>)>,
    pub(crate) durable: usize,
    /// Whether `run` makes records durable.
    pub(crate) syncs: bool,
    /// Records are written as soon as they are appended, and not only when they are synced.
    pub(crate) writes: bool,
    pub(crate) parked: VecDeque<(OpId, Op, Option<u64>)>,
    pub(crate) parked_replies: Vec<(CallId, Reply, After)>,
    pub(crate) replies: BTreeMap<CallId, Reply>,
    pub(crate) aborted: Vec<OpId>,
    pub(crate) signalled: Vec<(OpId, ProcessSignal)>,
    /// Outside edits made just before the next placings, one each.
    pub(crate) before_place: VecDeque<(String, Vec<u8>)>,
    /// What no file may hold: one that does is kept back.
    pub(crate) secret: Option<&'static str>,
    /// Paths that cannot be written.
    pub(crate) read_only: Vec<String>,
    /// What commands do, by command line.
    pub(crate) commands: BTreeMap<String, Command>,
    /// What the scan before a command reports.
    pub(crate) scanned_before: Vec<String>,
    /// The model's replies, by the number of replies before it in the conversation.
    pub(crate) script: Vec<Vec<Block>>,
    /// Answers in the place of the script.
    pub(crate) brain: Option<Brain>,
    /// Operations carried out, by kind.
    pub(crate) done: BTreeMap<&'static str, usize>,
    pub(crate) documents: Documents,
    pub(crate) settings: Settings,
    /// What starting and ending stacks comes to, in this order.
    pub(crate) stacks: VecDeque<Reply>,
    pub(crate) now: u64,
    shadow: State,
    epoch: u64,
    next_call: u64,
}

pub(crate) fn agent(name: &str) -> Caller {
    Caller::Agent(name.to_owned())
}

pub(crate) fn ada() -> Caller {
    Caller::Human("ada".to_owned())
}

/// What a daemon reads besides the documents.
#[derive(Clone, Default)]
pub(crate) struct Settings {
    pub(crate) allowance: Allowance,
    pub(crate) within: Option<Within>,
    /// Agents that may run at once, if that is bounded.
    pub(crate) agents: Option<usize>,
}

impl Host {
    pub(crate) fn new() -> Self {
        Self::with(Documents::default())
    }

    pub(crate) fn with(documents: Documents) -> Self {
        Self::of(documents, Settings::default())
    }

    pub(crate) fn of(documents: Documents, settings: Settings) -> Self {
        let mut host = Self {
            kernel: kernel(State::default(), &documents, 1, settings.clone()),
            files: Files::new(),
            blobs: BTreeMap::new(),
            log: Vec::new(),
            durable: 0,
            syncs: true,
            writes: true,
            parked: VecDeque::new(),
            parked_replies: Vec::new(),
            replies: BTreeMap::new(),
            aborted: Vec::new(),
            signalled: Vec::new(),
            before_place: VecDeque::new(),
            secret: None,
            read_only: Vec::new(),
            commands: BTreeMap::new(),
            scanned_before: Vec::new(),
            script: Vec::new(),
            brain: None,
            done: BTreeMap::new(),
            documents,
            settings,
            stacks: VecDeque::new(),
            now: 1_790_000_000_000_000,
            shadow: State::default(),
            epoch: 1,
            next_call: 0,
        };
        host.boot();
        host.run();
        host
    }

    fn boot(&mut self) {
        let acts = self.kernel.boot(Timestamp::from_micros(self.now), &self.documents.clone());
        self.take(acts);
    }

    /// The power fails: what is not durable is gone, the files stay; a new daemon starts.
    pub(crate) fn crash(&mut self) {
        self.log.truncate(self.durable);
        self.blobs = self.log.iter().flat_map(|(_, blobs)| blobs.iter().cloned()).collect();
        let mut state = State::default();
        for (draft, _) in &self.log {
            fold(&mut state, draft).unwrap();
        }
        self.shadow = state.clone();
        self.epoch += 1;
        self.kernel = kernel(state, &self.documents, self.epoch, self.settings.clone());
        self.parked.clear();
        self.parked_replies.clear();
        self.before_place.clear();
        self.boot();
    }

    /// The daemon is killed: what is written stays; a new daemon starts.
    pub(crate) fn kill(&mut self) {
        if self.writes {
            self.durable = self.log.len();
        }
        self.crash();
    }

    /// The daemon stops in good order: everything is durable.
    pub(crate) fn stop(&mut self) {
        let acts = self.kernel.stop(Timestamp::from_micros(self.now), "asked to stop");
        self.take(acts);
        self.sync_to(self.log.len());
    }

    pub(crate) fn submit(&mut self, caller: &Caller, verb: &str, args: Value) -> CallId {
        self.submit_keyed(caller, verb, args, None)
    }

    pub(crate) fn submit_keyed(
        &mut self,
        caller: &Caller,
        verb: &str,
        args: Value,
        key: Option<&str>,
    ) -> CallId {
        self.submit_for(caller, verb, args, key, 60_000)
    }

    /// Submits a call whose caller waits so long.
    pub(crate) fn submit_for(
        &mut self,
        caller: &Caller,
        verb: &str,
        args: Value,
        key: Option<&str>,
        timeout_ms: u64,
    ) -> CallId {
        self.next_call += 1;
        self.now += 1_000;
        let now = Timestamp::from_micros(self.now);
        let call = Call {
            id: self.next_call,
            caller: caller.clone(),
            verb: verb.to_owned(),
            args,
            idempotency: key.map(str::to_owned),
            deadline: now.plus_millis(timeout_ms),
        };
        let acts = self.kernel.submit(now, call);
        self.take(acts);
        self.next_call
    }

    /// Submits, runs everything, and returns the reply.
    pub(crate) fn call(&mut self, caller: &Caller, verb: &str, args: Value) -> Reply {
        let id = self.submit(caller, verb, args);
        self.run();
        self.replies.remove(&id).expect("the call has a reply")
    }

    pub(crate) fn keyed(&mut self, caller: &Caller, verb: &str, args: Value, key: &str) -> Reply {
        let id = self.submit_keyed(caller, verb, args, Some(key));
        self.run();
        self.replies.remove(&id).expect("the call has a reply")
    }

    pub(crate) fn ok(&mut self, caller: &Caller, verb: &str, args: Value) -> Value {
        self.call(caller, verb, args).unwrap_or_else(|error| panic!("{verb}: {error:?}"))
    }

    pub(crate) fn err(&mut self, caller: &Caller, verb: &str, args: Value) -> CallError {
        self.call(caller, verb, args).expect_err("a refusal")
    }

    pub(crate) fn tick(&mut self, millis: u64) -> Option<Timestamp> {
        self.now += millis * 1_000;
        let (acts, next) = self.kernel.tick(Timestamp::from_micros(self.now));
        self.take(acts);
        next
    }

    /// The caller gives up on its call with this key.
    pub(crate) fn withdraw(&mut self, caller: &Caller, key: &str) {
        let acts = self.kernel.withdraw(Timestamp::from_micros(self.now), caller, key);
        self.take(acts);
    }

    pub(crate) fn notice(&mut self, paths: &[&str]) {
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        let acts = self.kernel.notice(Timestamp::from_micros(self.now), &paths);
        self.take(acts);
        self.run();
    }

    /// Carries out everything until nothing moves.
    pub(crate) fn run(&mut self) {
        for _ in 0..100_000 {
            if self.syncs {
                self.sync_to(self.log.len());
            }
            if !self.step(0) {
                assert_eq!(self.shadow.hash(), self.kernel.state().hash());
                return;
            }
        }
        panic!("it never comes to rest");
    }

    /// Carries out the operation at `at` among those that may start; false if there is none.
    pub(crate) fn step(&mut self, at: usize) -> bool {
        let Some((id, op)) = self.start(at) else { return false };
        let outcome = self.carry_out(op);
        self.finish(id, outcome);
        true
    }

    pub(crate) fn ready(&self) -> Vec<usize> {
        let durable = self.durable as u64;
        (0..self.parked.len()).filter(|at| self.parked[*at].2.is_none_or(|after| after <= durable)).collect()
    }

    /// Takes the operation at `at` among the ready ones off the list.
    pub(crate) fn start(&mut self, at: usize) -> Option<(OpId, Op)> {
        let ready = self.ready();
        let index = *ready.get(at.checked_rem(ready.len())?)?;
        let (id, op, _) = self.parked.remove(index)?;
        Some((id, op))
    }

    /// Carries out what comes before the first such operation, and starts that one.
    pub(crate) fn start_first(&mut self, wanted: impl Fn(&Op) -> bool) -> (OpId, Op) {
        loop {
            self.sync_to(self.log.len());
            let (id, op) = self.start(0).unwrap();
            if wanted(&op) {
                return (id, op);
            }
            let outcome = self.carry_out(op);
            self.finish(id, outcome);
        }
    }

    pub(crate) fn finish(&mut self, id: OpId, outcome: Outcome) {
        self.now += 1_000;
        let acts = self.kernel.complete(Timestamp::from_micros(self.now), id, outcome);
        self.take(acts);
    }

    pub(crate) fn sync_to(&mut self, records: usize) {
        self.durable = self.durable.max(records);
        let durable = self.durable as u64;
        let written = if self.writes { self.log.len() as u64 } else { durable };
        let due = |after: &After| match after {
            After::Nothing => true,
            After::Written(count) => *count <= written,
            After::Durable(count) => *count <= durable,
        };
        let (sent, parked) =
            std::mem::take(&mut self.parked_replies).into_iter().partition(|(.., after)| due(after));
        self.parked_replies = parked;
        let sent: Vec<(CallId, Reply, After)> = sent;
        self.replies.extend(sent.into_iter().map(|(call, reply, _)| (call, reply)));
    }

    pub(crate) fn take(&mut self, acts: Vec<Act>) {
        for act in acts {
            match act {
                Act::Append { draft, blobs, .. } => self.append(draft, blobs),
                // Known at once, as in the daemon.
                Act::Run { id, op: op @ Op::DescribeModel { .. }, after: None } => {
                    let outcome = self.carry_out(op);
                    self.finish(id, outcome);
                }
                Act::Run { id, op, after } => self.parked.push_back((id, op, after)),
                Act::Reply { call, result, after } => self.parked_replies.push((call, result, after)),
                Act::Abort { id } => self.aborted.push(id),
                Act::Signal { id, signal } => self.signalled.push((id, signal)),
            }
        }
        self.sync_to(self.durable);
        assert_eq!(self.shadow, *self.kernel.state(), "the fold of the log is the kernel's state");
    }

    fn append(&mut self, draft: Draft, blobs: Vec<(Hash, BlobBytes)>) {
        for (hash, bytes) in &blobs {
            assert_eq!(Hash::of(bytes), *hash, "a blob has the digest of its bytes");
            self.blobs.insert(*hash, bytes.clone());
        }
        let line = serde_json::to_string(&draft.body).unwrap();
        assert!(line.len() < ostk_log::MAX_LINE - 2_048, "{} does not fit into a line", draft.event);
        self.every_blob_is_stored(&Value::Object(draft.body.clone()), &draft.event);
        let body = sorted(&Value::Object(draft.body)).as_object().cloned().unwrap();
        let draft = Draft { body, ..draft };
        fold(&mut self.shadow, &draft).unwrap();
        self.log.push((draft, blobs));
    }

    /// A member called `blob` or ending in `_blob` names bytes that came with this record or one before.
    fn every_blob_is_stored(&self, value: &Value, event: &str) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    if let (true, Some(hash)) = (name == "blob" || name.ends_with("_blob"), value.as_str()) {
                        let hash: Hash = hash.parse().unwrap();
                        assert!(self.blobs.contains_key(&hash), "{event}.{name} names a blob nobody stored");
                    }
                    self.every_blob_is_stored(value, event);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.every_blob_is_stored(item, event)),
            _ => {}
        }
    }

    pub(crate) fn carry_out(&mut self, op: Op) -> Outcome {
        let name = name_of(&op);
        *self.done.entry(name).or_default() += 1;
        match op {
            Op::Resolve { cwd, paths } => {
                Outcome::Resolved(paths.iter().map(|path| resolve(&cwd, path)).collect())
            }
            Op::Observe { paths, blobs } => {
                let files = paths.into_iter().map(|path| (path.clone(), self.see(&path))).collect();
                let found = blobs.iter().filter_map(|hash| Some((*hash, self.blobs.get(hash)?.clone())));
                Outcome::Observed { files, blobs: found.collect() }
            }
            Op::Place { steps } => Outcome::Placed(self.place(steps)),
            Op::List { .. } => Outcome::Listed(Ok(self.files.keys().cloned().collect())),
            Op::Shell(command) => self.shell(&command.line),
            Op::Scan => Outcome::Scanned(Ok(self.files.keys().cloned().collect())),
            Op::Start { alias, .. } => Outcome::Json(Ok(serde_json::json!({ "alias": alias, "pid": 7 }))),
            Op::Interact { action, .. } => {
                Outcome::Json(Ok(serde_json::json!({ "output": "", "alive": action != "kill" })))
            }
            Op::Search { may_read, .. } => {
                let (shown, withheld): (Vec<&String>, Vec<&String>) =
                    self.files.keys().partition(|path| may_read.allows(path));
                let matches: Vec<Value> =
                    shown.iter().map(|path| serde_json::json!({ "path": path })).collect();
                Outcome::Json(Ok(serde_json::json!({ "matches": matches, "files_withheld": withheld.len() })))
            }
            Op::DescribeModel { model } => Outcome::Described(describe(&model)),
            Op::Model { agent, .. } => self.model(&agent),
            Op::Stack(_) => Outcome::Json(
                self.stacks
                    .pop_front()
                    .unwrap_or_else(|| Err(CallError::new(Code::Failed, "no stack starts here"))),
            ),
            Op::LoadDocuments => Outcome::Documents {
                documents: Box::new(self.documents.clone()),
                allowance: Ok(self.settings.allowance),
            },
            Op::ListQuarantine | Op::Restore { .. } => Outcome::Json(Ok(serde_json::json!({ "items": [] }))),
        }
    }

    fn see(&self, path: &str) -> Seen {
        match self.files.get(path) {
            None => Seen::Absent,
            Some((bytes, _)) if self.secret.is_some_and(|secret| holds(bytes, secret)) => {
                Seen::Withheld { secrets: vec!["A_KEY".to_owned()] }
            }
            Some((bytes, executable)) => {
                Seen::File { hash: Hash::of(bytes), bytes: bytes.clone().into(), executable: *executable }
            }
        }
    }

    fn place(&mut self, steps: Vec<Found>) -> Placed {
        if let Some((path, bytes)) = self.before_place.pop_front() {
            self.files.insert(path, (bytes, false));
        }
        for (done, step) in steps.into_iter().enumerate() {
            if self.read_only.contains(&step.path) {
                return Placed::Failed { done, reason: format!("{}: permission denied", step.path) };
            }
            if self.files.get(&step.path).map(|(bytes, _)| Hash::of(bytes)) != step.expected {
                return Placed::Displaced { done };
            }
            match step.wanted {
                Some((bytes, executable)) => self.files.insert(step.path, (bytes.to_vec(), executable)),
                None => self.files.remove(&step.path),
            };
        }
        Placed::All
    }

    fn shell(&mut self, command: &str) -> Outcome {
        let before = std::mem::take(&mut self.scanned_before);
        let old = self.files.clone();
        let mut files = old.clone();
        let run = self.commands.get_mut(command).unwrap_or_else(|| panic!("no command {command:?}"));
        let end = run(&mut files);
        let changed = |path: &&String| old.get(*path) != files.get(*path);
        let mut after: Vec<String> = old.keys().chain(files.keys()).filter(changed).cloned().collect();
        after.dedup();
        self.files = files;
        Outcome::Shell { end: Ok(end), before, after }
    }

    fn model(&mut self, agent: &AgentState) -> Outcome {
        let request = self.conversation(agent);
        let said =
            request.messages.iter().filter(|message| message.role == ostk_agent::model::Role::Assistant);
        let content = match &mut self.brain {
            Some(brain) => brain(&request),
            None => self.script.get(said.count()).cloned().expect("the model has something to say"),
        };
        let asks = content.iter().any(|block| matches!(block, Block::ToolUse { .. }));
        let stop = if asks { StopReason::ToolUse } else { StopReason::EndTurn };
        let usage = Usage { input: 100, output: 10, ..Usage::default() };
        let (model, message_id) = (request.model, format!("m{}", request.messages.len()));
        Outcome::Model(Ok((ModelReply { model, message_id, content, stop, usage }, Some(5))))
    }

    pub(crate) fn conversation(&self, agent: &AgentState) -> ModelRequest {
        agent.compose(&|hash| self.blobs.get(hash).map(|bytes| bytes.to_vec()), &[]).unwrap()
    }

    pub(crate) fn text(&self, path: &str) -> String {
        String::from_utf8(self.files[path].0.clone()).unwrap()
    }

    pub(crate) fn put(&mut self, path: &str, text: &str) {
        self.files.insert(path.to_owned(), (text.as_bytes().to_vec(), false));
    }

    pub(crate) fn events(&self) -> Vec<&str> {
        self.log.iter().map(|(draft, _)| draft.event.as_str()).collect()
    }

    pub(crate) fn last(&self, event: &str) -> &Draft {
        let found = self.log.iter().rev().find(|(draft, _)| draft.event == event);
        &found.unwrap_or_else(|| panic!("no {event} in {:?}", self.events())).0
    }

    pub(crate) fn count(&self, event: &str) -> usize {
        self.log.iter().filter(|(draft, _)| draft.event == event).count()
    }

    /// Every file holds what the fold says.
    pub(crate) fn files_match_the_fold(&self) {
        for (path, entry) in &self.kernel.state().files {
            let here = self.files.get(path).map(|(bytes, executable)| (Hash::of(bytes), *executable));
            assert_eq!(here, entry.image.map(|image| (image.blob, image.executable)), "{path}");
        }
    }
}

fn kernel(state: State, documents: &Documents, epoch: u64, settings: Settings) -> Kernel {
    let Settings { allowance, within, agents } = settings;
    let (version, model_slots, agent_slots) = ("test".to_owned(), SLOTS, agents.unwrap_or(usize::MAX));
    let config = Config { version, epoch, recovered: None, model_slots, agent_slots, allowance, within };
    Kernel::new(config, state, Gate::new(documents).unwrap())
}

/// What this host knows of models: `scripted`, `spare`, `small` and `unpriced`.
fn describe(model: &str) -> Result<ModelFacts, String> {
    match model {
        "scripted" | "spare" => Ok(ModelFacts { context_window: 200_000, has_price: true }),
        "small" => Ok(ModelFacts { context_window: 8_000, has_price: true }),
        "unpriced" => Ok(ModelFacts { context_window: 32_768, has_price: false }),
        other => Err(format!("nobody serves {other}")),
    }
}

fn name_of(op: &Op) -> &'static str {
    match op {
        Op::Resolve { .. } => "resolve",
        Op::Observe { .. } => "observe",
        Op::Place { .. } => "place",
        Op::Shell(_) => "shell",
        Op::Model { .. } => "model",
        Op::Interact { .. } => "interact",
        Op::Start { .. } => "start",
        _ => "other",
    }
}

fn resolve(cwd: &str, path: &str) -> Result<String, Unresolved> {
    let outside = || Err(Unresolved { outside: true, message: "it leads out of the workspace".to_owned() });
    if path.starts_with('/') {
        return outside();
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in cwd.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." if parts.pop().is_none() => return outside(),
            ".." => {}
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// The value as a line of the log gives it back: members in the order of their names.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members: BTreeMap<String, Value> =
                members.iter().map(|(name, value)| (name.clone(), sorted(value))).collect();
            Value::Object(members.into_iter().collect::<Map<String, Value>>())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

/// A command's end with this output.
fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

pub(crate) fn exit(code: i32, stdout: &str) -> ShellEnd {
    ShellEnd { exit: code, stdout: stdout.as_bytes().to_vec(), duration_ms: 3, ..ShellEnd::default() }
}

pub(crate) fn assert_code(error: &CallError, code: Code) {
    assert_eq!(error.code, code, "{error:?}");
}
