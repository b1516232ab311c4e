//! `ostk audit verify`: is the log whole? Says where it is not.

use std::{
    io::{IsTerminal, Write},
    path::Path,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use libostk::{Problem, Project, ReadError, Report};
use serde_json::{Value, json};

use super::{super::Done, witness};
use crate::{
    connect,
    failure::Failure,
    output::{Output, Paint},
};

/// A check that takes longer shows how far it has come.
const PATIENCE: Duration = Duration::from_millis(700);
const BLINK: Duration = Duration::from_millis(100);
/// Cells of the bar.
const BAR: u64 = 30;
/// Problems shown to a person; JSON has them all.
const SHOWN: usize = 20;

pub(crate) fn verify(deep: bool, git: bool, output: &Output) -> Done {
    let project = connect::project()?;
    let state_dir = project.state_dir();
    let mut report = watched(&state_dir, deep, output)?;
    against_attestation(&project, &mut report)?;
    let mut witnesses = None;
    // Git can bear witness to a log that is whole only.
    if git && report.ok {
        let (agreeing, problems) = witness::compare(project.root(), &state_dir, &report.keys)?;
        report.ok = problems.is_empty();
        report.problem_count += problems.len() as u64;
        report.problems.extend(problems);
        witnesses = Some(agreeing);
    }
    output.show(&to_json(&report), |output| {
        let agree = witnesses.map(|count| format!("\n  git         {count} commits agree"));
        human(&report, deep, output) + &agree.unwrap_or_default()
    });
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// The log of a sealed stack must be the one that the project's log vouches for.
fn against_attestation(project: &Project, report: &mut Report) -> Result<(), Failure> {
    let Some((size, root)) = super::super::stack::attested(project)? else { return Ok(()) };
    if (report.records, report.root) == (size, root) {
        return Ok(());
    }
    let what = format!(
        "{} records with the root {} are not what was attested when the stack was sealed: {size} with the root {root}",
        report.records, report.root
    );
    let file = project.state_dir().join("journal.jsonl");
    report.ok = false;
    report.problem_count += 1;
    report.problems.push(Problem { seq: None, file, offset: 0, what });
    Ok(())
}

/// Checks on a thread of its own, so that a person at a terminal sees how far it has come.
fn watched(state_dir: &Path, deep: bool, output: &Output) -> Result<Report, Failure> {
    let (sender, done) = mpsc::channel::<Result<Report, ReadError>>();
    let dir = state_dir.to_owned();
    let passed = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&passed);
    thread::spawn(move || sender.send(libostk::verify_watched(&dir, deep, &counter)));
    let total = libostk::published(state_dir).map_or(0, |checkpoint| checkpoint.size);
    let mut patience = PATIENCE;
    let show = !output.is_json() && std::io::stderr().is_terminal();
    loop {
        match done.recv_timeout(patience) {
            Ok(report) => {
                if show && patience == BLINK {
                    let _ = write!(std::io::stderr(), "\r\u{1b}[K");
                }
                return Ok(report?);
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Err(Failure::check("bug: the check panicked"));
            }
        }
        patience = BLINK;
        if show {
            let _ = write!(std::io::stderr(), "\r\u{1b}[K{}", bar(passed.load(Ordering::Relaxed), total));
        }
    }
}

/// One line for `passed` records; `total` is what the checkpoint covers, 0 if there is none. A running daemon adds more.
fn bar(passed: u64, total: u64) -> String {
    if passed == 0 {
        return "checking the packs".to_owned();
    }
    if total == 0 {
        return format!("checking the log: {passed} records");
    }
    let part = |of: u64| passed.min(total).saturating_mul(of) / total;
    let bar: String = (0..BAR).map(|cell| if cell < part(BAR) { '█' } else { '░' }).collect();
    format!("checking the log {bar} {:>3} %  {passed} of {} records", part(100), total.max(passed))
}

pub(crate) fn to_json(report: &Report) -> Value {
    let problem = |problem: &Problem| {
        let mut value = json!({ "file": problem.file, "offset": problem.offset, "what": problem.what });
        if let Some(seq) = problem.seq {
            value["seq"] = json!(seq);
        }
        value
    };
    json!({ "ok": report.ok, "records": report.records, "head": report.head, "root": report.root,
        "checkpoint_size": report.checkpoint_size, "signatures_checked": report.signatures_checked,
        "problems": report.problems.iter().map(problem).collect::<Vec<_>>() })
}

fn human(report: &Report, deep: bool, output: &Output) -> String {
    let mut lines = Vec::new();
    if report.ok {
        let checked =
            if deep { "chain, tree, tiles, blobs, every signature" } else { "chain, tree head, packs" };
        lines.push(format!(
            "{} {} records are whole: {checked}",
            output.paint(Paint::Green, "✓"),
            report.records
        ));
    } else {
        let what = format!(
            "{} {} problems in {} records",
            output.paint(Paint::Red, "✗"),
            report.problem_count,
            report.records
        );
        lines.push(what);
        lines.extend(report.problems.iter().take(SHOWN).map(|problem| located(problem, output)));
        let more = usize::try_from(report.problem_count).unwrap_or(usize::MAX).saturating_sub(SHOWN);
        if more > 0 {
            lines.push(format!("  and {more} more; --json lists them"));
        }
    }
    let covered = report.checkpoint_size.map_or("none".to_owned(), |size| format!("over {size} records"));
    lines.push(format!("  head        {}", report.head));
    lines.push(format!("  root        {}", report.root));
    lines.push(format!("  checkpoint  {covered}"));
    lines.push(format!(
        "  signatures  {} checked{}",
        report.signatures_checked,
        if deep { "" } else { "; --deep checks all" }
    ));
    lines.extend(report.keys.iter().map(|key| format!("  signed by   {key}")));
    lines.join("\n")
}

fn located(problem: &Problem, output: &Output) -> String {
    let seq = problem.seq.map(|seq| format!("record {seq}, ")).unwrap_or_default();
    let place = format!("{seq}{} at byte {}", problem.file.display(), problem.offset);
    format!("  {}: {}", output.paint(Paint::Yellow, &place), problem.what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_full_at_the_end_and_never_beyond() {
        let cells = |passed, total| bar(passed, total).chars().filter(|cell| *cell == '█').count() as u64;
        assert_eq!([cells(1, 1_000), cells(500, 1_000), cells(1_000, 1_000)], [0, BAR / 2, BAR]);
        assert_eq!(cells(1_200, 1_000), BAR);
        assert!(bar(1_200, 1_000).ends_with("100 %  1200 of 1200 records"));
        assert_eq!(bar(7, 0), "checking the log: 7 records");
        assert_eq!(bar(0, 1_000), "checking the packs");
    }
}
