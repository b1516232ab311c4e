//! The host: one thread that owns the kernel and carries out its acts, in order.
//!
//! Everything reaches the kernel through this thread's queue, so the kernel needs no lock and the log one writer.
//! Short operations on files run here; whatever may take long runs elsewhere (`hands`) and reports back by message.
//! An act that must wait for a record to be durable is parked until the journal says so.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use ostk_journal::Journal;
use ostk_kernel::{
    Act, After, Awaited, Call, CallError, CallId, Caller, Code, Kernel, Op, OpId, Outcome, SteadyClock,
};
use ostk_log::Timestamp;
use serde_json::Value;
use tokio::sync::oneshot;

use crate::{
    broker::Broker,
    hands::{Hands, lock},
    hooks::OpenTools,
    projections::Projections,
    snapshot::Snapshots,
};

/// Messages that may wait for the host: every open call, its operation, and the watcher.
pub(crate) const MAX_MESSAGES: usize = 16_384;
/// How long the host sleeps when nothing has a deadline.
const IDLE: Duration = Duration::from_secs(5);
/// Messages handled between two looks at the clock.
const BURST: usize = 256;

/// What the host can be told.
pub(crate) enum Message {
    Call {
        call: NewCall,
        reply: Reply,
    },
    Withdraw {
        caller: Caller,
        key: String,
    },
    Done {
        op: OpId,
        outcome: Outcome,
    },
    /// The journal has come further: see [`Progress`].
    Progress,
    Noticed(Vec<String>),
    /// The daemon of a stack has ended by itself.
    StackEnded {
        name: String,
        how: String,
    },
    /// Somebody in a stack wrote to the project.
    StackSaid {
        name: String,
        seq: u64,
        from: String,
        text: String,
    },
    /// A stack has spent its budget.
    StackSpent {
        name: String,
    },
    Stop {
        reason: String,
    },
}

/// How far the journal is. Its writer notes it here and never waits for the host, who may be waiting for the writer.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    written: AtomicU64,
    durable: AtomicU64,
    poison: Mutex<Option<String>>,
}

impl Progress {
    /// So many records were found durable.
    pub(crate) fn begin(&self, count: u64) {
        self.written(count);
        self.durable(Ok(count));
    }

    pub(crate) fn written(&self, count: u64) {
        self.written.fetch_max(count, Ordering::SeqCst);
    }

    /// So many records are durable, or why no more will be.
    pub(crate) fn durable(&self, news: Result<u64, String>) {
        match news {
            Ok(count) => {
                self.durable.fetch_max(count, Ordering::SeqCst);
            }
            Err(reason) => *lock(&self.poison) = Some(reason),
        }
    }
}

/// A call without the number that the host gives it.
pub(crate) struct NewCall {
    pub(crate) caller: Caller,
    pub(crate) verb: String,
    pub(crate) args: Value,
    pub(crate) idempotency: Option<String>,
    pub(crate) timeout_ms: u64,
}

/// What a call came to.
pub(crate) type Answer = Result<Value, CallError>;

/// Where the answer goes; it is told that the daemon stops if the host never answers.
pub(crate) struct Reply(Option<Box<dyn FnOnce(Answer) + Send>>);

impl Reply {
    /// `receive` runs on the host's thread and must not wait.
    pub(crate) fn new(receive: impl FnOnce(Answer) + Send + 'static) -> Self {
        Self(Some(Box::new(receive)))
    }

    fn send(mut self, answer: Answer) {
        if let Some(receive) = self.0.take() {
            receive(answer);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(receive) = self.0.take() {
            receive(Err(stopping()));
        }
    }
}

/// Talks to the host from any thread.
#[derive(Clone)]
pub(crate) struct HostHandle {
    sender: SyncSender<Message>,
    pub(crate) epoch: u64,
    broker: Arc<Broker>,
    /// An agent runs or a call is open: the daemon does not leave.
    busy: Arc<AtomicBool>,
    stopped: Arc<AtomicBool>,
}

impl HostHandle {
    pub(crate) fn new(sender: SyncSender<Message>, epoch: u64, broker: Arc<Broker>) -> Self {
        Self { sender, epoch, broker, busy: Arc::default(), stopped: Arc::default() }
    }

