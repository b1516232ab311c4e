//! What the built-in policy gives and takes.

use ostk_policy::{ActorKind, Class, DEFAULT_POLICY, Documents, Resource};

use crate::{allows, ask, both, by_default, command, load, path, rules};

#[test]
fn an_agent_reads_writes_and_runs_in_the_workspace() {
    assert!(allows(&by_default(Class::FileRead, path("src/main.rs"))));
    assert!(allows(&by_default(Class::FileRead, Resource::None)), "a search");
    assert!(allows(&by_default(Class::FileWrite, path("src/main.rs"))));
    assert!(allows(&by_default(Class::FileEdit, path(".gitignore"))));
    assert!(allows(&by_default(Class::ShellExec, command("cargo test"))));
    assert!(allows(&by_default(Class::KernelSpawn, Resource::Agent("worker-c".to_owned()))));
    assert!(allows(&by_default(Class::ModelCall, Resource::Model("opus".to_owned()))));
    assert!(allows(&by_default(Class::KernelRead, Resource::None)));
    assert!(allows(&by_default(Class::KernelWrite, Resource::None)));
}

#[test]
fn what_governs_is_not_written_by_an_agent_in_any_case_of_letters() {
    let protected = [
        ".ostk/journal.jsonl",
        ".OSTK/pins/a/pin.caps",
        ".ostk",
        ".git/config",
        ".Git/hooks/pre-commit",
        "vendor/lib/.git/hooks/post-checkout",
        "HUMANFILE",
        "humanfile",
        "ENTITYFILE",
        ".primefile",
        "Agentfile",
        "Agentfile.self.sig",
        "ostk.toml",
        "pins/a",
        "GOVERNANCE.md",
    ];
    for name in protected {
        for class in [Class::FileEdit, Class::FileWrite] {
            assert!(!allows(&by_default(class, path(name))), "{name}");
        }
        assert!(allows(&by_default(Class::FileRead, path(name))), "{name} may be read");
    }
    for name in [".ostkx/a", "src/HUMANFILE", ".github/workflows/ci.yml", "ostk.toml.md"] {
        assert!(allows(&by_default(Class::FileWrite, path(name))), "{name}");
    }
}

#[test]
fn keys_are_read_by_no_agent_and_secrets_need_a_rule_of_the_operator() {
    assert!(!allows(&by_default(Class::FileRead, path(".ostk/keys/signing.key"))));
    assert!(!allows(&by_default(Class::KernelSecret, Resource::Tool("token".to_owned()))));
    let verdict = by_default(Class::ShellSecret, command("deploy"));
    assert_eq!(verdict.reason, "worker-b may not run, with a secret, `deploy`: no rule permits it");
}

#[test]
fn an_agent_does_not_reload_the_policy_or_issue_a_pin() {
    let policy = load(&Documents::default());
    for call in ["policy.reload", "pin.issue", "trust.add"] {
        let mut request = ask(Class::KernelWrite, Resource::None);
        request.call = call.to_owned();
        assert_eq!(rules(&both(&policy, &request)), [line_of("agents-do-not-govern")], "{call}");
    }
}

#[test]
fn people_may_all_but_reach_past_the_kernel_into_its_state() {
    let policy = load(&Documents::default());
    let verdict = |class, resource| {
        let mut request = ask(class, resource);
        request.actor.kind = ActorKind::Human;
        allows(&both(&policy, &request))
    };
    assert!(verdict(Class::FileWrite, path("HUMANFILE")));
    assert!(verdict(Class::FileWrite, path(".git/config")));
    assert!(verdict(Class::KernelSecret, Resource::None));
    assert!(!verdict(Class::FileWrite, path(".ostk/journal.jsonl")));
    assert!(!verdict(Class::FileEdit, path(".git/hooks/pre-commit")));
    assert!(!verdict(Class::FileRead, path("../other")), "a path that leads upwards");
}

#[test]
fn a_world_holds_no_right_and_the_kernel_every_one() {
    let policy = load(&Documents::default());
    for class in Class::ALL {
        let mut request = ask(class, path("a"));
        request.actor.kind = ActorKind::World;
        assert!(!allows(&both(&policy, &request)), "{class:?}");
        request.actor.kind = ActorKind::Kernel;
        assert!(allows(&both(&policy, &request)), "{class:?}");
    }
}

#[test]
fn a_path_that_is_not_normalised_is_refused_whoever_asks() {
    for odd in ["/etc/passwd", "a/../../b", "a//b", "./a", "a/", "a/.", "a\0b"] {
        let verdict = by_default(Class::FileRead, path(odd));
        assert!(!allows(&verdict), "{odd:?}");
        assert!(
            verdict.reason.ends_with("a path is relative to the workspace and has no `..`"),
            "{}",
            verdict.reason
        );
    }
    assert!(allows(&by_default(Class::FileRead, path(""))), "the root");
    assert!(!allows(&by_default(Class::FileWrite, Resource::None)), "a write of no file");
}

#[test]
fn a_built_in_rule_is_named_with_its_line() {
    let verdict = by_default(Class::FileWrite, path(".ostk/x"));
    assert_eq!(rules(&verdict), [line_of("agents-do-not-write-kernel-state")]);
}

fn line_of(id: &str) -> String {
    let at = DEFAULT_POLICY.lines().position(|line| line == format!("@id(\"{id}\")")).expect("such a rule");
    format!("default.cedar:{} {id}", at + 1)
}
