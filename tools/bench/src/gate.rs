//! The gate: one decision that no cache has seen, with 10 and with 1,000 rules in the pin of the agent that asks.
//!
//! Half the rules are denied paths, a quarter globs, a quarter denied verbs; the requests are reads, writes and
//! commands in turn, some refused.

use std::{convert::Infallible, hint::black_box, path::Path};

use anyhow::Result;
use ostk_policy::{Actor, ActorKind, Class, Documents, Policy, Request, Resource};

use crate::figure::{Figure, micros};

const ROUNDS: usize = 200_000;

pub(crate) fn measure(_: &Path) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (rules, what) in
        [(10, "an uncached decision, 10 rules"), (1_000, "an uncached decision, 1,000 rules")]
    {
        let policy = Policy::load(&documents(rules))?;
        let requests: Vec<Request> = (0..997).map(|n| request(n, rules)).collect();
        let mut turn = requests.iter().cycle();
        let samples = micros(ROUNDS, |_| {
            if let Some(request) = turn.next() {
                black_box(policy.decide(black_box(request)));
            }
            Ok::<(), Infallible>(())
        })?;
        figures.push(Figure::low(what, "µs", samples).median(5.0).tail(20.0));
    }
    Ok(figures)
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
    Documents { pins: [("bench".to_owned(), text)].into(), ..Documents::default() }
}

fn request(n: usize, rules: usize) -> Request {
    let path = match n % 4 {
        0 => format!("infra/region{}/eu/main.tf", n % rules),
        1 => format!("secret/area{}/a/b.txt", n % rules),
        _ => format!("src/module{n}/deep/er/file.rs"),
    };
    let (class, call, resource) = match n % 3 {
        0 => (Class::FileRead, "file.read", Resource::Path(path)),
        1 => (Class::FileWrite, "file.write", Resource::Path(path)),
        _ => (Class::ShellExec, "shell.run", Resource::Command(command(n, rules))),
    };
    let actor = Actor { pin: Some("bench".to_owned()), ..Actor::new(ActorKind::Agent, "worker-b") };
    Request::new(actor, call, class, resource)
}

fn command(n: usize, rules: usize) -> String {
    match n % 4 {
        1 => format!("cd src && tool{} push --force", n % rules),
        _ => format!("cargo test -p crate{n} -- --nocapture 2>&1 | tail -20"),
    }
}
