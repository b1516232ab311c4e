//! The active policy: replaced as a whole or not at all.

use ostk_policy::{ActorKind, Class, Documents, Gate, Resource};

use crate::{allows, ask, path, pinned};

fn broken() -> Documents {
    pinned("read: src\nwirte: src\n")
}

#[test]
fn malformed_documents_leave_the_old_policy_to_readers_and_refuse_effects() {
    let mut gate = Gate::new(&pinned("deny-path: infra\n")).expect("good documents");
    let before = gate.fingerprint();
    let errors = gate.reload(&broken()).expect_err("malformed");
    assert_eq!(errors.iter().count(), 1);
    assert_eq!(gate.fingerprint(), before);

    let mut request = ask(Class::FileRead, path("a"));
    request.actor.pin = Some("fix-bug".to_owned());
    assert!(allows(&gate.decide(&request)), "reads go on");
    request.resource = path("infra/a");
    assert!(!allows(&gate.decide(&request)), "under the old policy");

    let verdict = gate.decide(&ask(Class::FileWrite, path("a")));
    assert!(!allows(&verdict));
    assert!(
        verdict.reason.contains("pins/fix-bug/pin.caps:2:1: unknown key \"wirte\""),
        "{}",
        verdict.reason
    );

    let remedy = verdict.remedy.unwrap_or_default();
    assert!(remedy.ends_with("ostk call policy.reload"), "{remedy}");

    gate.reload(&Documents::default()).expect("good documents");
    assert!(allows(&gate.decide(&ask(Class::FileWrite, path("a")))));
    assert!(gate.problem().is_none());
}

#[test]
fn while_documents_are_malformed_the_kernel_goes_on_and_a_person_can_reload() {
    let gate = Gate::open(&broken()).expect("the built-in policy");
    assert!(gate.problem().is_some());
    let mut request = ask(Class::KernelWrite, Resource::None);
    request.actor.kind = ActorKind::Human;
    assert!(!allows(&gate.decide(&request)));
    request.call = "policy.reload".to_owned();
    assert!(allows(&gate.decide(&request)));
    request.actor.kind = ActorKind::Agent;
    assert!(!allows(&gate.decide(&request)), "an agent does not govern");
    let mut request = ask(Class::FileWrite, path("a"));
    request.actor.kind = ActorKind::Kernel;
    assert!(allows(&gate.decide(&request)));
}

#[test]
fn a_verdict_that_was_kept_does_not_outlive_its_documents() {
    let rule = |text: &str| Documents { custom: Some(text.to_owned()), ..Documents::default() };
    let mut gate = Gate::new(&rule("forbid (principal, action, resource);")).expect("good documents");
    let request = ask(Class::FileRead, path("a"));
    let first = gate.decide(&request);
    assert!(!allows(&first));
    assert_eq!(gate.decide(&request), first);
    gate.reload(&rule("permit (principal, action, resource);")).expect("good documents");
    assert!(allows(&gate.decide(&request)));
}
