//! Native agents: the kernel asks each one what it needs next and turns the answer into acts.
//!
//! An agent's own state is folded from its steps (`ostk-agent`); this module only carries its wishes out: call the
//! model, make its tool calls as ordinary system calls under its name, wait, finish. After a restart the same question
//! is asked again, so whatever has a receipt is not repeated.

use std::collections::{BTreeMap, BTreeSet};

use ostk_agent::{
    AgentEvent, AgentState, Next, Outcome as Ending, PendingTool, ToolCall, ToolGrant,
    model::{Block, ModelReply},
};
use ostk_log::{Hash, Timestamp};
use ostk_policy::Resource;
use serde_json::{Value, json};

use crate::{
    act::{ModelFailure, Op, OpId, Outcome},
    call::{Call, CallError, Caller, Code},
    kernel::{Job, Kernel, ReplyTo, Stage, Target},
    limits,
    shell::blob,
    state::{LineageState, State},
    table::Effect,
    tools,
    work::no_lineage,
};

/// Deadline of one model call, retries included.
const MODEL_DEADLINE_MS: u64 = 600_000;
/// Deadline of one tool call; a command may ask for less.
const TOOL_DEADLINE_MS: u64 = 3_700_000;
/// Longest wait for an agent's end.
const MAX_WAIT_MS: u64 = 24 * 3_600_000;

/// Why an agent's signal to another is refused, before the policy is asked.
pub(crate) const SIGNAL_RULE: &str = "signals go to oneself and to those one has started";

/// Tool calls of one turn; a model that asks for more gets the first ones answered.
const MAX_TOOLS: usize = 128;
/// Longest identifier of a tool call that is kept as the vendor gave it.
const MAX_TOOL_ID: usize = 128;

/// What is in flight for an agent.
#[derive(Debug, Default)]
pub(crate) struct Live {
    pub(crate) wake_at: Option<Timestamp>,
    /// Its place in the line for its model, while it waits there.
    pub(crate) ticket: Option<u64>,
    /// The model call under way: its number and its operation.
    calling: Option<(u64, OpId)>,
    /// Replies whose tool inputs are needed, by the blob that holds them.
    replies: BTreeMap<Hash, ModelReply>,
    loading: bool,
    /// Tool calls under way.
    tools: BTreeSet<String>,
}

impl Live {
    /// Whether a model call is under way.
    pub(crate) const fn is_calling(&self) -> bool {
        self.calling.is_some()
    }

    /// Tool calls under way.
    pub(crate) fn tools_under_way(&self) -> u64 {
        self.tools.len() as u64
    }

    /// The input of the tool call with this identifier, in the reply that is at hand.
    pub(crate) fn input_of(&self, id: &str) -> Option<Value> {
        self.replies.values().find_map(|reply| input_of(reply, id))
    }

    /// Forgets the model call under way; returns its operation.
    pub(crate) fn abandon(&mut self) -> Option<OpId> {
        self.calling.take().map(|(_, op)| op)
    }
}

impl Kernel {
    pub(crate) fn start_agent_call(&mut self, mut job: Job) {
        let target = job.text("lineage").or_else(|| job.text("name")).unwrap_or_default().to_owned();
        let (verb, class) = (job.syscall.name, job.syscall.class);
        if verb == "agent.signal" && !self.may_signal(&job.caller, &target) {
            let target = Resource::Agent(target);
            let (error, after) = self.refuse_by(&job.caller, verb, class, target, SIGNAL_RULE);
            return self.finish(job, Err(error), after);
        }
        if let Err(turned) = self.pass(&mut job, verb, class, Resource::Agent(target.clone())) {
            return self.turn(job, turned);
        }
        match job.syscall.name {
            "agent.spawn" => self.start_spawn(job),
            "agent.signal" => {
                let result = self.signal(&job, &target);
                let after = Some(self.state.next_seq);
                self.finish(job, result, after);
            }
            _ => self.wait_for_end(job, target),
        }
    }

