//! One check: its name, how it went, what to do about it, and which guarantee rests on it.

use serde_json::{Value, json};

use crate::output::{Output, Paint};

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Pass,
    Warn,
    Fail,
}

/// A check that was made.
#[derive(Clone, Debug)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) standing: Standing,
    pub(crate) detail: String,
    pub(crate) remedy: Option<String>,
    /// What holds when the check passes, and does not when it does not.
    pub(crate) guarantee: Option<&'static str>,
}

impl Check {
    pub(crate) fn pass(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, standing: Standing::Pass, detail: detail.into(), remedy: None, guarantee: None }
    }

    pub(crate) fn warn(name: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { standing: Standing::Warn, remedy: Some(remedy.into()), ..Self::pass(name, detail) }
    }

    pub(crate) fn fail(name: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { standing: Standing::Fail, ..Self::warn(name, detail, remedy) }
    }

    pub(crate) fn guarantees(mut self, guarantee: &'static str) -> Self {
        self.guarantee = Some(guarantee);
        self
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({ "name": self.name, "state": self.standing.as_str(), "detail": self.detail, "remedy": self.remedy })
    }

    /// The check, and below it the remedy when there is one.
    pub(crate) fn lines(&self, output: &Output) -> String {
        let (paint, mark) = match self.standing {
            Standing::Pass => (Paint::Green, "✓"),
            Standing::Warn => (Paint::Yellow, "!"),
            Standing::Fail => (Paint::Red, "✗"),
        };
        let detail = self.detail.replace('\n', "\n               ");
        let first = format!("  {} {:<10} {detail}", output.paint(paint, mark), self.name);
        match &self.remedy {
            Some(remedy) => format!("{first}\n               {} {remedy}", output.paint(Paint::Cyan, "→")),
            None => first,
        }
    }
}

impl Standing {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// How many of the checks passed, failed.
pub(crate) fn tally(checks: &[Check]) -> (usize, usize) {
    let count = |standing| checks.iter().filter(|check| check.standing == standing).count();
    (count(Standing::Pass), count(Standing::Fail))
}

/// A guarantee: whether it holds here, and what it would take.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) name: String,
    /// `active`, `missing`, or `accepted`: missing, and the operator goes without.
    pub(crate) state: &'static str,
    pub(crate) promise: String,
    pub(crate) takes: Option<String>,
}

impl Held {
    pub(crate) fn to_json(&self) -> Value {
        json!({ "name": self.name, "state": self.state, "promise": self.promise, "takes": self.takes })
    }

    fn row(&self) -> Vec<String> {
        let what = match &self.takes {
            Some(takes) => format!("{}; it takes: {takes}", self.promise),
            None => self.promise.clone(),
        };
        vec![self.name.clone(), self.state.to_owned(), what.replace('\n', " ")]
    }
}

/// The guarantees that rest on checks of the project.
pub(crate) fn guarantees(checks: &[Check]) -> Vec<Held> {
    let held = |check: &Check| {
        let is_active = check.standing == Standing::Pass;
        Some(Held {
            name: check.name.to_owned(),
            state: if is_active { "active" } else { "missing" },
            promise: check.guarantee?.to_owned(),
            takes: check.remedy.clone().filter(|_| !is_active),
        })
    };
    checks.iter().filter_map(held).collect()
}

/// Every guarantee as a table.
pub(crate) fn table(output: &Output, held: &[Held]) -> String {
    output.table(&["GUARANTEE", "HERE", "WHAT IT PROMISES"], &held.iter().map(Held::row).collect::<Vec<_>>())
}
