//! Prints how long one uncached decision takes, at 10 and at 1,000 rules, in microseconds.
//!
//! Run with `cargo run --release -p ostk-policy --example gate_speed`. The rules are half denied paths, a quarter globs
//! and a quarter denied verbs, all in the pin of the agent that asks; the requests are reads, writes and commands, some
//! refused. Not a test: a number depends on the machine.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::time::Instant;

use ostk_policy::{Actor, ActorKind, Class, Documents, LoadErrors, Policy, Request, Resource};

/// Decisions measured per row.
const ROUNDS: usize = 200_000;

fn main() -> Result<(), LoadErrors> {
    for rules in [10, 1_000] {
        let started = Instant::now();
        let policy = Policy::load(&documents(rules))?;
        let load_ms = started.elapsed().as_secs_f64() * 1e3;
        println!("{rules} rules: loaded in {load_ms:.1} ms");
        for (name, requests) in [("files", files(rules)), ("commands", commands(rules))] {
            let (p50, p99) = measure(&requests, ROUNDS, |request| policy.decide(request));
            println!("  {name:<9} p50 {p50:7.2} us   p99 {p99:7.2} us");
        }
        let (p50, p99) = measure(&files(rules), 500, |request| policy.decide_by_cedar(request));
        println!("  by Cedar  p50 {p50:7.2} us   p99 {p99:7.2} us");
    }
    Ok(())
}

/// 50th and 99th percentile of one call, in microseconds.
fn measure<T>(requests: &[Request], rounds: usize, decide: impl Fn(&Request) -> T) -> (f64, f64) {
    let mut times: Vec<u128> = Vec::with_capacity(rounds);
    for request in requests.iter().cycle().take(rounds) {
        let started = Instant::now();
        let verdict = std::hint::black_box(decide(std::hint::black_box(request)));
        times.push(started.elapsed().as_nanos());
        drop(verdict);
    }
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).map_or(0.0, |nanos| *nanos as f64 / 1e3);
    (at(50), at(99))
}

fn documents(rules: usize) -> Documents {
    let mut text = String::from("execute: shell\n");
    for n in 1..rules {
        text.push_str(&match n % 4 {
            0 => format!("deny-path: infra/region{n}/**/*.tf\n"),
            1 => format!("deny-verb: \"tool{n} push\"\n"),
            _ => format!("deny-path: secret/area{n}/\n"),
        });
    }
    Documents { pins: [("bench".to_owned(), text)].into(), custom: None }
}

fn files(rules: usize) -> Vec<Request> {
    let path = |n: usize| match n % 4 {
        0 => format!("infra/region{}/eu/main.tf", n % rules),
        1 => format!("secret/area{}/a/b.txt", n % rules),
        _ => format!("src/module{n}/deep/er/file.rs"),
    };
    let class = |n| if n % 2 == 0 { Class::FileWrite } else { Class::FileRead };
    (0..997).map(|n| request(class(n), Resource::Path(path(n)))).collect()
}

fn commands(rules: usize) -> Vec<Request> {
    let line = |n: usize| match n % 4 {
        1 => format!("cd src && tool{} push --force", n % rules),
        _ => format!("cargo test -p crate{n} -- --nocapture 2>&1 | tail -20"),
    };
    (0..997).map(|n| request(Class::ShellExec, Resource::Command(line(n)))).collect()
}

fn request(class: Class, resource: Resource) -> Request {
    let actor = Actor {
        kind: ActorKind::Agent,
        lineage: "worker-b".to_owned(),
        pin: Some("bench".to_owned()),
        tools: None,
    };
    let call = if class == Class::ShellExec { "shell.run" } else { "file.write" };
    Request { actor, call: call.to_owned(), class, resource, labels: Vec::new(), stack: None }
}
