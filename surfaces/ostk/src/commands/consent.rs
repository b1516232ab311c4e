//! Says at the terminal that a command waits for a person's consent, and how to give it.
//!
//! `ostk run` waits in one call for the end of its command, and a call that waits for consent looks the same from there.
//! So somebody beside it looks at the open questions now and then. Nothing depends on it: what cannot be asked or
//! printed is left out.

use std::{
    collections::BTreeSet,
    io::Write,
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread,
    time::Duration,
};

use libostk::{CallOptions, Identity, Project};
use serde_json::json;

use crate::connect;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// Looks after the calls of one lineage until it is dropped.
pub(crate) struct Notice {
    _over: Sender<()>,
}

impl Notice {
    /// Begins to look.
    pub(crate) fn begin(project: &Project, lineage: &str) -> Self {
        let (over, ended) = channel::<()>();
        let (project, lineage) = (project.clone(), lineage.to_owned());
        thread::spawn(move || {
            let mut told = BTreeSet::new();
            while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                for id in waiting(&project, &lineage) {
                    if told.insert(id) {
                        // A terminal in raw mode needs both.
                        let _ = write!(
                            std::io::stderr(),
                            "ostk: this waits for your consent: ostk approvals grant {id} (or deny {id})\r\n"
                        );
                    }
                }
            }
        });
        Self { _over: over }
    }
}

/// The open questions of a lineage.
fn waiting(project: &Project, lineage: &str) -> Vec<u64> {
    let Some(mut client) = connect::running(project) else { return Vec::new() };
    if client.attach(&Identity::Operator(connect::user()), "ostk", None).is_err() {
        return Vec::new();
    }
    let found = client.call("approval.list", &json!({}), &CallOptions::default()).unwrap_or_default();
    let rows = found["approvals"].as_array().map(Vec::as_slice).unwrap_or_default();
    let own = rows.iter().filter(|row| row["lineage"] == lineage && row["answer"].is_null());
    own.filter_map(|row| row["id"].as_u64()).collect::<Vec<_>>()
}
