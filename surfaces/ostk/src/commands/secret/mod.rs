//! `ostk secret`: keep the operator's secrets in the platform's keychain, and see what agents' calls would find.
//!
//! Works without a daemon and without a record: the log holds no secret, and names are told where one is used. What
//! shows a value is for a person at a terminal; an agent's command has none.

mod prompt;

use std::{collections::BTreeSet, path::Path, process::ExitCode};

use ostk_keys::secrets::{Found, KNOWN_NAMES, Place, Secret, SecretError, SecretStore, check_name};
use serde_json::{Value, json};

use super::Done;
use crate::{
    args::SecretAction,
    connect,
    failure::Failure,
    output::{Output, Paint},
    person,
};

pub(crate) fn secret(action: &SecretAction, output: &Output) -> Done {
    match action {
        SecretAction::Set { name, value } => set(name, value.as_deref(), output),
        SecretAction::Get { name } => get(name, output),
        SecretAction::List => list(output),
        SecretAction::Test { name } => test(name, output),
        SecretAction::Env { name } => env(name, output),
        SecretAction::Rm { name } => rm(name, output),
    }
}

/// Secrets that HUMANFILE lists, or that have a vendor's usual name, and are not masked; each with the reason. The own command is
/// not asked.
pub(crate) fn weak(state_dir: &Path) -> Vec<(String, String)> {
    let known = super::health::keys_of_log(state_dir);
    let Ok(store) = ostk_daemon::secret_store(state_dir, &known) else { return Vec::new() };
    let listed = ostk_daemon::listed_secrets(&ostk_daemon::read_documents(state_dir)).unwrap_or_default();
    let names: BTreeSet<&str> = listed.iter().map(String::as_str).chain(KNOWN_NAMES).collect();
    let why = |name: &str| store.to_mask(name).iter().find_map(weakness);
    names.into_iter().filter_map(|name| Some((name.to_owned(), why(name)?))).collect()
}

/// The places, and the names that HUMANFILE lists.
fn places() -> Result<(SecretStore, BTreeSet<String>), Failure> {
    let state_dir = connect::project()?.state_dir();
    let known = super::health::keys_of_log(&state_dir);
    let store = ostk_daemon::secret_store(&state_dir, &known).map_err(Failure::check)?;
    let documents = ostk_daemon::read_documents(&state_dir);
    let listed = ostk_daemon::listed_secrets(&documents).map_err(|error| {
        Failure::check(error).hint("mend the HUMANFILE: no secret may be used until then")
    })?;
    Ok((store, listed))
}

fn resolve(name: &str) -> Result<Found, Failure> {
    let (store, listed) = places()?;
    store.resolve(name, &listed).map_err(failure)
}

/// A library's error holds its remedy behind `Hint: `.
fn failure(error: SecretError) -> Failure {
    let text = error.to_string();
    let failure = |what: &str| match error {
        SecretError::NotListed(_) => Failure::denied(what),
        SecretError::Name(_) => Failure::usage(what),
        _ => Failure::check(what),
    };
    match text.split_once("\nHint: ") {
        Some((what, hint)) => failure(what).hint(hint),
        None => failure(&text),
    }
}

fn set(name: &str, value: Option<&str>, output: &Output) -> Done {
    check_name(name).map_err(failure)?;
    let text = match value {
        Some(value) => value.to_owned(),
        None => prompt::ask(&format!("value of {name} (not shown): "))?,
    };
    let secret = Secret::new(text).map_err(|error| Failure::usage(format!("not a secret: {error}")))?;
    let (store, listed) = places()?;
    store.keychain().set(name, &secret).map_err(|error| {
        Failure::check(error)
            .hint(format!("use a command ([secrets] in .ostk/ostk.toml) or the variable {name}"))
    })?;
    let (listed, weak) = (listed.contains(name), weakness(&secret));
    output.show(&json!({ "name": name, "kept": true, "listed": listed, "unmasked": weak }), |output| {
        let kept = format!("{} {name} is kept until the machine restarts", output.paint(Paint::Green, "✓"));
        let unlisted = format!("nothing uses it before SECRET in .ostk/HUMANFILE lists {name}");
        let lines = [Some(kept), (!listed).then_some(unlisted), weak.as_deref().map(unmasked)];
        lines.into_iter().flatten().collect::<Vec<_>>().join("\n")
    });
    Ok(ExitCode::SUCCESS)
}

