//! Whether a person asks: what uses the operator's keys or shows a secret is not for an agent's command.

use std::io::IsTerminal;

use crate::failure::Failure;

/// Refuses a process that is contained as the commands of agents are.
pub(crate) fn not_contained(command: &str) -> Result<(), Failure> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if status.lines().any(|line| line.split_whitespace().eq(["NoNewPrivs:", "1"])) {
        let what =
            format!("ostk {command} is for a person: this process runs under no_new_privs, as agents do");
        return Err(Failure::denied(what).hint("run it in a shell of your own"));
    }
    Ok(())
}

/// Refuses whoever has no terminal.
pub(crate) fn at_a_terminal(command: &str) -> Result<(), Failure> {
    not_contained(command)?;
    if !std::io::stdin().is_terminal() {
        let what = format!("ostk {command} shows a value to a person only: there is no terminal");
        return Err(Failure::denied(what).hint("ostk secret test NAME shows its prefix and length"));
    }
    Ok(())
}
