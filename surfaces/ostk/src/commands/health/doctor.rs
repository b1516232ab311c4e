//! `ostk doctor`: every check that boot makes and some more, each with what to do about it. Also works where there is
//! no project yet.

use std::{path::Path, process::ExitCode};

use libostk::Project;
use serde_json::json;

use super::{
    super::{Done, secret},
    check::{Check, Held, guarantees, table, tally},
    daemon::Daemon,
    machine,
    past::Past,
    project,
    trust::{accepted, trust},
};
use crate::{
    connect,
    output::{Output, Paint},
};

pub(crate) fn doctor(output: &Output) -> Done {
    let project = connect::project();
    let accepted = project.as_ref().map(|project| accepted(&project.state_dir())).unwrap_or_default();
    let mut checks = vec![machine::git_program()];
    checks.extend(machine::sandbox(&accepted));
    checks.extend([machine::provider_keys(), project::key().0]);
    match project {
        Ok(project) => checks.extend(of_project(&project)),
        Err(failure) => {
            checks.push(Check::fail("project", failure.message(), "ostk init, in a git repository"))
        }
    }
    let (passed, failed) = tally(&checks);
    let held = [machine::guarantees(&accepted), guarantees(&checks)].concat();
    let value = json!({ "ok": failed == 0, "checks": checks.iter().map(Check::to_json).collect::<Vec<_>>(),
        "guarantees": held.iter().map(Held::to_json).collect::<Vec<_>>() });
    output.show(&value, |output| {
        let mut lines: Vec<String> = checks.iter().map(|check| check.lines(output)).collect();
        let paint = if failed == 0 { Paint::Green } else { Paint::Red };
        let warned = checks.len() - passed - failed;
        lines.extend([String::new(), table(output, &held), String::new()]);
        lines.push(output.paint(paint, &format!("{passed} good, {warned} to know about, {failed} failed")));
        lines.join("\n")
    });
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn of_project(project: &Project) -> Vec<Check> {
    let state_dir = project.state_dir();
    let (daemon, past) = (Daemon::look(project), Past::read(&state_dir));
    let loaded = past.as_ref().and_then(Past::policy).filter(|_| daemon.anchored);
    let (journal, last) = project::journal(&state_dir);
    let mut checks = trust(&state_dir).0;
    checks.push(masked(&state_dir));
    checks.extend([
        project::git(project),
        project::state_dir(&state_dir),
        project::documents(&state_dir, loaded),
        journal,
        project::checkpoint(&state_dir, last.as_ref()),
        project::clock(last.as_ref()),
        machine::disk(&state_dir),
        project::socket(&connect::socket(project)),
        daemon.check(),
        daemon.version(past.as_ref()),
    ]);
    checks.extend(past.as_ref().map(Past::budget));
    checks
}

/// Whether every secret can be told from other text.
fn masked(state_dir: &Path) -> Check {
    let weak: Vec<String> =
        secret::weak(state_dir).into_iter().map(|(name, why)| format!("{name} ({why})")).collect();
    match weak.as_slice() {
        [] => Check::pass("masked", "every secret that the daemon knows is masked in what agents read"),
        some => Check::warn(
            "masked",
            format!("not masked in what agents read: {}", some.join(", ")),
            "take a longer secret",
        ),
    }
}
