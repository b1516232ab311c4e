//! What the server was asked and what it served: the part of a test that asserts.
//!
//! Shared between the connections behind one mutex; the handle reads it. Bounded: the oldest requests are dropped
//! from the record (not from the counts) beyond [`MAX_REQUESTS`].

use std::collections::{BTreeMap, VecDeque};
use std::io::Write;

use serde::Serialize;
use serde_json::Value;

/// Requests kept in memory; far more than any test makes, few enough that a client run wild does not fill memory.
pub const MAX_REQUESTS: usize = 10_000;

/// One request as it came, without its credentials.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The headers, lower-case, except those that carry a key.
    pub headers: BTreeMap<String, String>,
    /// The body; null if there was none or it was not JSON.
    pub body: Value,
    /// The status that was answered.
    pub status: u16,
    /// The conversation that claimed it.
    pub conversation: Option<String>,
    /// The turn it asked for.
    pub turn: Option<usize>,
}

/// How often one turn was asked for and served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Requests for the turn, whatever came of them.
    pub asked: u64,
    /// Replies that were sent to the end.
    pub replied: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    requests: VecDeque<Request>,
    served: BTreeMap<(String, usize), Served>,
    complaints: Vec<String>,
    log: Option<std::fs::File>,
}

impl Ledger {
    pub(crate) fn new(log: Option<std::fs::File>) -> Self {
        Self { log, ..Self::default() }
    }

    /// Counts one more request for a turn; returns how many there were before.
    pub(crate) fn ask(&mut self, conversation: &str, turn: usize) -> u64 {
        let served = self.served.entry((conversation.to_owned(), turn)).or_default();
        served.asked += 1;
        served.asked - 1
    }

    pub(crate) fn replied(&mut self, conversation: &str, turn: usize) {
        self.served.entry((conversation.to_owned(), turn)).or_default().replied += 1;
    }

    pub(crate) fn complain(&mut self, complaint: String) {
        if self.complaints.len() < MAX_REQUESTS {
            self.complaints.push(complaint);
        }
    }

    /// Keeps the request and writes it to the log file, if there is one.
    pub(crate) fn record(&mut self, request: Request) {
        if let Some(file) = &mut self.log {
            let line = serde_json::to_string(&request).unwrap_or_default();
            // A full disk must not change what the client sees; the requests stay available in memory.
            let _ = writeln!(file, "{line}");
        }
        if self.requests.len() == MAX_REQUESTS {
            self.requests.pop_front();
        }
        self.requests.push_back(request);
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.iter().cloned().collect()
    }

    pub(crate) fn served(&self) -> BTreeMap<(String, usize), Served> {
        self.served.clone()
    }

    pub(crate) fn complaints(&self) -> Vec<String> {
        self.complaints.clone()
    }
}

/// Headers that carry a credential and are never recorded.
pub(crate) fn is_secret(header: &str) -> bool {
    matches!(header, "authorization" | "x-api-key" | "api-key" | "proxy-authorization" | "cookie")
}
