//! `ostk init`: makes this git repository a project, in under a minute.
//!
//! `person` writes the HUMANFILE, `ask` asks, `clients` sets coding agents up, `ostk_daemon::init` writes the other files.
//! What is there already stays as it is, so the command may be repeated. What it writes itself it signs with the
//! operator's key; what it finds it does not: that is for whoever has read it.

mod ask;
mod clients;
mod person;

use std::{path::Path, process::ExitCode};

use clap::ValueEnum;
use ostk_daemon::hooks::Step;
use serde_json::{Value, json};

use self::ask::Asker;
use super::{Done, audit, health, sign};
use crate::{
    args::{ClientKind, Init},
    failure::Failure,
    output::{Output, Paint},
    person::not_contained,
};

pub(crate) fn init(args: &Init, output: &Output) -> Done {
    let root = ostk_daemon::repository(&std::env::current_dir()?).map_err(|error| {
        Failure::check(error)
            .hint("run `git init` first: ostk keeps its state at the root of a git repository")
    })?;
    if args.uninstall {
        return uninstall(&root, args, output);
    }
    let mut asker = Asker::new(args.yes, output.is_json());
    let chosen = person::choose(&root, args, &mut asker)?;
    let wanted = wanted_clients(args, chosen.is_some(), &mut asker)?;
    let model = chosen.as_ref().map(|chosen| chosen.model.as_str());
    let mut created = ostk_daemon::init(&root, model).map_err(Failure::check)?.created;
    if let Some(chosen) = &chosen {
        chosen.write(&root)?;
        created.push(person::HUMANFILE.to_owned());
    }
    if !args.no_git_hook {
        created.extend(audit::install_witness(&root)?);
    }
    let (signed, unsigned) = sign_new(&root, &created)?;
    let steps = clients::install(&root, &wanted)?;
    let trust = health::trust_of(&root.join(".ostk"));
    let value = json!({
        "root": root, "created": created, "clients": steps, "signed": signed, "not_signed_because": unsigned,
        "humanfile": chosen.as_ref().map(|chosen| json!({
            "identity": chosen.identity, "model": chosen.model, "secrets": chosen.secrets })),
        "defaults_because": chosen.as_ref().and(asker.silent()), "trust": trust,
    });
    output.show(&value, |output| human(output, &value, &steps));
    Ok(ExitCode::SUCCESS)
}

/// Takes coding agents' set-up out and touches nothing else.
fn uninstall(root: &Path, args: &Init, output: &Output) -> Done {
    let steps = clients::uninstall(root, &args.client)?;
    output.show(&json!({ "root": root, "created": [], "clients": steps }), |_| {
        steps.iter().map(clients::describe).collect::<Vec<_>>().join("\n")
    });
    Ok(ExitCode::SUCCESS)
}

/// The coding agents to connect: those of the flags or, in a new project, those that a person names.
fn wanted_clients(args: &Init, is_new: bool, asker: &mut Asker) -> Result<Vec<ClientKind>, Failure> {
    if !args.client.is_empty() || !is_new {
        return Ok(args.client.clone());
    }
    let known = ClientKind::value_variants();
    let word = |kind: &ClientKind| {
        kind.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    };
    let words: Vec<String> = known.iter().map(word).collect();
    let question = format!("Coding agents to connect ({})", words.join(", "));
    asker.answer(&question, None, "none", |typed| {
        let named = typed.split([' ', ',']).filter(|name| !name.is_empty() && *name != "none");
        named.map(|name| ClientKind::from_str(name, true)).collect::<Result<Vec<_>, _>>()
    })
}

/// Signs those of the new files that govern. The second half says why not, when not.
fn sign_new(root: &Path, created: &[String]) -> Result<(Vec<String>, Option<String>), Failure> {
    if let Err(refused) = not_contained("init") {
        return Ok((Vec::new(), Some(refused.message().to_owned())));
    }
    let new = created.iter().filter(|name| is_governing(name));
    let signed = new.map(|name| sign::with_key(&root.join(name), name).map(|_| name.clone()));
    Ok((signed.collect::<Result<_, _>>()?, None))
}

/// Whether a file that `init` writes is a governing document.
fn is_governing(name: &str) -> bool {
    name == person::HUMANFILE || name == ".ostk/ostk.toml" || name.starts_with(".ostk/pins/")
}

fn human(output: &Output, value: &Value, steps: &[Step]) -> String {
    let mark = output.paint(Paint::Green, "✓");
    let words = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let signed = words(&value["signed"]);
    let line = |path: &String| {
        let how = if signed.contains(path) { " (signed by you)" } else { "" };
        format!("{mark} {path}{how}")
    };
    let mut lines: Vec<String> = words(&value["created"]).iter().map(line).collect();
    if lines.is_empty() {
        lines.push("nothing to do: the project exists".to_owned());
    }
    lines.extend(steps.iter().map(clients::describe));
    if let Some(why) = text("/defaults_because") {
        lines.push(format!(
            "not everything was asked ({why}): the defaults hold; `ostk init --help` lists the flags"
        ));
    }
    lines.extend(text("/not_signed_because").map(|why| format!("not signed: {why}")));
    lines.push(format!("project   {}", text("/root").unwrap_or_default()));
    if let Some(identity) = text("/humanfile/identity") {
        let secrets = match words(&value["humanfile"]["secrets"]) {
            none if none.is_empty() => "no keys".to_owned(),
            some => some.join(", "),
        };
        lines.push(format!(
            "operator  {identity}; {}; {secrets}",
            text("/humanfile/model").unwrap_or_default()
        ));
    }
    lines.extend(tier(value));
    lines.push(format!("next      {}", output.paint(Paint::Bold, "ostk boot")));
    lines.join("\n")
}

/// The tier, and how to raise it.
fn tier(value: &Value) -> Vec<String> {
    let text = |name: &str| value["trust"][name].as_str();
    let tier = text("tier").map(|tier| format!("tier      {tier}: {}", text("reason").unwrap_or_default()));
    let is_said = text("reason").is_some_and(|reason| reason.contains("ostk sign"));
    let raise = text("raise").filter(|_| !is_said).map(|how| format!("          to raise it: {how}"));
    tier.into_iter().chain(raise).collect()
}
