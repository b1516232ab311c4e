//! How a native agent starts: its Agentfile is read, its model looked up, and its first two records written.
//!
//! A directive that nobody carries out would be a promise broken in silence, so it is refused, with its line. What
//! stands in other files (profiles, skills, `file://`) is put together by `ostk run` before it asks.

use ostk_agent::{AgentConfig, AgentEvent, Agentfile, AgentfileError, Lifetime, ToolGrant, Use};
use ostk_policy::Mode;
use serde_json::{Value, json};

use crate::{
    act::{ModelFacts, Op, Outcome},
    agents::parse_grant,
    budget::{UNPRICED_HINT, unpriced_text},
    call::{CallError, Caller, Code},
    event::Event,
    kernel::{Job, Kernel, Stage},
    limits,
    lineages::Revival,
    shell::blob,
    state::{LineageKind, LineageState},
    supervise::Terms,
    work::check_name,
};

/// What an Agentfile grants that sets path limits and names no tools.
const EVERY_TOOL: [&str; 4] = ["shell", "file:read", "file:edit", "file:write"];

/// Directives that are carried out, by the names of [`Use`]. A mode stands here if it asks for what every agent gets.
const CARRIED_OUT: &[&str] = &[
    "FROM",
    "PROMPT",
    "TASK",
    "TOOL",
    "PIN",
    "WORK",
    "RESTART",
    "LIFETIME",
    "HEALTHCHECK",
    "ISOLATION nono",
    "LIMIT turns",
    "LIMIT tokens",
    "LIMIT wall_clock",
    "LIMIT budget_usd",
    "LIMIT tool_calls",
    "LIMIT bytes_written",
    "LIMIT context_pct",
    "LIMIT context_window",
    "LIMIT sandbox.read",
    "LIMIT sandbox.readwrite",
    "LIMIT read-path",
    "LIMIT write-path",
    "LIMIT connect",
    "LIMIT arg",
    "LIMIT permissions governed",
    "LIMIT permissions supervised",
    "LIMIT permissions restricted",
    "LIMIT destructive_ops confirm",
    "LIMIT destructive_ops deny",
    "LIMIT revival_policy revive",
    "LIMIT revival_policy reap",
    "LIMIT revival_policy ask",
];

/// Directives that mean something for a command that is an agent.
const OF_COMMANDS: &[&str] = &[
    "FROM auto",
    "PIN",
    "RESTART",
    "LIFETIME",
    "HEALTHCHECK",
    "ISOLATION nono",
    "LIMIT wall_clock",
    "LIMIT permissions governed",
    "LIMIT permissions supervised",
    "LIMIT permissions restricted",
    "LIMIT revival_policy revive",
    "LIMIT revival_policy reap",
];

/// An Agentfile that has been read, with the places of its directives.
#[derive(Debug)]
pub(crate) struct Draft {
    file: Agentfile,
    uses: Vec<Use>,
}

impl Draft {
    /// The file.
    pub(crate) const fn file(&self) -> &Agentfile {
        &self.file
    }
}

/// The directives among `uses` that this build does not carry out, each with what to do instead.
pub fn not_carried_out(uses: &[Use]) -> Vec<AgentfileError> {
    let refused = uses.iter().filter(|used| !CARRIED_OUT.contains(&used.name.as_str()));
    let message = || "is not carried out by this version".to_owned();
    refused.map(|used| mistake(used, message(), Some(remedy(&used.name)))).collect()
}

fn mistake(used: &Use, message: String, hint: Option<&str>) -> AgentfileError {
    let (line, directive) = (used.line, used.name.clone());
    AgentfileError { line, column: 0, directive, message, hint: hint.map(str::to_owned) }
}

fn remedy(name: &str) -> &'static str {
    match name.split_once(' ').map_or(name, |(directive, _)| directive) {
        "FROM" => "name a model: FROM claude-sonnet-4-6",
        "FROM-PROFILE" | "SKILL" | "PROMPT" | "TASK" => "`ostk run FILE` loads it; put the text itself here",
        "ISOLATION" => "ISOLATION nono is what every command gets",
        "INTERRUPT" => "leave it out; start the agent when it is needed: ostk run FILE",
        "BOOT" => "name the command in TASK, as the first thing to do",
        "ATTEST" => "leave it out; every record of the spawn is signed by the instance's key",
        "LIMIT" if name == "LIMIT verb" => "deny-verb lines of a PIN keep commands out",
        "LIMIT" if name.starts_with("LIMIT destructive_ops") => {
            "leave it out; a person consents to each: ostk approvals grant"
        }
        "LIMIT" => "leave it out; TOOL and PIN say what the agent may do",
        _ => "leave it out",
    }
}