    /// Asks an agent what it needs and sees to it.
    pub(crate) fn drive(&mut self, lineage: &str) {
        match self.state.lineages.get(lineage).map(|known| known.state) {
            Some(LineageState::Running) if self.state.panic.is_none() && !self.lacks_words(lineage) => {}
            Some(LineageState::Exiting) => return self.end_if_idle(lineage),
            _ => return,
        }
        let Some(agent) = self.state.agents.get(lineage) else { return };
        let next = agent.next(self.now);
        let live = self.agents.entry(lineage.to_owned()).or_default();
        live.wake_at = None;
        match next {
            Next::CallModel { .. } if live.calling.is_none() => self.line_up(lineage),
            Next::CallTools(pending) => self.call_tools(lineage, pending),
            Next::Handoff => self.hand_off(lineage),
            Next::Finish(ending) => {
                self.end_agent(lineage, ending);
                self.cancel_calls_of(lineage, "has ended");
            }
            Next::Rest => self.rest(lineage),
            Next::CallModel { .. } | Next::Idle => {}
        }
    }

    pub(crate) fn drive_due(&mut self) {
        let now = self.now;
        let due = self.agents.iter().filter(|(_, live)| live.wake_at.is_some_and(|at| at <= now));
        for lineage in due.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.drive(&lineage);
        }
    }

    /// Calls a model for an agent: its own, or the one in its place.
    pub(crate) fn call_model(&mut self, lineage: &str, call_no: u64, model: &str) {
        let own = self.state.agents.get(lineage).is_some_and(|agent| agent.model() == model);
        let caller = Caller::Agent(lineage.to_owned());
        let class = ostk_policy::Class::ModelCall;
        let pass = self.pass_alone(&caller, "model.call", class, Resource::Model(model.to_owned()));
        if let Err((error, _)) = pass {
            self.step(lineage, failed(call_no, error.message), Vec::new());
            return self.drive(lineage);
        }
        if let Some(why) = self.uncountable(model) {
            self.step(lineage, failed(call_no, why), Vec::new());
            return self.drive(lineage);
        }
        let fallback = (!own).then(|| model.to_owned());
        let seq = self.step(lineage, AgentEvent::ModelIntent { call_no, fallback }, Vec::new());
        let Some(agent) = self.state.agents.get(lineage).cloned() else { return };
        let deadline = self.now.plus_millis(MODEL_DEADLINE_MS);
        let target = Target::Model { lineage: lineage.to_owned(), call_no };
        let secrets = self.gate.policy().secrets().map(str::to_owned).collect();
        let op = self.run(Op::Model { agent: Box::new(agent), deadline, secrets }, target, Some(seq + 1));
        self.agents.entry(lineage.to_owned()).or_default().calling = Some((call_no, op));
    }

    pub(crate) fn model_replied(&mut self, lineage: &str, call_no: u64, outcome: Outcome) {
        let Some(live) = self.agents.get_mut(lineage) else { return };
        live.calling = None;
        if self.state.agents.get(lineage).is_none_or(AgentState::is_finished) {
            return;
        }
        match outcome {
            Outcome::Model(Ok((mut reply, cost_micro_usd))) => {
                name_tools(&mut reply);
                let bytes = serde_json::to_vec(&reply).unwrap_or_default();
                let (reply_blob, bytes) = blob(&bytes);
                let step = AgentEvent::ModelReceipt {
                    call_no,
                    reply_blob,
                    stop: reply.stop,
                    usage: reply.usage,
                    cost_micro_usd,
                    tools: tool_calls(&reply),
                };
                live.replies = BTreeMap::from([(reply_blob, reply)]);
                self.step(lineage, step, vec![(reply_blob, bytes)]);
                self.keep_claims_of(lineage);
            }
            Outcome::Model(Err(failure)) => {
                let ModelFailure { message, retryable, retry_after_ms, unsettled } = failure;
                let alone = self.state.agents.get(lineage).is_some_and(|agent| self.fails_alone(agent));
                // It says when it may answer again, and until then another model does.
                let later = retry_after_ms.is_some() && self.can_be_served_elsewhere(lineage);
                let (error, retryable) = (limits::clip(&message), (retryable || later) && !alone);
                let step = AgentEvent::ModelFailed { call_no, error, retryable, retry_after_ms, unsettled };
                self.step(lineage, step, Vec::new());
            }
            _ => return,
        }
        self.drive(lineage);
        self.open_lane_of(lineage);
        self.mind_budget();
    }

    /// Makes the tool calls of a turn that have no receipt and are not under way. Their inputs are in the reply.
    ///
    /// Reads may run side by side; whatever has an effect runs alone and in its place, because the model means its
    /// calls in the order in which it wrote them.
    fn call_tools(&mut self, lineage: &str, pending: Vec<PendingTool>) {
        let Some(live) = self.agents.get_mut(lineage) else { return };
        let missing =
            pending.iter().map(|tool| tool.reply_blob).find(|blob| !live.replies.contains_key(blob));
        if let Some(reply_blob) = missing {
            if !std::mem::replace(&mut live.loading, true) {
                let op = Op::Observe { paths: Vec::new(), blobs: vec![reply_blob] };
                self.run(op, Target::Replies { lineage: lineage.to_owned() }, None);
            }
            return;
        }
        let alone = pending.iter().position(|tool| !only_reads(&tool.name));
        let startable = match alone {
            Some(0) => 1,
            Some(reads) => reads,
            None => pending.len(),
        };
        let fresh: Vec<(PendingTool, Value)> = pending
            .into_iter()
            .take(startable)
            .filter(|tool| live.tools.insert(tool.id.clone()))
            .map(|tool| {
                let input = live.replies.get(&tool.reply_blob).and_then(|reply| input_of(reply, &tool.id));
                (tool, input.unwrap_or_else(|| json!({})))
            })
            .collect();
        for (tool, input) in fresh {
            self.call_tool(lineage, tool, &input);
        }
    }

    fn call_tool(&mut self, lineage: &str, tool: PendingTool, input: &Value) {
        let caller = Caller::Agent(lineage.to_owned());
        let generation = self.generation_of(lineage);
        let (name, call_no) = (lineage.to_owned(), tool.call_no);
        let reply_to = ReplyTo::Tool { lineage: name, generation, call_no, tool: tool.id };
        if let Err(error) = self.afford_tool(lineage) {
            return self.deliver(&caller, reply_to, Err(error), None);
        }
        match tools::tool_call(&tool.name, input) {
            Ok((verb, args)) => {
                let deadline = self.now.plus_millis(TOOL_DEADLINE_MS);
                let (id, verb) = (0, verb.to_owned());
                let idempotency = Some(tool.key).filter(|_| !ostk_log::planted!("repeated tool"));
                self.enter(Call { id, caller, verb, args, idempotency, deadline }, reply_to);
            }
            Err(error) => self.deliver(&caller, reply_to, Err(error), None),
        }
    }

    pub(crate) fn replies_loaded(&mut self, lineage: &str, outcome: Outcome) {
        let Some(live) = self.agents.get_mut(lineage) else { return };
        live.loading = false;
        if let Outcome::Observed { blobs, .. } = outcome {
            for (hash, bytes) in blobs {
                if let Ok(reply) = serde_json::from_slice::<ModelReply>(&bytes) {
                    live.replies.insert(hash, reply);
                }
            }
        }
        self.drive(lineage);
    }

    /// A tool call of an agent ended: its result becomes a blob, the receipt a step.
    pub(crate) fn tool_done(
        &mut self,
        lineage: &str,
        generation: u64,
        call_no: u64,
        tool: String,
        result: Result<Value, CallError>,
    ) {
        // The result may come when the agent has been ended, or ended and started again.
        if self.generation_of(lineage) != generation {
            return;
        }
        if let Some(live) = self.agents.get_mut(lineage) {
            live.tools.remove(&tool);
        }
        let agent = self.state.agents.get(lineage).filter(|agent| !agent.is_finished());
        let Some(name) = agent.and_then(|agent| agent.tool_name(call_no, &tool)) else { return };
        let verb = tools::Tool::lookup(name).map_or("", |tool| tool.call);
        let (text, is_error) = tools::render(verb, &result);
        let (result_blob, bytes) = blob(text.as_bytes());
        let call = self.digest_of_call(lineage, name, &tool);
        let step = AgentEvent::ToolReceipt { call_no, id: tool, result_blob, is_error, call };
        self.step(lineage, step, vec![(result_blob, bytes)]);
        self.mind_loops(lineage);
        self.drive(lineage);
    }

    fn hand_off(&mut self, lineage: &str) {
        let touched =
            self.state.lineages.get(lineage).map(|known| known.reads.keys().cloned().collect::<Vec<_>>());
        let Some(agent) = self.state.agents.get(lineage) else { return };
        let text = agent.handoff_text(&touched.unwrap_or_default()) + &self.work_at_hand(lineage);
        let (summary_blob, bytes) = blob(text.as_bytes());
        self.step(lineage, AgentEvent::HandedOff { summary_blob }, vec![(summary_blob, bytes)]);
        self.drive(lineage);
    }

    pub(crate) fn end_agent(&mut self, lineage: &str, outcome: Ending) {
        if self.state.agents.get(lineage).is_some_and(AgentState::is_finished) {
            return;
        }
        self.step(lineage, AgentEvent::Finished { outcome: outcome.clone() }, Vec::new());
        self.agent_fell(lineage, &outcome);
        self.agents.remove(lineage);
        self.forget_told(lineage);
        self.answer_waiters(lineage);
        self.mind_budget();
    }

    pub(crate) fn nudged(&mut self, lineage: &str, text_blob: Hash) {
        if self.state.agents.get(lineage).is_some_and(|agent| !agent.is_finished()) {
            self.step(lineage, AgentEvent::Nudged { text_blob }, Vec::new());
            self.drive(lineage);
        }
    }

    fn generation_of(&self, lineage: &str) -> u64 {
        self.state.lineages.get(lineage).map_or(0, |known| known.generation)
    }

    fn wait_for_end(&mut self, mut job: Job, lineage: String) {
        let waits = self.state.queue.contains_key(&lineage);
        match self.state.lineages.get(&lineage).map(|known| known.state) {
            None if !waits => {
                let error = no_lineage(&lineage);
                self.finish(job, Err(error), None);
            }
            Some(LineageState::Exited) if self.is_over(&lineage) && !waits => {
                let result = self.ending(&lineage);
                self.finish(job, Ok(result), Some(self.state.next_seq));
            }
            None | Some(_) => {
                let wait = job.number("timeout_ms").unwrap_or(MAX_WAIT_MS).min(MAX_WAIT_MS);
                job.deadline = job.deadline.min(self.now.plus_millis(wait));
                job.stage = Stage::Agent(lineage);
                self.jobs.insert(job.id, job);
            }
        }
    }

    pub(crate) fn answer_waiters(&mut self, lineage: &str) {
        // Its ends of pipes went with it.
        self.pump_pipes();
        if !self.is_over(lineage) {
            return;
        }
        let waiting = |job: &&Job| matches!(&job.stage, Stage::Agent(name) if name == lineage);
        let ids: Vec<u64> = self.jobs.values().filter(waiting).map(|job| job.id).collect();
        let after = Some(self.state.next_seq);
        for id in ids {
            let result = self.ending(lineage);
            if let Some(job) = self.jobs.remove(&id) {
                self.finish(job, Ok(result), after);
            }
        }
    }

    fn ending(&self, lineage: &str) -> Value {
        let mut row = json!({ "lineage": lineage, "state": "exited" });
        self.describe_agent(lineage, &mut row);
        if let (Some(known), Some(row)) = (self.state.supervised.get(lineage), row.as_object_mut()) {
            row.insert("restarts".to_owned(), json!(known.restarts));
            row.insert("fell".to_owned(), json!(known.fell));
        }
        row
    }

    /// Adds an agent's figures to its row in `ps`.
    pub(crate) fn describe_agent(&self, lineage: &str, row: &mut Value) {
        let Some(agent) = self.state.agents.get(lineage) else { return };
        let spent = agent.spent();
        row["model"] = json!(agent.model());
        if agent.called() != agent.model() {
            row["fallback"] = json!(agent.called());
        }
        row["turns"] = json!(spent.turns);
        row["tokens"] = json!(spent.tokens);
        row["usd"] = json!(spent.micro_usd as f64 / 1e6);
        row["outcome"] = json!(agent.outcome());
        row["context_pct"] = json!(agent.context_pct());
        row["budget_pct"] = json!(agent.budget_pct(self.now));
        let live = self.agents.get(lineage);
        row["doing"] = json!(match live {
            _ if agent.is_finished() => "",
            _ if agent.is_at_rest() => "waits for work",
            Some(live) if live.calling.is_some() => "model",
            Some(live) if !live.tools.is_empty() => "tools",
            Some(live) if live.ticket.is_some() => return row["doing"] = json!(self.in_line(lineage, agent)),
            _ => "",
        });
    }

    /// What the Agentfile grants, if the caller has one.
    pub(crate) fn agent_tools(&self, lineage: &str) -> Option<Vec<ostk_policy::ToolGrant>> {
        let grants = self.state.agents.get(lineage)?.tool_grants()?;
        // `spawn` has read them all; one that is not understood now could be a limit, so it grants nothing.
        let read: Option<Vec<_>> = grants.iter().map(|grant| parse_grant(grant).ok()).collect();
        Some(read.unwrap_or_default())
    }
}

