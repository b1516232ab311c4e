//! Workers: agents that take needles which fit a filter, and what their model makes of those.
//!
//! A filter depends on the agent's name and the seed alone. Who is given what is judged in `needles`.

use ostk_agent::model::ModelRequest;
use ostk_kernel::State;
use serde_json::{Value, json};

use crate::{agents::script, rng::Rng};

/// Words by which needles are found.
const TAGS: &[&str] = &["red", "blue"];

/// Which needles a worker takes: all that is set must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    /// The least urgent and the most urgent priority that it takes: 0 is the most urgent of all.
    last: Option<u64>,
    first: Option<u64>,
    /// One of these words.
    tags: Vec<&'static str>,
}

impl Filter {
    /// What this agent takes.
    pub(crate) fn of(name: &str, seed: u64) -> Self {
        let mut rng = script(name, seed ^ 0x776f_726b);
        let last = rng.chance(70).then(|| rng.within(1, 3));
        let first = (last.is_none() || rng.chance(20)).then(|| rng.within(0, 1));
        let tags = TAGS.iter().copied().filter(|_| rng.chance(25)).collect();
        Self { last, first, tags }
    }

    /// As the Agentfile has it.
    pub(crate) fn line(&self) -> String {
        let mut terms = Vec::new();
        terms.extend(self.last.map(|last| format!("priority>=P{last}")));
        terms.extend(self.first.map(|first| format!("priority<=P{first}")));
        if !self.tags.is_empty() {
            terms.push(format!("tags={}", self.tags.join(",")));
        }
        format!("WORK {}\n", terms.join(" "))
    }

    /// Whether it lets a needle through, by its record.
    pub(crate) fn takes(&self, priority: u64, tags: &[String]) -> bool {
        self.last.is_none_or(|last| priority <= last)
            && self.first.is_none_or(|first| priority >= first)
            && (self.tags.is_empty() || self.tags.iter().any(|tag| tags.iter().any(|other| other == tag)))
    }
}

/// The words of a new needle.
pub(crate) fn tags(rng: &mut Rng) -> Vec<&'static str> {
    TAGS.iter().copied().filter(|_| rng.chance(50)).collect()
}

/// The needle that a worker was given last, as it was told.
pub(crate) fn given(request: &ModelRequest) -> Option<String> {
    let told = format!("{:?}", request.messages);
    let (_, last) = told.rsplit_once("You have this work item until ")?;
    let (_, id) = last.split_once('→')?;
    let digits: String = id.chars().take_while(char::is_ascii_digit).collect();
    Some(format!("→{digits}"))
}

/// What a worker does with it: a tool call.
pub(crate) fn tool(id: &str, rng: &mut Rng) -> Value {
    match rng.below(8) {
        0 => json!({ "action": "release", "id": id, "reason": "too hard" }),
        1 => json!({ "action": "next" }),
        2 => json!({ "action": "list" }),
        _ => json!({ "action": "close", "id": id, "force": rng.chance(80), "reason": "done" }),
    }
}

/// Whether every agent has come to its end, or is a worker that waits for work.
pub(crate) fn are_idle(state: &State) -> bool {
    state.agents.values().all(|agent| agent.is_finished() || agent.is_at_rest())
}