impl Kernel {
    /// Reads the Agentfile and asks the host what it knows of the model.
    pub(crate) fn start_spawn(&mut self, mut job: Job) {
        match self.check_line(&job).and_then(|()| draft(&job)) {
            Ok(draft) if job.text("command").is_some() => self.spawn_foreign(job, &draft),
            Ok(draft) => {
                let model = draft.file.from.clone();
                job.stage = Stage::Spawn(Box::new(draft));
                self.run_for(job, Op::DescribeModel { model }, None);
            }
            Err(error) => self.finish(job, Err(error), None),
        }
    }

    pub(crate) fn resume_spawn(&mut self, mut job: Job, outcome: Outcome) {
        let stage = std::mem::replace(&mut job.stage, Stage::New);
        let name = job.text("name").unwrap_or_default().to_owned();
        let result = match (stage, outcome) {
            (Stage::Spawn(draft), Outcome::Described(facts)) => self.spawn(&job, &name, *draft, facts),
            _ => Err(CallError::new(Code::Failed, "bug: unexpected outcome of a spawn")),
        };
        let after = Some(self.state.next_seq);
        self.finish(job, result, after);
        self.drive(&name);
    }

    fn spawn(
        &mut self,
        job: &Job,
        name: &str,
        Draft { file, uses }: Draft,
        facts: Result<ModelFacts, String>,
    ) -> Result<Value, CallError> {
        if self.state.lineages.get(name).is_some_and(|known| known.state != LineageState::Exited) {
            return Err(CallError::new(Code::Conflict, format!("{name} is running already"))
                .hint(format!("ostk attach {name}, or choose another name")));
        }
        self.check_line(job)?;
        self.check_open()?;
        let facts = usable(&file, &uses, facts)?;
        if self.state.spending.allowance().bounds_money() && !facts.has_price {
            return Err(CallError::new(Code::Usage, unpriced_text(&file.from)).hint(UNPRICED_HINT));
        }
        let pin = self.pin_for(&job.caller, file.pin.as_deref(), name, None)?;
        let generation = self.state.lineages.get(name).map_or(1, |known| known.generation + 1);
        let task = job.text("task").or(file.task.as_deref());
        let Some(task) = task.or((!file.work.is_empty()).then_some(crate::workers::TASK)) else {
            return Err(CallError::new(Code::Usage, "the agent has no TASK")
                .hint("add a TASK line, pass `task`, or add a WORK line"));
        };
        let (system_blob, system) = blob(file.system_prompt().as_bytes());
        let (task_blob, task) = blob(task.as_bytes());
        let window = job.number("context_window").or(file.limits.context_window);
        let window = window.unwrap_or(facts.context_window);
        let mut config = AgentConfig::from_agentfile(&file, name, generation, system_blob, task_blob, window);
        config.tools = self.bounded_tools(&job.caller, &file)?;
        let event = Event::SessionStarted {
            lineage: name.to_owned(),
            kind: LineageKind::Native,
            pin: pin.clone(),
            mode: self.mode_for(&job.caller, mode_of(&file), name),
            task: self.task_of(name),
            client: Some(limits::clip(&file.from)),
            revival: job
                .text("revival")
                .or(file.limits.mode("revival_policy"))
                .map(Revival::parse)
                .transpose()?,
            resumed: false,
            key: job.key.clone(),
        };
        if self.must_wait(job) {
            return self.enqueue(job, name, pin.as_deref());
        }
        let step = AgentEvent::Spawned { config: Box::new(config) };
        let spawned = Event::AgentStep { lineage: name.to_owned(), step: Box::new(step.clone()) };
        limits::check_record(&spawned)?;
        self.end_processes_of_another_pin(name, pin.as_deref());
        self.record(&job.caller, &event);
        if let Some(rule) = file.restart {
            let (lifetime, health) = (file.lifetime.unwrap_or(Lifetime::Transient), file.health.clone());
            let terms =
                Terms { rule, lifetime, health, command_blob: None, resume_blob: None, timeout_ms: None };
            let event = Event::SuperviseBegan { lineage: name.to_owned(), terms: Box::new(terms) };
            self.record(&Caller::Kernel, &event);
        }
        self.step(name, step, vec![(system_blob, system), (task_blob, task)]);
        Ok(json!({ "lineage": name, "generation": generation, "pin": pin, "context_window": window }))
    }

    /// Refuses a process that is bound by an Agentfile's tools: what it starts could be granted more.
    pub(crate) fn check_unbound(&self, caller: &Caller, what: &str) -> Result<(), CallError> {
        let Some(name) = caller.process().filter(|name| self.agent_tools(name).is_some()) else {
            return Ok(());
        };
        let message = format!("{name} is bound by its Agentfile's tools and starts no {what}");
        Err(CallError::new(Code::Denied, message).hint("ask the operator"))
    }

