//! The decision: built-in rules, then the pin, then what the Agentfile grants. A refusal anywhere refuses.

use crate::{
    load::Policy,
    path::covers,
    pin::{Pin, Token},
    request::{ActorKind, Class, Request, Resource, ToolGrant},
    verdict::{Effect, RuleRef, Verdict},
};

/// What no agent's file call or command may write, wherever its pin reaches.
pub(crate) const PROTECTED: &[&str] = &[
    ".ostk",
    ".git/hooks",
    ".git/config",
    "HUMANFILE",
    "ENTITYFILE",
    ".primefile",
    "Agentfile",
    "ostk.toml",
];

/// The documents that govern, for `deny: modify-governance`.
const GOVERNANCE: &[&str] = &[
    "HUMANFILE",
    "ENTITYFILE",
    ".primefile",
    "GOVERNANCE.md",
    "GENESIS.md",
    "AUTHORIZATION.md",
    "Agentfile",
    "agents",
    "ostk.toml",
];

/// Files that hold secrets, for `deny: read-secrets`.
const SECRETS: &[&str] =
    &["**/.env*", "**/*.pem", "**/*.key", "**/id_rsa*", "**/id_ed25519*", "**/.netrc", "**/.npmrc"];

/// Nobody reads these through the kernel.
const NEVER_READ: &[&str] = &[".ostk/keys", ".ostk/run"];

impl Policy {
    /// The verdict on a request. Pure: the same rules and request give the same verdict.
    pub fn decide(&self, request: &Request) -> Verdict {
        match self.refusal(request) {
            None => Verdict {
                effect: Effect::Allow,
                rules: Vec::new(),
                reason: format!("{} may {}", request.actor.lineage, deed(request)),
                remedy: None,
            },
            Some(rule) => Verdict {
                effect: Effect::Deny,
                reason: format!("{} may not {}", request.actor.lineage, deed(request)),
                remedy: Some(remedy(request)),
                rules: vec![rule],
            },
        }
    }

    fn refusal(&self, request: &Request) -> Option<RuleRef> {
        if request.actor.kind == ActorKind::Kernel {
            return None;
        }
        if let Some(rule) = built_in(request) {
            return Some(rule);
        }
        if request.actor.kind == ActorKind::Human {
            return None;
        }
        if let Some(name) = &request.actor.pin {
            match self.pins.get(name) {
                // Fail closed: a pin that is named and not there allows nothing that has an effect.
                None if request.class != Class::KernelRead => {
                    return Some(rule("pins", &format!("{name} does not exist")));
                }
                None => {}
                Some(pin) => {
                    if let Some(rule) = pin.refusal(request) {
                        return Some(rule);
                    }
                }
            }
        }
        let tools = request.actor.tools.as_deref()?;
        ungranted(tools, request)
    }
}

fn rule(document: &str, text: &str) -> RuleRef {
    RuleRef { document: document.to_owned(), line: 0, text: text.to_owned() }
}

const fn writes(class: Class) -> bool {
    matches!(class, Class::FileEdit | Class::FileWrite)
}

const fn runs(class: Class) -> bool {
    matches!(class, Class::ShellRead | Class::ShellWrite | Class::ShellExec | Class::ShellSecret)
}

