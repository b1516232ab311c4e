//! Clients' own tools that are running: between `hook.before` and `hook.after` the watcher's news wait.
//!
//! The watcher sees a file change within milliseconds, the client reports it when its tool has ended. If the watcher
//! were heard first, the change would be ascribed to somebody outside. A tool that never reports, because its user
//! said no, is forgotten after a while; files that are touched are looked at in any case.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use ostk_kernel::{CallId, Caller};
use serde_json::Value;

/// Longest that news wait for a tool; as long as a command of Claude Code may run.
const MAX_OPEN: Duration = Duration::from_secs(600);
/// Paths that wait; with more, the whole workspace is looked at instead.
const MAX_HELD: usize = 16_384;
/// Tools that are open at once; more are not waited for.
const MAX_TOOLS: usize = 4_096;

/// The name under which a client says that none of its tools runs any more.
pub(super) const EVERY_TOOL: &str = "*";

/// A lineage and the name of its tool.
type Tool = (String, String);

/// The tools that run now, and the news that wait for them.
#[derive(Debug, Default)]
pub(crate) struct OpenTools {
    /// Calls under way; whether they open a tool or close it.
    calls: BTreeMap<CallId, (Tool, bool)>,
    /// How many of a tool run, and since when the last one does.
    open: BTreeMap<Tool, (usize, Instant)>,
    /// News that wait: changed paths, or that the watcher lost count and everything must be looked at.
    held: BTreeSet<String>,
    lost: bool,
}

impl OpenTools {
    /// A call is about to be made.
    pub(crate) fn asked(&mut self, id: CallId, caller: &Caller, verb: &str, args: &Value, now: Instant) {
        let text = |name: &str| args.get(name).and_then(Value::as_str).unwrap_or_default();
        let tool = (caller.lineage().to_owned(), text("tool").to_owned());
        match verb {
            "hook.before" if text("access") != "read" && self.open.len() < MAX_TOOLS => {
                let (count, since) = self.open.entry(tool.clone()).or_insert((0, now));
                (*count, *since) = (*count + 1, now);
                self.calls.insert(id, (tool, true));
            }
            "hook.after" => {
                self.calls.insert(id, (tool, false));
            }
            _ => {}
        }
    }

    /// A call was answered: a refused tool does not run, a reported one has ended. Returns the news that waited.
    pub(crate) fn answered(&mut self, id: CallId, well: bool) -> Option<Vec<String>> {
        let (tool, opens) = self.calls.remove(&id)?;
        if tool.1 == EVERY_TOOL {
            self.open.retain(|(lineage, _), _| *lineage != tool.0);
        } else if !(opens && well)
            && let Some((count, _)) = self.open.get_mut(&tool)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.open.remove(&tool);
            }
        }
        self.released()
    }

    /// News of the watcher, no path meaning all of them: returned, with those held before, if they need not wait.
    pub(crate) fn noticed(&mut self, paths: Vec<String>, now: Instant) -> Option<Vec<String>> {
        self.open.retain(|_, (_, since)| now.saturating_duration_since(*since) < MAX_OPEN);
        self.lost |= paths.is_empty();
        self.held.extend(paths);
        self.lost |= self.held.len() > MAX_HELD;
        self.released()
    }

    fn released(&mut self) -> Option<Vec<String>> {
        if !self.open.is_empty() || (self.held.is_empty() && !self.lost) {
            return None;
        }
        let held = std::mem::take(&mut self.held);
        let lost = std::mem::take(&mut self.lost);
        Some(if lost { Vec::new() } else { held.into_iter().collect() })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ask(tools: &mut OpenTools, id: CallId, verb: &str, tool: &str, at: Instant) {
        let caller = Caller::Agent("claude-1".to_owned());
        let access = if tool == "Read" { "read" } else { "edit" };
        tools.asked(id, &caller, verb, &json!({ "tool": tool, "access": access }), at);
    }

    fn some(paths: &[&str]) -> Option<Vec<String>> {
        Some(paths.iter().map(|path| (*path).to_owned()).collect())
    }

    #[test]
    fn news_wait_until_the_tool_has_reported() {
        let (mut tools, now) = (OpenTools::default(), Instant::now());
        assert_eq!(tools.noticed(vec!["x".to_owned()], now), some(&["x"]));
        ask(&mut tools, 1, "hook.before", "Edit", now);
        assert_eq!(tools.answered(1, true), None);
        assert_eq!(tools.noticed(vec!["a".to_owned()], now), None);
        ask(&mut tools, 2, "hook.after", "Read", now);
        assert_eq!(tools.answered(2, true), None, "another tool's report does not end this one");
        ask(&mut tools, 3, "hook.after", "Edit", now);
        assert_eq!(tools.answered(3, true), some(&["a"]));
        assert_eq!(tools.noticed(vec!["b".to_owned()], now), some(&["b"]));
    }

    #[test]
    fn a_refused_tool_and_one_that_never_reports_hold_nothing_up() {
        let (mut tools, now) = (OpenTools::default(), Instant::now());
        ask(&mut tools, 1, "hook.before", "Edit", now);
        assert_eq!(tools.answered(1, false), None);
        assert_eq!(tools.noticed(vec!["a".to_owned()], now), some(&["a"]));
        ask(&mut tools, 2, "hook.before", "Bash", now);
        tools.answered(2, true);
        assert_eq!(tools.noticed(vec!["b".to_owned()], now), None);
        assert_eq!(tools.noticed(vec!["c".to_owned()], now + MAX_OPEN), some(&["b", "c"]));
    }

    #[test]
    fn at_the_end_of_a_turn_nothing_of_its_client_is_open() {
        let (mut tools, now) = (OpenTools::default(), Instant::now());
        for id in 1..4 {
            ask(&mut tools, id, "hook.before", "Bash", now);
            tools.answered(id, true);
        }
        assert_eq!(tools.noticed(vec!["a".to_owned()], now), None);
        ask(&mut tools, 4, "hook.after", EVERY_TOOL, now);
        assert_eq!(tools.answered(4, true), some(&["a"]));
    }

    #[test]
    fn a_watcher_that_lost_count_has_everything_looked_at_afterwards() {
        let (mut tools, now) = (OpenTools::default(), Instant::now());
        ask(&mut tools, 1, "hook.before", "Bash", now);
        assert_eq!(tools.noticed(vec!["a".to_owned()], now), None);
        assert_eq!(tools.noticed(Vec::new(), now), None);
        ask(&mut tools, 2, "hook.after", "Bash", now);
        assert_eq!(tools.answered(2, true), some(&[]));
    }
}
