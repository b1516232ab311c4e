//! `ostk bench`: how fast this machine is at what ostk does all day.
//!
//! Short rounds in this process and, in a project of its own in the temporary directory, over the socket. The full
//! method and the results that are kept live with the project's benchmarks; this is for a user's own machine.

use std::{
    collections::BTreeMap,
    env, fs,
    hint::black_box,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use libostk::{CallOptions, Client, Identity, Project};
use ostk_policy::{Actor, ActorKind, Class, Documents, Policy, Request, Resource};
use serde_json::{Value, json};

use super::Done;
use crate::{args::Bench, connect, failure::Failure, output::Output};

/// Measured repetitions of a short operation.
const ROUNDS: usize = 2_000;
/// Measured repetitions of an operation that waits for the disk.
const DURABLE_ROUNDS: usize = 200;

/// Area, what is measured, and the samples in microseconds.
type Row = (&'static str, &'static str, Vec<f64>);

pub(crate) fn bench(args: &Bench, output: &Output) -> Done {
    const AREAS: [&str; 3] = ["gate", "merge", "call"];
    if let Some(unknown) = args.areas.iter().find(|area| !AREAS.contains(&area.as_str())) {
        return Err(Failure::usage(format!("no area is called {unknown:?}"))
            .hint(format!("one of: {}", AREAS.join(", "))));
    }
    let wanted = |area: &str| args.areas.is_empty() || args.areas.iter().any(|name| name == area);
    let mut rows = Vec::new();
    if wanted("gate") {
        rows.push(("gate", "a verdict, 10 rules", gate(10)?));
        rows.push(("gate", "a verdict, 1,000 rules", gate(1_000)?));
    }
    if wanted("merge") {
        rows.push(("merge", "a file of 1,000 lines, one edit each", merge()));
    }
    if wanted("call") {
        rows.extend(calls()?);
    }
    let rows: Vec<Value> = rows.into_iter().map(figures).collect();
    let result = json!({ "unit": "µs", "results": rows });
    output.show(&result, |output| {
        let cell = |row: &Value, name: &str| {
            row[name]
                .as_str()
                .map_or_else(|| format!("{:.1}", row[name].as_f64().unwrap_or(0.0)), str::to_owned)
        };
        let cells =
            rows.iter().map(|row| ["area", "what", "p50", "p99"].map(|name| cell(row, name)).to_vec());
        output.table(&["AREA", "WHAT", "P50 µs", "P99 µs"], &cells.collect::<Vec<_>>())
    });
    Ok(ExitCode::SUCCESS)
}

fn figures((area, what, mut samples): Row) -> Value {
    samples.sort_by(f64::total_cmp);
    let at = |percent: usize| samples.get(samples.len() * percent / 100).copied().unwrap_or_default();
    json!({ "area": area, "what": what, "p50": at(50), "p99": at(99), "rounds": samples.len() })
}

fn time(rounds: usize, mut once: impl FnMut(usize) -> Result<(), Failure>) -> Result<Vec<f64>, Failure> {
    let mut samples = Vec::with_capacity(rounds);
    for round in 0..rounds {
        let started = Instant::now();
        once(round)?;
        samples.push(started.elapsed().as_secs_f64() * 1e6);
    }
    Ok(samples)
}

fn gate(rules: usize) -> Result<Vec<f64>, Failure> {
    let mut text = "read: .\nwrite: src\nexecute: shell\n".to_owned();
    for rule in 0..rules {
        text.push_str(&format!("deny-path: src/module{rule}/private\n"));
    }
    let documents = Documents { pins: BTreeMap::from([("bench".to_owned(), text)]), ..Documents::default() };
    let policy = Policy::load(&documents).map_err(Failure::check)?;
    let actor = Actor { pin: Some("bench".to_owned()), ..Actor::new(ActorKind::Agent, "bench") };
    time(ROUNDS, |round| {
        let path = Resource::Path(format!("src/module{round}/file.rs"));
        let request = Request::new(actor.clone(), "file.write", Class::FileWrite, path);
        black_box(policy.decide(&request));
        Ok(())
    })
}

fn merge() -> Vec<f64> {
    let lines: Vec<String> =
        (0..1_000).map(|line| format!("    let value_{line} = compute({line});")).collect();
    let edited = |at: usize| {
        let mut lines = lines.clone();
        lines.insert(at, "    // edited".to_owned());
        lines.join("\n") + "\n"
    };
    let (base, ours, theirs) = (lines.join("\n") + "\n", edited(100), edited(900));
    let merged = time(ROUNDS / 4, |_| {
        black_box(ostk_merge::merge(base.as_bytes(), ours.as_bytes(), theirs.as_bytes()));
        Ok(())
    });
    merged.unwrap_or_default()
}

/// Calls over the socket, in a project of their own.
fn calls() -> Result<Vec<Row>, Failure> {
    let dir = env::temp_dir().join(format!("ostk-bench-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    let rows = calls_in(&dir);
    fs::remove_dir_all(&dir)?;
    rows
}

fn calls_in(dir: &std::path::Path) -> Result<Vec<Row>, Failure> {
    let made = Command::new("git").args(["init", "--quiet"]).current_dir(dir).status()?;
    if !made.success() {
        return Err(Failure::check("git init failed"));
    }
    let project = Project::at(ostk_daemon::init(dir, None).map_err(Failure::check)?.root);
    let text: String = (0..200).map(|line| format!("line {line}\n")).collect();
    fs::write(dir.join("bench.txt"), text)?;
    let (mut client, _) = connect::attach(&project, &Identity::Agent("bench".to_owned()), None)?;
    let options = CallOptions::default();
    let read = |client: &mut Client| {
        Ok(client.call("file.read", &json!({ "path": "bench.txt" }), &options).map(|_| ())?)
    };
    read(&mut client)?;
    let reads = time(ROUNDS, |_| read(&mut client))?;
    let edits = time(DURABLE_ROUNDS, |round| {
        let (old, new) = (format!("line {}\n", round % 200), format!("line {}\n", round % 200 + 1_000));
        let call = json!({ "path": "bench.txt", "old": old, "new": new });
        Ok(client.call("file.edit", &call, &options).map(|_| ())?)
    })?;
    let mut operator = connect::operator(&project)?;
    operator.request("kernel/stop", &json!({}), Duration::from_secs(10))?;
    for _ in 0..500 {
        if !ostk_daemon::anchored(&project.state_dir()) {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(vec![
        ("call", "an unchanged read over the socket", reads),
        ("call", "a durable edit over the socket", edits),
    ])
}