fn built_in(request: &Request) -> Option<RuleRef> {
    let Resource::Path(path) = &request.resource else { return None };
    let hit = |list: &[&'static str]| list.iter().find(|pattern| covers(pattern, path)).copied();
    if let Some(pattern) = hit(NEVER_READ) {
        return Some(rule("built-in", &format!("never-read {pattern}")));
    }
    if !writes(request.class) {
        return None;
    }
    let everything_in_git = request.actor.kind != ActorKind::Human;
    if everything_in_git && covers(".git", path) {
        return Some(rule("built-in", "never-write .git"));
    }
    hit(PROTECTED).map(|pattern| rule("built-in", &format!("never-write {pattern}")))
}

impl Pin {
    fn refusal(&self, request: &Request) -> Option<RuleRef> {
        match &request.resource {
            Resource::Path(path) => self.refuses_path(request.class, path),
            Resource::Command(command) if runs(request.class) => self.refuses_command(command),
            _ if request.class == Class::KernelSpawn => self.token(Token::SpawnAgent),
            _ => None,
        }
    }

    fn refuses_path(&self, class: Class, path: &str) -> Option<RuleRef> {
        if let Some((_, rule)) = self.deny_path.iter().find(|(pattern, _)| covers(pattern, path)) {
            return Some(rule.clone());
        }
        let within = |list: &[&str]| list.iter().any(|pattern| covers(pattern, path));
        if within(SECRETS)
            && let Some(rule) = self.token(Token::ReadSecrets)
        {
            return Some(rule);
        }
        let outside = |key: &str, allowed: &Option<Vec<(String, RuleRef)>>| {
            let allowed = allowed.as_ref()?;
            let listed = allowed.iter().any(|(pattern, _)| covers(pattern, path));
            let (_, first) = allowed.first()?;
            (!listed).then(|| RuleRef { text: format!("{key}: does not list it"), ..first.clone() })
        };
        if !writes(class) {
            return outside("read", &self.read);
        }
        if let Some(rule) = self.token(Token::WriteSrc) {
            return Some(rule);
        }
        if within(GOVERNANCE)
            && let Some(rule) = self.token(Token::ModifyGovernance)
        {
            return Some(rule);
        }
        if within(&[".ostk"])
            && let Some(rule) = self.token(Token::WriteKernel)
        {
            return Some(rule);
        }
        outside("write", &self.write)
    }

    fn refuses_command(&self, command: &str) -> Option<RuleRef> {
        let words: Vec<&str> = command.split_whitespace().collect();
        let starts = |verb: &str| {
            let verb: Vec<&str> = verb.split_whitespace().collect();
            // A command line may hold several commands: the verb is refused wherever it begins one.
            words.windows(verb.len().max(1)).any(|window| window.starts_with(&verb)) || verb.is_empty()
        };
        if let Some((_, rule)) = self.deny_verb.iter().find(|(verb, _)| starts(verb)) {
            return Some(rule.clone());
        }
        // A pin that says what may be read or written and not what may be executed lets nothing be executed.
        let silent = self.execute.is_none() && (self.read.is_some() || self.write.is_some());
        silent.then(|| RuleRef {
            document: self.document.clone(),
            line: 0,
            text: "has no execute: shell".to_owned(),
        })
    }

    fn token(&self, wanted: Token) -> Option<RuleRef> {
        self.deny.iter().find(|(token, _)| *token == wanted).map(|(_, rule)| rule.clone())
    }

    pub(crate) fn forbids_sources(&self) -> bool {
        self.token(Token::WriteSrc).is_some()
    }

    /// `execute: shell(readonly)` without `execute: shell`.
    pub(crate) fn shell_is_read_only(&self) -> bool {
        let Some(execute) = &self.execute else { return false };
        !execute.iter().any(|(value, _)| value == "shell")
    }
}

/// What the Agentfile does not grant, its agent may not use.
fn ungranted(tools: &[ToolGrant], request: &Request) -> Option<RuleRef> {
    let wanted: &[&str] = match request.class {
        Class::FileRead => &["file:read", "file:edit", "file:write"],
        Class::FileEdit => &["file:edit", "file:write"],
        Class::FileWrite => &["file:write"],
        class if runs(class) => &["shell"],
        _ => return None,
    };
    let reaches = |grant: &&ToolGrant| match (&grant.pattern, &request.resource) {
        (Some(pattern), Resource::Path(path)) => covers(pattern, path),
        _ => true,
    };
    // Searching and listing have no path of their own: any grant to read will do.
    let granted =
        tools.iter().filter(|grant| wanted.contains(&grant.class.as_str())).any(|grant| reaches(&grant));
    (!granted).then(|| {
        rule("Agentfile", &format!("grants no TOOL {}", wanted.first().copied().unwrap_or_default()))
    })
}

/// What the caller wants to do, in words.
fn deed(request: &Request) -> String {
    let name = request.resource.name();
    let short: String = name.chars().take(120).collect();
    match request.class {
        Class::FileRead => format!("read {short}"),
        Class::FileEdit | Class::FileWrite => format!("write {short}"),
        class if runs(class) => format!("run `{short}`"),
        Class::ModelCall => format!("call the model {short}"),
        Class::KernelSpawn => format!("start or signal {short}"),
        _ => format!("call {}", request.call),
    }
    .trim_end()
    .to_owned()
}

fn remedy(request: &Request) -> String {
    let name = request.resource.name();
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
    let word = if plain {
        name.to_owned()
    } else {
        format!("'{}'", name.chars().take(120).collect::<String>().replace('\'', "'\\''"))
    };
    format!("ostk why {} {} {word}", request.actor.lineage, request.call).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Actor, Documents};

    fn ask(pin: &str, class: Class, resource: Resource) -> Verdict {
        let documents = Documents { pins: [("p".to_owned(), pin.to_owned())].into(), custom: None };
        let policy = Policy::load(&documents).unwrap();
        let actor = Actor {
            kind: ActorKind::Agent,
            lineage: "worker-b".to_owned(),
            pin: Some("p".to_owned()),
            tools: None,
        };
        policy.decide(&Request {
            actor,
            call: "file.write".to_owned(),
            class,
            resource,
            labels: Vec::new(),
            stack: None,
        })
    }

    fn path(path: &str) -> Resource {
        Resource::Path(path.to_owned())
    }

    #[test]
    fn a_denial_names_the_rule_its_place_and_a_remedy() {
        let verdict = ask("write: src infra\ndeny-path: infra/\n", Class::FileWrite, path("infra/deploy.tf"));
        assert_eq!(verdict.reason, "worker-b may not write infra/deploy.tf");
        assert_eq!(verdict.rules[0].to_string(), "pins/p/pin.caps:2 deny-path infra/");
        assert_eq!(verdict.remedy.as_deref(), Some("ostk why worker-b file.write infra/deploy.tf"));
    }

    #[test]
    fn what_governs_is_never_written_by_an_agent_under_any_pin() {
        for target in [
            ".ostk/journal.jsonl",
            ".git/hooks/pre-commit",
            ".git/config",
            "HUMANFILE",
            "ostk.toml",
            ".OSTK/x",
        ] {
            assert_eq!(
                ask("write: .\nallow: .\n", Class::FileWrite, path(target)).effect,
                Effect::Deny,
                "{target}"
            );
        }
        assert_eq!(ask("write: .\n", Class::FileWrite, path("src/main.rs")).effect, Effect::Allow);
    }

    #[test]
    fn a_pin_limits_commands_and_reads() {
        let pin = "read: src\nexecute: shell\ndeny-verb: \"git push\"\n";
        let command = |text: &str| Resource::Command(text.to_owned());
        assert_eq!(ask(pin, Class::ShellExec, command("make check")).effect, Effect::Allow);
        assert_eq!(ask(pin, Class::ShellExec, command("true && git push origin")).effect, Effect::Deny);
        assert_eq!(ask(pin, Class::FileRead, path("docs/a")).effect, Effect::Deny);
        assert_eq!(ask("read: .\n", Class::ShellExec, command("ls")).effect, Effect::Deny, "no execute line");
    }

    #[test]
    fn a_pin_that_does_not_exist_allows_nothing() {
        let policy = Policy::load(&Documents::default()).unwrap();
        let actor = Actor {
            kind: ActorKind::Agent,
            lineage: "w".to_owned(),
            pin: Some("gone".to_owned()),
            tools: None,
        };
        let request = Request {
            actor,
            call: "file.read".to_owned(),
            class: Class::FileRead,
            resource: path("a"),
            labels: Vec::new(),
            stack: None,
        };
        assert_eq!(policy.decide(&request).effect, Effect::Deny);
    }

    #[test]
    fn malformed_documents_are_named_by_line() {
        let documents = Documents {
            pins: [("p".to_owned(), "write: ../x\nfrob: y\ndeny: everything\nread\n".to_owned())].into(),
            custom: None,
        };
        let errors: Vec<String> =
            Policy::load(&documents).unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(errors.len(), 4, "{errors:#?}");
        assert!(errors[0].starts_with("pins/p/pin.caps:1: \"../x\" contains `..`"), "{errors:#?}");
    }
}
