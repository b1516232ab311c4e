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

/// The guarantees that hold, and those that do not.
pub(crate) fn guarantees(checks: &[Check]) -> (Vec<&'static str>, Vec<&'static str>) {
    let with = |active: bool| {
        let these = checks.iter().filter(move |check| (check.standing == Standing::Pass) == active);
        these.filter_map(|check| check.guarantee).collect()
    };
    (with(true), with(false))
}
