//! What can be seen of the documents: every problem, every rule in force, the whole as Cedar.

use ostk_policy::{Documents, Effect, Policy, lint};

use crate::load;

fn documents() -> Documents {
    Documents {
        pins: [
            ("fixer".to_owned(), "read: .\nwrite: src\ndeny-path: infra/ **/*.pem\ndeny-verb: \"git push\"\n".to_owned()),
            ("other".to_owned(), "deny: network\n".to_owned()),
        ]
        .into(),
        custom: Some("@id(\"mine\") forbid (principal, action, resource) when { context.call == \"x\" };".to_owned()),
        packs: [(
            "team.yaml".to_owned(),
            "rules:\n  - name: look\n    condition: {field: args.to, operator: contains, value: \"a\\\"*\\n\"}\n    action: ask\n".to_owned(),
        )]
        .into(),
        humanfile: Some("IDENTITY ada\nMODEL m\nEMBED off\n".to_owned()),
        ..Documents::default()
    }
}

#[test]
fn the_rules_in_force_are_valid_cedar_with_the_line_each_comes_from() {
    let policy = load(&documents());
    let text = policy.cedar(None);
    // Ours reads Cedar by Cedar; what it takes as rules of the operator is a policy set, but for the annotation of packs.
    let taken = Documents {
        custom: Some(text.replace("@effect(\"ask-if-permitted\")", "@effect(\"ask\")")),
        ..Documents::default()
    };
    let again = Policy::load(&taken).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    assert_eq!(
        again.rules(None).len(),
        policy.rules(None).len() + load(&Documents::default()).rules(None).len()
    );
    for line in
        ["// pins/fixer/pin.caps:3 deny-path infra/", "// policy.cedar:1 mine", "// rules/team.yaml:2 look"]
    {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

#[test]
fn the_rules_of_one_pin_leave_the_others_out() {
    let policy = load(&documents());
    let pins = |pin| {
        let rules = policy.rules(pin);
        let pins = rules.into_iter().filter(|rule| rule.at.document.starts_with("pins/"));
        let mut names: Vec<String> = pins.map(|rule| rule.at.document).collect();
        names.dedup();
        names
    };
    assert_eq!(pins(None), ["pins/fixer/pin.caps", "pins/other/pin.caps"]);
    assert_eq!(pins(Some("other")), ["pins/other/pin.caps"]);
    let rules = policy.rules(None);
    let effect = |text: &str| {
        rules.iter().filter(|rule| rule.at.text == text).map(|rule| rule.effect).collect::<Vec<_>>()
    };
    assert_eq!(effect("agents-may-work"), [Effect::Allow]);
    assert_eq!(effect("mine"), [Effect::Deny]);
    assert_eq!(
        effect("look"),
        [Effect::Deny, Effect::Ask],
        "what cannot be judged is refused, what matches is asked"
    );
}

#[test]
fn a_mistake_in_one_document_hides_nothing_of_another() {
    let mut documents = documents();
    documents.pins.insert("bad".to_owned(), "raed: src\n".to_owned());
    documents.primefile = Some("x".to_owned());
    let found = lint(&documents);
    let errors: Vec<&str> = found.errors.iter().map(|error| error.document.as_str()).collect();
    assert_eq!(errors, [".primefile", "pins/bad/pin.caps"], "each once");
    let lints: Vec<&str> = found.lints.iter().map(|lint| lint.document.as_str()).collect();
    assert_eq!(lints, ["HUMANFILE", "pins/fixer/pin.caps"]);
}