    /// The grants of a new agent: those of its Agentfile, with its path limits.
    pub(crate) fn bounded_tools(
        &self,
        caller: &Caller,
        file: &Agentfile,
    ) -> Result<Option<Vec<ToolGrant>>, CallError> {
        self.check_unbound(caller, "agents")?;
        let limit = |(key, path): &(String, String)| {
            let class = match key.as_str() {
                "read-path" | "sandbox.read" => "limit:read",
                "write-path" | "sandbox.readwrite" => "limit:write",
                "connect" => "limit:connect",
                argument if argument.starts_with("arg.") => &format!("limit:{argument}"),
                _ => return None,
            };
            Some(ToolGrant { class: class.to_owned(), pattern: Some(path.clone()) })
        };
        let limits: Vec<ToolGrant> = file.limits.other.iter().filter_map(limit).collect();
        let mut tools = (!file.tools.is_empty()).then(|| file.tools.clone());
        if !limits.is_empty() {
            let every = EVERY_TOOL.map(|class| ToolGrant { class: class.to_owned(), pattern: None });
            tools.get_or_insert_with(|| every.to_vec()).extend(limits);
        }
        for grant in tools.iter().flatten() {
            parse_grant(grant)?;
        }
        Ok(tools)
    }
}

/// What `LIMIT permissions` stands for.
pub(crate) fn mode_of(file: &Agentfile) -> Option<Mode> {
    match file.limits.mode("permissions")? {
        "governed" => Some(Mode::Governed),
        "supervised" => Some(Mode::Auto),
        _ => Some(Mode::Plan),
    }
}

/// Reads a spawn's name and Agentfile; refuses what is not understood or not carried out.
pub(crate) fn draft(job: &Job) -> Result<Draft, CallError> {
    let text = |name: &str| job.text(name).unwrap_or_default();
    read(text("name"), text("agentfile"), job.text("command").is_some())
}

/// Whether a native agent of this name may be asked for with this Agentfile.
pub(crate) fn check_agentfile(name: &str, text: &str) -> Result<(), CallError> {
    read(name, text, false).map(|_| ())
}

fn read(name: &str, text: &str, foreign: bool) -> Result<Draft, CallError> {
    check_name(name)?;
    let (file, uses) = Agentfile::parse_with_uses(text, &|_| None).map_err(|errors| usage(&errors))?;
    let mut refused = if foreign { not_for_commands(&uses) } else { not_carried_out(&uses) };
    refused.extend(check_without_a_shell(&file, &uses));
    if refused.is_empty() { Ok(Draft { file, uses }) } else { Err(usage(&refused)) }
}

fn not_for_commands(uses: &[Use]) -> Vec<AgentfileError> {
    let remedy = |name: &str| match name {
        "FROM" => "FROM auto: a command chooses its model itself",
        "TASK" | "PROMPT" => "the command line says what it shall do",
        name if name.starts_with("TOOL") => "a PIN bounds a command",
        _ => "leave it out",
    };
    let refused = uses.iter().filter(|used| !OF_COMMANDS.contains(&used.name.as_str()));
    let message = || "says nothing to a command that is an agent".to_owned();
    refused.map(|used| mistake(used, message(), Some(remedy(&used.name)))).collect()
}

/// A check runs as the agent's own command, so an agent without commands has none.
fn check_without_a_shell(file: &Agentfile, uses: &[Use]) -> Option<AgentfileError> {
    let shell = file.tools.is_empty() || file.tools.iter().any(|grant| grant.class == "shell");
    let used = uses.iter().find(|used| used.name == "HEALTHCHECK").filter(|_| !shell)?;
    let message = "runs as a command of the agent, which its TOOL lines do not grant".to_owned();
    Some(mistake(used, message, Some("TOOL shell")))
}

fn usage(errors: &[AgentfileError]) -> CallError {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    CallError::new(Code::Usage, lines.join("\n"))
}

/// Whether the agent can run on its model and keep its limits there.
fn usable(
    file: &Agentfile,
    uses: &[Use],
    facts: Result<ModelFacts, String>,
) -> Result<ModelFacts, CallError> {
    let of = |name: &str| {
        let found = uses.iter().find(|used| used.name == name).cloned();
        found.unwrap_or_else(|| Use { line: 0, name: name.to_owned() })
    };
    let facts = facts.map_err(|problem| usage(&[mistake(&of("FROM"), problem, None)]))?;
    if file.limits.budget_micro_usd.is_some() && !facts.has_price {
        let message = format!("the price of {} is not known, so this limit cannot be kept", file.from);
        return Err(usage(&[mistake(
            &of("LIMIT budget_usd"),
            message,
            Some("LIMIT tokens bounds any model"),
        )]));
    }
    Ok(facts)
}