    /// The secrets that no call may carry.
    pub(crate) const fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// Whether there is work that nobody waits for on a connection.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed)
    }

    /// Whether the host has ended.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Makes a call and waits for its answer.
    pub(crate) async fn call(&self, call: NewCall) -> Answer {
        let (sender, answer) = oneshot::channel();
        // A caller that went away needs no answer.
        self.submit(call, Reply::new(move |answer| drop(sender.send(answer))));
        answer.await.unwrap_or_else(|_| Err(stopping()))
    }

    /// Makes a call, whose answer goes to `reply`. One that carries a secret is refused.
    pub(crate) fn submit(&self, call: NewCall, reply: Reply) {
        let call = match self.broker.entering(call) {
            Ok(call) => call,
            Err(error) => return reply.send(Err(error)),
        };
        let full = match self.sender.try_send(Message::Call { call, reply }) {
            Err(TrySendError::Full(Message::Call { reply, .. })) => reply,
            // A reply that is dropped says that the daemon stops.
            _ => return,
        };
        let busy = CallError::new(Code::Busy, "the daemon has too many calls waiting");
        full.send(Err(busy.hint("repeat it in a moment")));
    }

    /// Tells the host something. Blocks while its queue is full; only threads that may block use it.
    pub(crate) fn tell(&self, message: Message) {
        // A host that is gone needs no message.
        let _ = self.sender.send(message);
    }

    /// Tells the host something unless its queue is full.
    pub(crate) fn offer(&self, message: Message) -> bool {
        self.sender.try_send(message).is_ok()
    }
}

fn stopping() -> CallError {
    CallError::new(Code::Failed, "the daemon is stopping")
        .hint("repeat the call; a new daemon starts on demand")
}

/// The host's own state.
pub(crate) struct Host {
    kernel: Kernel,
    journal: Journal,
    hands: Arc<Hands>,
    handle: HostHandle,
    inbox: Receiver<Message>,
    replies: BTreeMap<CallId, Reply>,
    /// Acts that wait until so many records are durable.
    parked: BTreeMap<u64, Vec<Act>>,
    /// Acts that wait until so many records are written.
    held: BTreeMap<u64, Vec<Act>>,
    durable: u64,
    written: u64,
    next_call: CallId,
    poisoned: Option<String>,
    wake: Option<Timestamp>,
    tools: OpenTools,
    snapshots: Snapshots,
    projections: Projections,
    progress: Arc<Progress>,
}

impl Host {
    pub(crate) fn new(
        kernel: Kernel,
        journal: Journal,
        hands: Arc<Hands>,
        handle: HostHandle,
        inbox: Receiver<Message>,
        snapshots: Snapshots,
        progress: Arc<Progress>,
    ) -> Self {
        let durable = progress.durable.load(Ordering::SeqCst);
        let projections = Projections::new(&hands.state_dir);
        Self {
            kernel,
            journal,
            hands,
            handle,
            inbox,
            replies: BTreeMap::new(),
            parked: BTreeMap::new(),
            held: BTreeMap::new(),
            durable,
            written: durable,
            next_call: 0,
            poisoned: None,
            wake: None,
            tools: OpenTools::default(),
            snapshots,
            projections,
            progress,
        }
    }