impl State {
    /// The outcome of a native agent, if it has ended.
    pub fn ending(&self, lineage: &str) -> Option<&Ending> {
        self.agents.get(lineage)?.outcome()
    }
}

/// A grant as the policy reads it.
pub(crate) fn parse_grant(grant: &ToolGrant) -> Result<ostk_policy::ToolGrant, CallError> {
    let text = match &grant.pattern {
        Some(pattern) => format!("{}({pattern})", grant.class),
        None => grant.class.clone(),
    };
    ostk_policy::ToolGrant::parse(&text)
        .map_err(|error| CallError::new(Code::Usage, format!("TOOL {text}: {error}")))
}

/// A call that was not made.
fn failed(call_no: u64, error: String) -> AgentEvent {
    AgentEvent::ModelFailed { call_no, error, retryable: false, retry_after_ms: None, unsettled: false }
}

/// Whether a tool changes nothing, so that it may run beside others.
fn only_reads(tool: &str) -> bool {
    let verb = tools::Tool::lookup(tool).map_or("", |tool| tool.call);
    crate::table::lookup(verb).is_none_or(|syscall| syscall.effect == Effect::Read)
}

/// Gives every tool call of a reply a name of its own, as the conversation needs it: some servers leave them empty
/// or repeat them. Calls beyond the most that one turn may make are dropped.
fn name_tools(reply: &mut ModelReply) {
    let mut seen = BTreeSet::new();
    reply.content.retain_mut(|block| {
        let Block::ToolUse { id, .. } = block else { return true };
        if id.is_empty() || id.len() > MAX_TOOL_ID || !seen.insert(id.clone()) {
            *id = format!("call-{}", seen.len() + 1);
            seen.insert(id.clone());
        }
        seen.len() <= MAX_TOOLS
    });
}

fn tool_calls(reply: &ModelReply) -> Vec<ToolCall> {
    let calls = reply.content.iter().filter_map(|block| match block {
        Block::ToolUse { id, name, .. } => Some((id.clone(), name.clone())),
        _ => None,
    });
    calls.map(|(id, name)| ToolCall { id, name }).collect()
}

fn input_of(reply: &ModelReply, wanted: &str) -> Option<Value> {
    reply.content.iter().find_map(|block| match block {
        Block::ToolUse { id, input, .. } if id == wanted => Some(input.clone()),
        _ => None,
    })
}