/// Why a secret is not masked, if it is not.
fn weakness(secret: &Secret) -> Option<String> {
    secret.weakness().map(|why| why.to_string())
}

fn unmasked(why: &str) -> String {
    format!("it is not masked in what agents read, for {why}: take a longer one")
}

fn get(name: &str, output: &Output) -> Done {
    person::at_a_terminal("secret get")?;
    let found = resolve(name)?;
    output
        .show(&json!({ "name": name, "value": found.secret.expose() }), |_| found.secret.expose().to_owned());
    Ok(ExitCode::SUCCESS)
}

fn env(name: &str, output: &Output) -> Done {
    person::at_a_terminal("secret env")?;
    let found = resolve(name)?;
    let line = format!("export {name}='{}'", found.secret.expose().replace('\'', r"'\''"));
    output.show(&json!({ "name": name, "export": line }), |_| line.clone());
    Ok(ExitCode::SUCCESS)
}

fn test(name: &str, output: &Output) -> Done {
    let Found { secret, place, passed } = resolve(name)?;
    let (prefix, length) = (secret.prefix(), secret.characters());
    let weak = weakness(&secret);
    let value = json!({ "name": name, "prefix": prefix, "characters": length, "place": place.to_string(),
        "unmasked": weak, "passed": passed });
    output.show(&value, |output| {
        let mark = output.paint(Paint::Green, "✓");
        let mut lines = vec![format!("{mark} {name}  {prefix}…  {length} characters, from the {place}")];
        lines.extend(passed.iter().map(|why| format!("  before that: {why}")));
        lines.extend(weak.as_deref().map(|why| format!("  {}", unmasked(why))));
        lines.join("\n")
    });
    Ok(ExitCode::SUCCESS)
}

fn list(output: &Output) -> Done {
    let (store, listed) = places()?;
    let names: BTreeSet<&str> = listed.iter().map(String::as_str).chain(KNOWN_NAMES).collect();
    let rows: Vec<Value> = names.into_iter().map(|name| row(&store, name, listed.contains(name))).collect();
    output.show(&json!({ "secrets": rows }), |output| {
        let line = |row: &Value| {
            let usable = row["usable"] == true;
            let mark =
                if usable { output.paint(Paint::Green, "✓") } else { output.paint(Paint::Dim, "✗") };
            let text = |name: &str| row[name].as_str().unwrap_or("none").to_owned();
            let listed = if row["listed"] == true { "listed" } else { "not listed" };
            vec![
                mark,
                text("name"),
                listed.to_owned(),
                row["problem"].as_str().map_or(text("place"), str::to_owned),
            ]
        };
        let lines: Vec<_> = rows.iter().map(line).collect();
        output.table(&[" ", "SECRET", "HUMANFILE", "VALUE"], &lines)
    });
    Ok(ExitCode::SUCCESS)
}

/// One secret in the list. The own command is asked for what is listed only: it may ask a person in turn.
fn row(store: &SecretStore, name: &str, listed: bool) -> Value {
    let (place, problem) = match if listed { store.place(name) } else { store.place_without_command(name) } {
        Ok(place) => (place.as_ref().map(Place::to_string), None),
        Err(error) => (None, error.to_string().lines().next().map(str::to_owned)),
    };
    json!({ "name": name, "listed": listed, "usable": listed && place.is_some(), "place": place, "problem": problem })
}

fn rm(name: &str, output: &Output) -> Done {
    check_name(name).map_err(failure)?;
    let removed = places()?.0.keychain().remove(name).map_err(Failure::check)?;
    output.show(&json!({ "name": name, "removed": removed }), |_| {
        let what = if removed { "is forgotten" } else { "was not in the keychain" };
        format!("{name} {what}")
    });
    Ok(ExitCode::SUCCESS)
}
