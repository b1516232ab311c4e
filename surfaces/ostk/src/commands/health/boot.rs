//! `ostk boot`: one screen that says who and where this is, whether it is sound, and what it guarantees.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{
    super::Done,
    check::{Check, Held, guarantees, table, tally},
    daemon::Daemon,
    machine,
    past::Past,
    project,
    trust::{accepted, trust},
};
use crate::{
    args::Boot,
    connect,
    output::{Output, Paint},
};

pub(crate) fn boot(args: &Boot, output: &Output) -> Done {
    let project = connect::project()?;
    let state_dir = project.state_dir();
    let (daemon, past) = (Daemon::look(&project), Past::read(&state_dir));
    let loaded = past.as_ref().and_then(Past::policy).filter(|_| daemon.anchored);
    let (key, key_id) = project::key();
    let (journal, last) = project::journal(&state_dir);
    let mut checks = vec![
        project::git(&project),
        project::state_dir(&state_dir),
        key,
        project::documents(&state_dir, loaded),
    ];
    checks.extend([journal, project::checkpoint(&state_dir, last.as_ref())]);
    let (trusted, tier) = trust(&state_dir);
    checks.extend(trusted);
    let accepted = accepted(&state_dir);
    checks.extend(machine::sandbox(&accepted));
    checks.extend([machine::disk(&state_dir), daemon.check(), daemon.version(past.as_ref())]);
    let (_, failed) = tally(&checks);
    let held = [machine::guarantees(&accepted), guarantees(&checks)].concat();
    let screen = json!({
        "healthy": failed == 0, "user": connect::user(), "key": key_id, "tier": tier, "project": project.root(),
        "daemon": daemon.to_json(), "checks": checks.iter().map(Check::to_json).collect::<Vec<_>>(),
        "counts": past.as_ref().map(Past::counts), "guarantees": held.iter().map(Held::to_json).collect::<Vec<_>>(),
    });
    output.show(&screen, |output| human(output, &screen, &daemon, &checks, &held));
    Ok(if args.bail && failed > 0 { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn human(output: &Output, screen: &Value, daemon: &Daemon, checks: &[Check], held: &[Held]) -> String {
    let text = |name: &str| screen[name].as_str().unwrap_or("none yet").to_owned();
    let (passed, failed) = tally(checks);
    let paint = if failed == 0 { Paint::Green } else { Paint::Red };
    let post = output.paint(paint, &format!("POST {passed}/{}", checks.len()));
    let title = output.paint(Paint::Bold, &format!("ostk {}", env!("CARGO_PKG_VERSION")));
    let mut lines = vec![
        format!("{title}  {post}"),
        format!("  operator  {}", text("user")),
        format!("  key       {}", text("key")),
        format!("  tier      {}", text("tier")),
        format!("  project   {}", text("project")),
        format!("  daemon    {}", daemon.words()),
        format!("  so far    {}", totals(&screen["counts"])),
        String::new(),
    ];
    lines.extend(checks.iter().map(|check| check.lines(output)));
    lines.extend([String::new(), table(output, held)]);
    lines.join("\n")
}

fn totals(counts: &Value) -> String {
    if counts.is_null() {
        return "the log is large or not whole; a running daemon tells: ostk show status".to_owned();
    }
    format!(
        "{} records, {} agents and people ({} running), {} files, {} writes ({} merged), {} conflicts ({} open), {} denied",
        counts["records"],
        counts["lineages"],
        counts["running"],
        counts["files"],
        counts["writes"],
        counts["merged"],
        counts["conflicts"],
        counts["open_conflicts"],
        counts["denied"]
    )
}
