//! The gate as its callers see it: documents in, requests in, verdicts out.
//!
//! `oracle` holds the fast path to what Cedar says about the same documents; the other modules say what people rely on.

#![expect(
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test stops where it fails"
)]

mod consent;
mod custom;
mod dangers;
mod declarations;
mod defaults;
mod gate;
mod grants;
mod humanfile;
mod listing;
mod naive;
mod oracle;
mod packs;
mod paths;
mod pins;
mod record;
mod shell;

use ostk_policy::{
    Actor, ActorKind, Class, Documents, Effect, Policy, Request, Resource, ToolGrant, Verdict,
};

/// A request of the agent `worker-b`.
fn ask(class: Class, resource: Resource) -> Request {
    let actor = Actor::new(ActorKind::Agent, "worker-b");
    let call = match class {
        Class::FileRead => "file.read",
        Class::FileEdit => "file.edit",
        Class::FileWrite => "file.write",
        Class::ShellRead | Class::ShellWrite | Class::ShellExec | Class::ShellSecret => "shell.run",
        Class::KernelRead => "ps",
        Class::KernelWrite => "note",
        Class::KernelSpawn => "agent.spawn",
        Class::KernelSecret => "secret.get",
        Class::ModelCall => "model.call",
        Class::NetConnect => "net.connect",
    };
    Request::new(actor, call, class, resource)
}

fn path(path: &str) -> Resource {
    Resource::Path(path.to_owned())
}

fn command(line: &str) -> Resource {
    Resource::Command(line.to_owned())
}

fn tool(class: &str, pattern: Option<&str>) -> ToolGrant {
    ToolGrant { class: class.to_owned(), pattern: pattern.map(str::to_owned) }
}

/// Documents with the one pin `fix-bug`.
fn pinned(text: &str) -> Documents {
    Documents { pins: [("fix-bug".to_owned(), text.to_owned())].into(), ..Documents::default() }
}

fn load(documents: &Documents) -> Policy {
    Policy::load(documents).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The verdict under the pin `fix-bug` with this text; index and Cedar must give the same.
fn under_pin(text: &str, class: Class, resource: Resource) -> Verdict {
    let policy = load(&pinned(text));
    let mut request = ask(class, resource);
    request.actor.pin = Some("fix-bug".to_owned());
    both(&policy, &request)
}

/// The verdict of the built-in policy.
fn by_default(class: Class, resource: Resource) -> Verdict {
    both(&load(&Documents::default()), &ask(class, resource))
}

fn both(policy: &Policy, request: &Request) -> Verdict {
    let verdict = policy.decide(request);
    assert_eq!(verdict, policy.decide_by_cedar(request), "index and Cedar differ on {request:?}");
    verdict
}

fn allows(verdict: &Verdict) -> bool {
    verdict.effect == Effect::Allow
}

/// The rules of a verdict, as printed.
fn rules(verdict: &Verdict) -> Vec<String> {
    verdict.rules.iter().map(ToString::to_string).collect()
}