    /// Boots the kernel and serves until told to stop. Returns the reason.
    pub(crate) fn run(mut self, documents: &ostk_policy::Documents) -> String {
        let acts = self.kernel.boot(now(), documents);
        self.carry_out(acts);
        loop {
            match self.inbox.recv_timeout(self.patience()) {
                Ok(message) => {
                    if let Some(reason) = self.handle_burst(message) {
                        return self.stop(&reason);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.stop("every client is gone"),
            }
            self.look_at_progress();
            let (acts, wake) = self.kernel.tick(now());
            self.wake = wake;
            self.carry_out(acts);
            self.projections.look(&self.kernel.state().work, Instant::now());
            self.handle.busy.store(self.kernel.works() || !self.replies.is_empty(), Ordering::Relaxed);
        }
    }

    fn patience(&self) -> Duration {
        let until = self.wake.map(|wake| Duration::from_millis(wake.millis_since(now()).saturating_add(1)));
        until.into_iter().chain(self.projections.patience()).fold(IDLE, Duration::min)
    }

    fn handle_burst(&mut self, first: Message) -> Option<String> {
        let mut next = Some(first);
        for _ in 0..BURST {
            match next {
                Some(Message::Stop { reason }) => return Some(reason),
                Some(message) => self.handle(message),
                None => break,
            }
            next = self.inbox.try_recv().ok();
        }
        if let Some(Message::Stop { reason }) = next {
            return Some(reason);
        }
        if let Some(message) = next {
            self.handle(message);
        }
        None
    }

    fn handle(&mut self, message: Message) {
        let acts = match message {
            Message::Call { call, reply } => return self.submit(call, reply),
            Message::Done { op, outcome } => self.kernel.complete(now(), op, outcome),
            Message::Withdraw { caller, key } => self.kernel.withdraw(now(), &caller, &key),
            Message::Noticed(paths) => {
                let named = paths.len();
                let paths = self.handle.broker.nameable(paths);
                // An empty list would mean that everything must be looked at.
                if paths.is_empty() && named > 0 {
                    return;
                }
                let Some(paths) = self.tools.noticed(paths, Instant::now()) else { return };
                self.kernel.notice(now(), &paths)
            }
            Message::StackEnded { name, how } => self.kernel.stack_ended(now(), &name, &how),
            Message::StackSaid { name, seq, from, text } => {
                self.kernel.stack_said(now(), &name, (seq, &from, &text))
            }
            Message::StackSpent { name } => self.kernel.stack_spent(now(), &name),
            Message::Progress => return self.look_at_progress(),
            Message::Stop { .. } => return,
        };
        self.carry_out(acts);
    }

    fn submit(&mut self, call: NewCall, reply: Reply) {
        if let Some(reason) = &self.poisoned {
            return reply.send(Err(poisoned(reason)));
        }
        self.next_call += 1;
        let id = self.next_call;
        self.replies.insert(id, reply);
        let now = now();
        let NewCall { caller, verb, args, idempotency, timeout_ms } = call;
        let deadline = now.plus_millis(timeout_ms);
        self.tools.asked(id, &caller, &verb, &args, Instant::now());
        let acts = self.kernel.submit(now, Call { id, caller, verb, args, idempotency, deadline });
        self.carry_out(acts);
    }

    fn carry_out(&mut self, acts: Vec<Act>) {
        let mut queue: VecDeque<Act> = acts.into();
        while let Some(act) = queue.pop_front() {
            match act.after() {
                After::Durable(count) if count > self.durable => {
                    self.parked.entry(count).or_default().push(act);
                }
                After::Written(count) if count > self.written => {
                    self.held.entry(count).or_default().push(act);
                }
                _ => queue.extend(self.perform(act)),
            }
        }
    }

    /// Carries out one act; the outcome of a short operation brings further acts at once.
    fn perform(&mut self, act: Act) -> Vec<Act> {
        match act {
            Act::Append { draft, blobs, awaited } => {
                let appended = match awaited {
                    Awaited::Durable => self.journal.append(draft, blobs),
                    Awaited::Written => self.journal.append_written(draft, blobs),
                    Awaited::Nothing => self.journal.append_relaxed(draft, blobs),
                };
                if let Err(error) = appended {
                    self.poison(error.to_string());
                }
                Vec::new()
            }
            Act::Reply { call, result, .. } => {
                let noticed = self.tools.answered(call, result.is_ok());
                if let Some(reply) = self.replies.remove(&call) {
                    reply.send(result);
                }
                noticed.map(|paths| self.kernel.notice(now(), &paths)).unwrap_or_default()
            }
            Act::Run { id, op, .. } => self.operate(id, op),
            Act::Abort { id } => {
                self.hands.abort(id);
                Vec::new()
            }
            Act::Signal { id, signal } => {
                self.hands.signal(id, signal);
                Vec::new()
            }
        }
    }

    fn operate(&mut self, id: OpId, op: Op) -> Vec<Act> {
        match self.hands.try_now(op) {
            Ok(outcome) => self.kernel.complete(now(), id, outcome),
            Err(op) => {
                Arc::clone(&self.hands).start(id, op, self.handle.clone());
                Vec::new()
            }
        }
    }

    fn look_at_progress(&mut self) {
        let (written, durable) = (&self.progress.written, &self.progress.durable);
        let (written, durable) = (written.load(Ordering::SeqCst), durable.load(Ordering::SeqCst));
        if written > self.written {
            self.became_written(written);
        }
        if durable > self.durable {
            self.became_durable(durable);
        }
        let poison = lock(&self.progress.poison).take();
        if let Some(reason) = poison {
            self.poison(reason);
        }
    }

    fn became_written(&mut self, count: u64) {
        self.written = self.written.max(count);
        let later = self.held.split_off(&(self.written + 1));
        let ready = std::mem::replace(&mut self.held, later);
        self.carry_out(ready.into_values().flatten().collect());
    }

    fn became_durable(&mut self, count: u64) {
        self.became_written(count);
        self.durable = self.durable.max(count);
        self.snapshots.durable(self.durable, self.kernel.state());
        let later = self.parked.split_off(&(self.durable + 1));
        let ready = std::mem::replace(&mut self.parked, later);
        self.carry_out(ready.into_values().flatten().collect());
    }

    /// Nothing that is not durable yet will ever be acknowledged.
    fn poison(&mut self, reason: String) {
        for (_, reply) in std::mem::take(&mut self.replies) {
            reply.send(Err(poisoned(&reason)));
        }
        self.parked.clear();
        self.held.clear();
        self.poisoned.get_or_insert(reason);
    }

    fn stop(mut self, reason: &str) -> String {
        self.hands.stop_all();
        let acts = self.kernel.stop(now(), reason);
        self.carry_out(acts);
        self.replies.clear();
        self.handle.stopped.store(true, Ordering::Relaxed);
        self.projections.stopped(&self.kernel.state().work);
        match self.journal.close() {
            Ok(()) => {
                self.snapshots.stopped(self.kernel.state());
                reason.to_owned()
            }
            Err(error) => format!("{reason}; the journal could not be closed: {error}"),
        }
    }
}

fn poisoned(reason: &str) -> CallError {
    CallError::new(Code::Poisoned, reason)
        .hint("free the disk, then run: ostk shutdown (the next call starts a new daemon)")
}

static CLOCK: Mutex<SteadyClock> = Mutex::new(SteadyClock::from(Timestamp::from_micros(0), 0));

/// Time goes on from `last`, the time of the last record, also if the wall clock was set back since.
pub(crate) fn begin_clock(last: Timestamp) {
    *lock(&CLOCK) = SteadyClock::from(last, steady_us());
}

/// The wall clock, which goes on at its pace when it is set back.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let wall = Timestamp::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX));
    lock(&CLOCK).now(wall, steady_us())
}

fn steady_us() -> u64 {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    u64::try_from(BEGAN.get_or_init(Instant::now).elapsed().as_micros()).unwrap_or(u64::MAX)
}
