//! A needle: one piece of work that can be closed when its acceptance commands pass. Members are those of the
//! specification, section 5.1; who holds it is in `board`, because a claim ends by itself.

use std::{collections::BTreeSet, str::FromStr};

use ostk_log::Timestamp;
use serde::{Deserialize, Serialize};

use crate::NeedleId;

/// What a needle must be given with: the argument, and what it is for.
pub const REQUIRED: [(&str, &str); 4] = [
    ("title", "what is to be done, in one line"),
    ("priority", "P0 (now) to P3 (some day)"),
    ("description", "what whoever takes it must know"),
    ("ac", "the commands that pass when it is done"),
];

/// How urgent it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Priority {
    /// Now.
    P0,
    /// Next.
    P1,
    /// Soon.
    P2,
    /// Some day.
    P3,
}

impl Priority {
    /// What one needle that waits for it counts in the ranking (specification, section 7).
    pub const fn weight(self) -> u64 {
        match self {
            Self::P0 => 3,
            Self::P1 => 2,
            Self::P2 | Self::P3 => 1,
        }
    }

    /// `P0` to `P3`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::P0 => "P0",
            Self::P1 => "P1",
            Self::P2 => "P2",
            Self::P3 => "P3",
        }
    }
}

/// A word that is none of a few.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is none of {known}")]
pub struct WordError {
    word: String,
    known: &'static str,
}

impl FromStr for Priority {
    type Err = WordError;

    fn from_str(word: &str) -> Result<Self, WordError> {
        let all = [Self::P0, Self::P1, Self::P2, Self::P3];
        let found = all.into_iter().find(|priority| priority.word().eq_ignore_ascii_case(word.trim()));
        found.ok_or_else(|| WordError { word: word.to_owned(), known: "P0, P1, P2, P3" })
    }
}

/// Where a needle stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nobody works on it.
    Open,
    /// Somebody has claimed it.
    InProgress,
    /// Put aside: nobody is given it.
    Shelved,
    /// Done, or given up.
    Closed,
}

impl Status {
    /// The word for it, as in records.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::InProgress => "in_progress",
            Self::Shelved => "shelved",
            Self::Closed => "closed",
        }
    }
}

impl FromStr for Status {
    type Err = WordError;

    fn from_str(word: &str) -> Result<Self, WordError> {
        let all = [Self::Open, Self::InProgress, Self::Shelved, Self::Closed];
        let found = all.into_iter().find(|status| status.word() == word.trim().replace('-', "_"));
        found.ok_or_else(|| WordError { word: word.to_owned(), known: "open, in_progress, shelved, closed" })
    }
}

/// How its acceptance commands ended when they ran last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AcResult {
    /// All passed.
    Pass,
    /// One failed or could not run.
    Fail,
}

/// How a needle was closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// When.
    pub at: Timestamp,
    /// The record that says so.
    pub seq: u64,
    /// By whom: an actor.
    pub by: String,
    /// Why, in the closer's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The commit that the work ended in, as the closer says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit_ref: Option<String>,
    /// It did not pass, or had nothing to pass, and was closed nevertheless.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forced: bool,
}

/// One piece of work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needle {
    /// What is to be done.
    pub title: String,
    /// Where it stands.
    pub status: Status,
    /// How urgent it is.
    pub priority: Priority,
    /// Commands that must all pass, in order. Forgotten when it is closed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ac: Vec<String>,
    /// Who gave these commands: an actor. They get no rights that this actor lacks.
    pub ac_by: String,
    /// What whoever takes it must know. Forgotten when it is closed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<String>,
    /// The milestone that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub milestone: Option<String>,
    /// What must be closed before it is ready.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub depends_on: BTreeSet<NeedleId>,
    /// What waits for it: the other end of `depends_on`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub blocks: BTreeSet<NeedleId>,
    /// What it shares a reference with; on both ends.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub related: BTreeSet<NeedleId>,
    /// The record that added it.
    pub seq: u64,
    /// When.
    pub created_at: Timestamp,
    /// By whom: an actor.
    pub created_by: String,
    /// How its acceptance commands ended last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ac_result: Option<AcResult>,
    /// How it was closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Closed>,
}

impl Needle {
    /// Whether it is neither done nor given up.
    pub fn is_open(&self) -> bool {
        self.status != Status::Closed
    }

    /// Everything that it is joined to.
    pub fn joints(&self) -> impl Iterator<Item = NeedleId> {
        self.depends_on.iter().chain(&self.blocks).chain(&self.related).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_are_read_in_either_case_and_p0_comes_first() {
        assert_eq!("p1".parse::<Priority>(), Ok(Priority::P1));
        assert_eq!(" P3 ".parse::<Priority>(), Ok(Priority::P3));
        assert!("P4".parse::<Priority>().unwrap_err().to_string().contains("P0, P1, P2, P3"));
        assert!(Priority::P0 < Priority::P1);
    }

    #[test]
    fn a_status_is_read_with_a_dash_too() {
        assert_eq!("in-progress".parse::<Status>(), Ok(Status::InProgress));
        assert!("done".parse::<Status>().is_err());
    }
}
