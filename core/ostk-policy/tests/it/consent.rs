//! What an agent may do without asking, in each mode.

use ostk_policy::{
    Actor, ActorKind, Class, DestructiveOps, Documents, Effect, Mode, Policy, Request, Resource,
};

use crate::tool;

fn effect(mode: Mode, tools: &[&str], class: Class, call: &str) -> Effect {
    let tools = (!tools.is_empty()).then(|| tools.iter().map(|class| tool(class, None)).collect());
    let actor = Actor { mode: Some(mode), tools, ..Actor::new(ActorKind::Agent, "w") };
    let resource = match class {
        Class::FileRead | Class::FileEdit | Class::FileWrite => Resource::Path("src/a.rs".to_owned()),
        Class::ShellRead | Class::ShellExec => Resource::Command("make".to_owned()),
        _ => Resource::None,
    };
    policy().decide(&Request::new(actor, call, class, resource)).effect
}

fn policy() -> Policy {
    Policy::load(&Documents::default()).unwrap()
}

#[test]
fn each_mode_lets_pass_what_its_table_says_and_asks_for_the_rest() {
    use Effect::{Allow, Ask, Deny};
    let modes = [Mode::Plan, Mode::Governed, Mode::Auto, Mode::Autonomous];
    for (class, call, expected) in [
        (Class::KernelRead, "ps", [Allow; 4]),
        (Class::ModelCall, "model.call", [Allow; 4]),
        (Class::KernelWrite, "note", [Allow; 4]),
        (Class::KernelWrite, "work.next", [Allow; 4]),
        (Class::FileRead, "file.read", [Ask, Ask, Allow, Allow]),
        (Class::FileEdit, "file.edit", [Deny, Ask, Allow, Allow]),
        (Class::FileWrite, "file.write", [Deny, Ask, Allow, Allow]),
        (Class::ShellRead, "shell.run", [Ask, Ask, Allow, Allow]),
        (Class::ShellExec, "shell.run", [Deny, Ask, Ask, Allow]),
        (Class::KernelSpawn, "agent.spawn", [Deny, Ask, Ask, Allow]),
    ] {
        assert_eq!(modes.map(|mode| effect(mode, &[], class, call)), expected, "{class:?}");
    }
}

#[test]
fn a_tool_of_the_agentfile_stands_for_consent_but_not_to_run_any_command() {
    let governed = |tool, class, call| effect(Mode::Governed, &[tool], class, call);
    assert_eq!(governed("file:edit", Class::FileEdit, "file.edit"), Effect::Allow);
    assert_eq!(governed("shell", Class::ShellExec, "shell.run"), Effect::Ask);
    assert_eq!(effect(Mode::Plan, &["file:write"], Class::FileWrite, "file.write"), Effect::Deny);
    assert_eq!(effect(Mode::Plan, &["file:read"], Class::FileRead, "file.read"), Effect::Allow);
}

#[test]
fn a_consent_answers_a_question_and_lifts_no_prohibition() {
    let actor = Actor { mode: Some(Mode::Governed), ..Actor::new(ActorKind::Agent, "w") };
    let write = |path: &str, approved| {
        let resource = Resource::Path(path.to_owned());
        let request =
            Request { approved, ..Request::new(actor.clone(), "file.write", Class::FileWrite, resource) };
        policy().decide(&request).effect
    };
    assert_eq!((write("src/a.rs", None), write("src/a.rs", Some(7))), (Effect::Ask, Effect::Allow));
    assert_eq!(write(".ostk/HUMANFILE", Some(7)), Effect::Deny);
}

#[test]
fn people_are_never_asked() {
    let actor = Actor { mode: Some(Mode::Plan), ..Actor::new(ActorKind::Human, "ada") };
    let request =
        Request::new(actor, "shell.run", Class::ShellExec, Resource::Command("rm -rf /".to_owned()));
    assert_eq!(policy().decide(&request).effect, Effect::Allow);
}

#[test]
fn a_question_says_who_asks_for_what_and_why() {
    let actor = Actor { mode: Some(Mode::Governed), ..Actor::new(ActorKind::Agent, "w") };
    let request = Request::new(actor, "shell.run", Class::ShellExec, Resource::Command("make".to_owned()));
    let verdict = policy().decide(&request);
    assert_eq!(verdict.reason, "w needs a person's consent to run `make`: in governed mode a person decides");
    assert_eq!(
        verdict.rules.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["approvals mode governed"]
    );
}

#[test]
fn a_destructive_command_is_asked_for_in_every_mode_unless_the_agentfile_says_otherwise() {
    let effect = |command: &str, destructive_ops| {
        let actor = Actor { destructive_ops, ..Actor::new(ActorKind::Agent, "w") };
        let command = Resource::Command(command.to_owned());
        policy().decide(&Request::new(actor, "shell.run", Class::ShellExec, command)).effect
    };
    for command in ["rm -rf /", "true && git push --force", "sh -c 'terraform destroy'", "find . -delete"] {
        assert_eq!(effect(command, None), Effect::Ask, "{command}");
        assert_eq!(effect(command, Some(DestructiveOps::Deny)), Effect::Deny, "{command}");
    }
    assert_eq!(effect("cargo test", None), Effect::Allow);
    assert_eq!(
        effect("git push --force", Some(DestructiveOps::Allow)),
        Effect::Ask,
        "the documents say confirm"
    );
}
