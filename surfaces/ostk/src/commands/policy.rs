//! `ostk policy show`: the rules that the documents on disk come to, as a list or as one Cedar policy set. Works without a
//! daemon; `ostk why` explains a single verdict.

use std::process::ExitCode;

use libostk::Project;
use ostk_policy::{Effect, Humanfile, ListedRule, Policy};
use serde_json::{Value, json};

use super::Done;
use crate::{
    args::{PolicyAction, PolicyForm},
    connect,
    failure::Failure,
    output::Output,
};

pub(crate) fn policy(action: &PolicyAction, output: &Output) -> Done {
    match action {
        PolicyAction::Show { form, pin } => show(*form, pin.as_deref(), output),
    }
}

fn show(form: Option<PolicyForm>, pin: Option<&str>, output: &Output) -> Done {
    let project = connect::project()?;
    let policy = Policy::load(&ostk_daemon::read_documents(&project.state_dir()))
        .map_err(|errors| Failure::check(errors).hint("ostk lint shows each with its line"))?;
    if let Some(name) = pin.filter(|name| policy.pin(name).is_none()) {
        return Err(Failure::check(format!("there is no pin called {name:?}")).hint("ostk pin list"));
    }
    if form == Some(PolicyForm::Cedar) {
        let text = policy.cedar(pin);
        output.show(&json!({ "cedar": text }), |_| text.clone());
        return Ok(ExitCode::SUCCESS);
    }
    let rules = policy.rules(pin);
    let loaded = loaded(&project, &policy);
    let rows: Vec<Value> = rules.iter().map(row).collect();
    let said = said(policy.humanfile());
    let value =
        json!({ "fingerprint": policy.fingerprint(), "loaded": loaded, "rules": rows, "humanfile": said });
    output.show(&value, |output| {
        let mut lines = vec![table(&rules, output), String::new()];
        lines.extend(
            said.as_object().into_iter().flatten().map(|(name, value)| format!("{name:<9} {}", words(value))),
        );
        let state = match loaded {
            None => "no daemon runs; the next one loads these documents",
            Some(true) => "the daemon has loaded these documents",
            Some(false) => "the daemon goes by older documents: ostk call policy.reload",
        };
        lines.push(format!("policy    {} ({state})", policy.fingerprint()));
        lines.join("\n")
    });
    Ok(ExitCode::SUCCESS)
}

/// Whether a running daemon goes by these documents; `None` when none runs.
fn loaded(project: &Project, policy: &Policy) -> Option<bool> {
    let mut client = connect::running(project)?;
    client.attach(&libostk::Identity::Operator(connect::user()), "ostk", None).ok()?;
    let status = client.call("status", &json!({}), &libostk::CallOptions::default()).ok()?;
    Some(status["policy"] == policy.fingerprint().to_string())
}

const fn effect(rule: &ListedRule) -> &'static str {
    match rule.effect {
        Effect::Allow => "permit",
        Effect::Deny => "forbid",
        Effect::Ask => "ask",
    }
}

fn row(rule: &ListedRule) -> Value {
    json!({ "document": rule.at.document, "line": rule.at.line, "text": rule.at.text, "effect": effect(rule),
        "cedar": rule.source })
}

fn table(rules: &[ListedRule], output: &Output) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for rule in rules {
        let row = vec![
            effect(rule).to_owned(),
            format!("{}:{}", rule.at.document, rule.at.line),
            rule.at.text.clone(),
        ];
        // A line that stands for several policies is one rule to a reader.
        if rows.last() != Some(&row) {
            rows.push(row);
        }
    }
    output.table(&["EFFECT", "WHERE", "RULE"], &rows)
}

/// What HUMANFILE says to the gate and the keeper of secrets.
fn said(file: &Humanfile) -> Value {
    let hosts: Vec<String> = file.connect().map(|host| host.to_string()).collect();
    json!({ "mode": file.mode().map(ostk_policy::Mode::as_str), "hosts": hosts,
        "secrets": file.secrets().collect::<Vec<_>>(), "model": file.model() })
}

fn words(value: &Value) -> String {
    match value {
        Value::Null => "not said".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) if list.is_empty() => "none".to_owned(),
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}
