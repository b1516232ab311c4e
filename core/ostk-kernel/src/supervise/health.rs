//! Whether a supervised process still works: its check runs as a command of its own lineage, behind the same gate and in
//! the same sandbox as `shell.run`. So many failures in a row mean that it hangs; it is ended, and its supervision says
//! what follows. A check that cannot be asked (it is refused, the process is stopped) says nothing about its health.

use ostk_agent::Outcome as Ending;
use ostk_log::Timestamp;
use serde_json::{Value, json};

use super::Phase;
use crate::{
    act::Awaited,
    call::{Call, CallError, Caller},
    event::Event,
    kernel::{Kernel, ReplyTo},
    state::LineageState,
};

/// What a check may take beyond its timeout: its intent becomes durable first, and the workspace is scanned.
const SLACK_MS: u64 = 120_000;

/// The check of a process, while it runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Check {
    due: Timestamp,
    under_way: bool,
}

impl Kernel {
    /// Starts the checks that are due.
    pub(crate) fn check_health(&mut self) {
        if self.checks.is_empty() && self.state.supervised.is_empty() {
            return;
        }
        let mut due = Vec::new();
        let mut checks = std::mem::take(&mut self.checks);
        checks.retain(|name, check| check.under_way || self.is_checked(name));
        for (name, known) in &self.state.supervised {
            let Some(health) = known.terms.health.as_ref().filter(|_| self.is_checked(name)) else {
                continue;
            };
            let first = Check { due: self.now.plus_millis(health.interval_s * 1_000), under_way: false };
            let check = checks.entry(name.clone()).or_insert(first);
            if !check.under_way && check.due <= self.now {
                check.under_way = true;
                due.push((name.clone(), known.run, health.clone()));
            }
        }
        self.checks = checks;
        for (lineage, run, health) in due {
            let timeout_ms = health.timeout_s * 1_000;
            let call = Call {
                id: 0,
                caller: Caller::Agent(lineage.clone()),
                verb: "shell.run".to_owned(),
                args: json!({ "command": health.command, "timeout_ms": timeout_ms }),
                idempotency: None,
                deadline: self.now.plus_millis(timeout_ms + SLACK_MS),
            };
            self.enter(call, ReplyTo::Check { lineage, run });
        }
    }

    fn is_checked(&self, lineage: &str) -> bool {
        let up = |known: &super::Supervision| known.phase == Phase::Up && known.terms.health.is_some();
        let running = |known: &crate::state::Lineage| known.state == LineageState::Running;
        self.state.panic.is_none()
            && self.state.supervised.get(lineage).is_some_and(up)
            && self.state.lineages.get(lineage).is_some_and(running)
    }

    /// When the next check is due.
    pub(crate) fn next_check(&self) -> Option<Timestamp> {
        let waiting = self.checks.iter().filter(|(name, check)| !check.under_way && self.is_checked(name));
        waiting.map(|(_, check)| check.due).min()
    }

    /// A check has ended.
    pub(crate) fn checked(&mut self, lineage: &str, run: u64, result: &Result<Value, CallError>) {
        self.checks.remove(lineage);
        let Some(known) = self.state.supervised.get(lineage) else { return };
        let Some(health) =
            known.terms.health.clone().filter(|_| known.run == run && known.phase == Phase::Up)
        else {
            return;
        };
        let due = self.now.plus_millis(health.interval_s * 1_000);
        self.checks.insert(lineage.to_owned(), Check { due, under_way: false });
        let Ok(end) = result else { return };
        let failed = end.get("exit").and_then(Value::as_i64) != Some(0);
        let failures = if failed { known.failed_checks.saturating_add(1) } else { 0 };
        if failures == known.failed_checks {
            return;
        }
        let event = Event::SuperviseChecked { lineage: lineage.to_owned(), failures };
        self.record_with(&Caller::Kernel, &event, Vec::new(), Awaited::Written);
        if failures >= health.failures {
            let error = hung(failures);
            self.put_down(lineage, "its health check", Ending::Failed { error });
        }
    }
}

/// What is said of a process whose check failed so often in a row.
pub(super) fn hung(failures: u32) -> String {
    format!("its health check failed {failures} times in a row")
}
