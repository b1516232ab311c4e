//! The table of a run, for people and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::{
    judge::{Judged, Outcome},
    row::Class,
};

/// How many rows came to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Attempts that ran; without those of class [`Class::Work`], which are no escapes.
    pub attempted: usize,
    /// Of them, those that were stopped.
    pub stopped: usize,
    /// Of them, those that got out.
    pub escaped: usize,
    /// Ordinary work that succeeded.
    pub work_done: usize,
    /// Ordinary work that failed, or did harm.
    pub work_failed: usize,
    /// Rows that mean nothing here.
    pub not_applicable: usize,
    /// Rows whose attempt did not run.
    pub not_attempted: usize,
}

impl Counts {
    /// Of a run.
    pub fn of(judged: &[Judged]) -> Self {
        let mut counts = Self::default();
        for Judged { row, outcome, .. } in judged {
            match outcome {
                Outcome::Stopped if row.class == Class::Work => counts.work_done += 1,
                Outcome::Escaped(_) if row.class == Class::Work => counts.work_failed += 1,
                Outcome::Stopped => counts.stopped += 1,
                Outcome::Escaped(_) => counts.escaped += 1,
                Outcome::NotApplicable(_) => counts.not_applicable += 1,
                Outcome::NotAttempted(_) => counts.not_attempted += 1,
            }
        }
        counts.attempted = counts.stopped + counts.escaped;
        counts
    }
}

/// For people. `said` adds what the attempts said.
pub fn text(judged: &[Judged], said: bool) -> String {
    let mut text = String::new();
    for Judged { row, outcome, said: output } in judged {
        let (word, why) = match outcome {
            Outcome::Stopped if row.class == Class::Work => ("done", String::new()),
            Outcome::Escaped(found) if row.class == Class::Work => ("FAILED", found.join("; ")),
            Outcome::Stopped => ("stopped", String::new()),
            Outcome::Escaped(found) => ("ESCAPED", found.join("; ")),
            Outcome::NotApplicable(why) => ("not applicable", why.clone()),
            Outcome::NotAttempted(said) => ("NOT ATTEMPTED", said.clone()),
        };
        let _ = writeln!(text, "{:<10} {:<32} {word:<16} {why}", row.class.name(), row.id);
        if said {
            let lines: String = output
                .lines()
                .filter(|line| !line.is_empty())
                .map(|line| format!("      | {line}\n"))
                .collect();
            text.push_str(&lines);
        }
    }
    let counts = Counts::of(judged);
    let _ = writeln!(
        text,
        "{} attempted, {} stopped, {} escaped, {} not applicable here, {} did not run; ordinary work: {} done, {} failed",
        counts.attempted,
        counts.stopped,
        counts.escaped,
        counts.not_applicable,
        counts.not_attempted,
        counts.work_done,
        counts.work_failed
    );
    text
}

/// For scripts.
pub fn json(judged: &[Judged], contender: &str, version: &str) -> Value {
    let rows: Vec<_> = judged.iter().map(one).collect();
    let counts = Counts::of(judged);
    json!({
        "against": contender,
        "version": version,
        "attempted": counts.attempted,
        "stopped": counts.stopped,
        "escaped": counts.escaped,
        "work_done": counts.work_done,
        "work_failed": counts.work_failed,
        "not_applicable": counts.not_applicable,
        "not_attempted": counts.not_attempted,
        "rows": rows,
    })
}

fn one(Judged { row, outcome, said }: &Judged) -> Value {
    let (word, why) = match outcome {
        Outcome::Stopped if row.class == Class::Work => ("done", Value::Null),
        Outcome::Escaped(found) if row.class == Class::Work => ("failed", json!(found)),
        Outcome::Stopped => ("stopped", Value::Null),
        Outcome::Escaped(found) => ("escaped", json!(found)),
        Outcome::NotApplicable(why) => ("not_applicable", json!([why])),
        Outcome::NotAttempted(_) => ("not_attempted", Value::Null),
    };
    json!({
        "row": row.id,
        "class": row.class.name(),
        "tries": row.tries,
        "source": row.source,
        "outcome": word,
        "why": why,
        "said": said,
    })
}
