//! Which records `ostk audit query` prints.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use libostk::{Entry, Timestamp};
use serde_json::Value;

use crate::{
    args::{Query, span},
    failure::Failure,
    record,
};

/// The filters of a query, ready to ask.
pub(crate) struct Filter<'a> {
    query: &'a Query,
    since: Option<Timestamp>,
    /// Who put the questions met so far, where the query is about one lineage: an answer names the question only.
    askers: BTreeMap<u64, String>,
}

impl<'a> Filter<'a> {
    pub(crate) fn new(query: &'a Query) -> Result<Self, Failure> {
        let since = query.since.as_deref().map(|text| since(text, now())).transpose()?;
        Ok(Self { query, since, askers: BTreeMap::new() })
    }

    /// Whether all filters match. The body is parsed only when a filter needs it. Wants to see every record of the log in turn.
    pub(crate) fn matches(&mut self, entry: &Entry) -> Result<bool, Failure> {
        let head = record::header(entry)?;
        if head.event == "approval.requested" && self.query.agent.is_some() {
            self.askers.insert(head.seq, head.actor.to_owned());
        }
        if self.since.is_some_and(|since| head.ts < since) || !self.wants_kind(head.event) {
            return Ok(false);
        }
        if !self.query.event.as_deref().is_none_or(|wanted| named(head.event, wanted)) {
            return Ok(false);
        }
        let actor = self.query.agent.as_deref().is_none_or(|wanted| by(head.actor, wanted));
        let refusal = self.query.denied && head.event == "approval.answered";
        if self.query.file.is_none() && actor && !refusal {
            return Ok(true);
        }
        let body = Value::Object(record::parse(entry)?.body);
        if refusal && body["granted"] == true {
            return Ok(false);
        }
        let asker = body["approval"].as_u64().and_then(|id| self.askers.get(&id));
        let about = |wanted: &str| body["lineage"] == wanted || asker.is_some_and(|asker| by(asker, wanted));
        let agent = self.query.agent.as_deref().is_none_or(|wanted| actor || about(wanted));
        Ok(agent && self.query.file.as_deref().is_none_or(|file| mentions(&body, file)))
    }

    /// `--writes`, `--conflicts` and `--denied` each name a kind; any of those given will do.
    fn wants_kind(&self, event: &str) -> bool {
        let Query { writes, conflicts, denied, .. } = *self.query;
        let any = writes || conflicts || denied;
        !any || match event {
            "file.write.intent" => writes,
            "file.conflict" => conflicts,
            "gate.denied" | "approval.answered" => denied,
            _ => false,
        }
    }
}

/// `file.` and `file` match `file.read`; `gate.denied` matches itself.
fn named(event: &str, wanted: &str) -> bool {
    match event.strip_prefix(wanted) {
        Some(rest) => rest.is_empty() || wanted.ends_with('.') || rest.starts_with('.'),
        None => false,
    }
}

/// An actor as in the log (`agent:worker-a`) or its name alone.
fn by(actor: &str, wanted: &str) -> bool {
    actor == wanted || actor.split_once(':').is_some_and(|(_, name)| name == wanted)
}

/// Whether a text in the value is `file`. Bodies of records are small and no deeper than the log allows.
fn mentions(value: &Value, file: &str) -> bool {
    match value {
        Value::String(text) => text == file,
        Value::Array(items) => items.iter().any(|item| mentions(item, file)),
        Value::Object(members) => members.values().any(|member| mentions(member, file)),
        _ => false,
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// `90s`, `15m`, `2h`, `3d` before `now`, or a moment in RFC 3339.
fn since(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Ok(Timestamp::from_micros(u64::try_from(moment.as_microsecond()).unwrap_or(0)));
    }
    let wrong = || {
        Failure::usage(format!("not a time: {text}"))
            .hint("--since 15m, --since 2h, --since 2026-01-02T03:04:05Z")
    };
    let ago = span(text).ok_or_else(wrong)?;
    Ok(Timestamp::from_micros(
        now.as_micros().saturating_sub(u64::try_from(ago.as_micros()).unwrap_or(u64::MAX)),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_named_by_itself_or_by_its_first_words() {
        assert!(named("file.read", "file.") && named("file.read", "file") && named("file.read", "file.read"));
        assert!(
            !named("file.read", "fil") && !named("file.read", "file.reads") && !named("file.read", "read")
        );
    }

    #[test]
    fn an_actor_is_named_with_or_without_its_kind() {
        assert!(by("agent:worker-a", "worker-a") && by("agent:worker-a", "agent:worker-a"));
        assert!(!by("agent:worker-a", "worker") && by("kernel", "kernel"));
    }

    #[test]
    fn a_time_is_a_moment_or_so_long_ago() {
        let now = Timestamp::from_micros(10_000_000_000);
        assert_eq!(since("90s", now).unwrap(), Timestamp::from_micros(9_910_000_000));
        assert_eq!(since("2h", now).unwrap(), Timestamp::from_micros(2_800_000_000));
        assert_eq!(since("9999d", now).unwrap(), Timestamp::from_micros(0));
        assert_eq!(since("1970-01-01T00:00:02Z", now).unwrap(), Timestamp::from_micros(2_000_000));
        assert!(since("yesterday", now).is_err());
    }
}
