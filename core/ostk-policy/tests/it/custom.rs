//! The operator's own rules, in Cedar.

use ostk_policy::{ActorKind, Class, Documents, Effect, Policy, Resource};

use crate::{allows, ask, both, command, load, path, rules};

fn custom(text: &str) -> Documents {
    Documents { custom: Some(text.to_owned()), ..Documents::default() }
}

#[test]
fn a_forbid_of_the_operator_is_named_with_its_line() {
    let text = "// ours\n\nforbid (principal == Agent::\"worker-b\", action, resource)\nwhen { context.under.contains(\"infra\") };\n\n@id(\"no-rm\")\nforbid (principal, action, resource) when { context.verbs.contains(\"rm\") };\n";
    let policy = load(&custom(text));
    let verdict = both(&policy, &ask(Class::FileRead, path("infra/a")));
    assert_eq!(
        rules(&verdict),
        ["policy.cedar:3 forbid (principal == Agent::\"worker-b\", action, resource)"]
    );
    let verdict = both(&policy, &ask(Class::ShellExec, command("ls; rm a")));
    assert_eq!(rules(&verdict), ["policy.cedar:6 no-rm"]);
    assert!(allows(&both(&policy, &ask(Class::FileRead, path("src/a")))));
}

#[test]
fn a_permit_of_the_operator_gives_what_nothing_forbids() {
    let policy = load(&custom(
        "permit (principal is World, action, resource);\npermit (principal is Agent, action, resource);",
    ));
    let mut request = ask(Class::FileRead, path("a"));
    request.actor.kind = ActorKind::World;
    assert!(allows(&both(&policy, &request)));
    assert!(!allows(&both(&policy, &ask(Class::FileWrite, path(".ostk/x")))), "forbid wins");
}

#[test]
fn a_permit_can_ask_for_a_person() {
    let text = "@effect(\"ask\")\npermit (principal, action == Action::\"file_write\", resource)\nwhen { context.folded like \"*.tf\" };";
    let policy = load(&custom(text));
    let verdict = both(&policy, &ask(Class::FileWrite, path("a.tf")));
    assert_eq!(
        (verdict.effect, verdict.reason.as_str()),
        (Effect::Ask, "worker-b needs a person's consent to write a.tf")
    );
    assert!(allows(&both(&policy, &ask(Class::FileWrite, path("a.rs")))));
}

#[test]
fn a_rule_that_cannot_be_evaluated_denies() {
    let policy = load(&custom("forbid (principal, action, resource) when { context.path like \"x*\" };"));
    assert!(allows(&both(&policy, &ask(Class::FileRead, path("a")))));
    let verdict = both(&policy, &ask(Class::KernelRead, Resource::None));
    assert_eq!(verdict.effect, Effect::Deny);
    assert!(verdict.reason.contains("a rule could not be evaluated"), "{}", verdict.reason);
    assert_eq!(verdict.rules.first().map(|rule| rule.line), Some(1));
}

#[test]
fn a_malformed_rule_is_named_by_line_and_column() {
    for (text, place) in [
        (
            "permit (principal, action, resource);\nforbid (principal, action resource);\n",
            "policy.cedar:2:27: ",
        ),
        ("permit (principal == ?principal, action, resource);", "policy.cedar:1:1: "),
        ("\n@effect(\"ask\") forbid (principal, action, resource);", "policy.cedar:2:1: "),
        ("@effect(\"maybe\") permit (principal, action, resource);", "policy.cedar:1:1: "),
    ] {
        let errors = Policy::load(&custom(text)).expect_err("malformed").to_string();
        assert!(errors.starts_with(place), "{errors}");
    }
}

#[test]
fn rules_that_nobody_accepted_forbid_and_ask_and_permit_nothing() {
    let text = "permit (principal is World, action, resource);\n\
                @effect(\"ask\") permit (principal, action == Action::\"file_write\", resource);\n\
                forbid (principal, action == Action::\"shell_exec\", resource);";
    let mut documents = custom(text);
    documents.unaccepted.insert("policy.cedar".to_owned());
    let policy = load(&documents);
    let mut request = ask(Class::FileWrite, path("a"));
    assert_eq!(both(&policy, &request).effect, Effect::Ask);
    request.actor.kind = ActorKind::World;
    assert_eq!(both(&policy, &request).effect, Effect::Deny);
    assert_eq!(both(&policy, &ask(Class::ShellExec, command("ls"))).effect, Effect::Deny);
    assert!(allows(&both(&policy, &ask(Class::FileRead, path("a")))));
    assert_ne!(policy.fingerprint(), load(&custom(text)).fingerprint());
}
