//! Where this project's secrets come from and which may be used: the places of `ostk-keys`, set up by `ostk.toml` and
//! HUMANFILE. The daemon resolves a secret at the call that needs it; `ostk secret` looks with the same eyes.

use std::{collections::BTreeSet, path::Path};

use ostk_kernel::TrustedKeys;
use ostk_keys::secrets::{OwnCommand, SecretStore};
use ostk_policy::{Documents, Humanfile};

use crate::{settings, signed};

/// The places of secrets in the project whose state is in `state_dir`.
///
/// # Errors
/// When `ostk.toml` cannot be read, or its `[secrets]` is no command.
///
/// The command is asked only if `ostk.toml` is accepted on this machine: a repository that was cloned must not run a
/// program of its choice.
pub fn secret_store(state_dir: &Path, known: &TrustedKeys) -> Result<SecretStore, String> {
    let command = settings::read(state_dir, own_command)?;
    if command.is_some() && !signed::accepts(state_dir, signed::SETTINGS, known)? {
        return Ok(SecretStore::of_machine(None).noting(
            "the command of .ostk/ostk.toml is not asked, for you have not accepted that file (read it, then ostk sign \
             .ostk/ostk.toml)",
        ));
    }
    Ok(SecretStore::of_machine(command))
}

/// `[secrets] command`: a line, divided at white space, or a list of words.
fn own_command(settings: &str) -> Result<Option<OwnCommand>, String> {
    let settings: toml::Table = settings.parse().map_err(|error| format!("{error}"))?;
    let Some(secrets) = settings.get("secrets") else { return Ok(None) };
    let given = secrets.as_table().ok_or("secrets must be a section")?;
    if let Some(unknown) = given.keys().find(|name| *name != "command") {
        return Err(format!("secrets.{unknown} is no setting; there is: command"));
    }
    let command = match given.get("command") {
        None => return Ok(None),
        Some(toml::Value::String(line)) => OwnCommand::from_line(line),
        Some(toml::Value::Array(words)) => {
            let words = words.iter().map(|word| word.as_str().map(str::to_owned));
            words.collect::<Option<Vec<_>>>().and_then(OwnCommand::from_words)
        }
        Some(_) => None,
    };
    // A path that is not absolute would lead into whatever directory the daemon was started in.
    let found =
        command.filter(|command| !command.program().contains('/') || command.program().starts_with('/'));
    found.map(Some).ok_or_else(|| {
        "secrets.command must be a command such as \"pass show\", or a list of its words; its program a name or an \
         absolute path"
            .to_owned()
    })
}

/// Names that HUMANFILE lists under SECRET, in either layer.
///
/// # Errors
/// When a HUMANFILE is malformed: then no secret may be used.
pub fn listed_secrets(documents: &Documents) -> Result<BTreeSet<String>, String> {
    let humanfile = Humanfile::of(documents).map_err(|errors| errors.to_string())?;
    Ok(humanfile.secrets().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_a_line_or_a_list_of_words_and_nothing_else() {
        let command = |text: &str| own_command(text).map(|command| command.map(|it| it.program().to_owned()));
        assert_eq!(command("[secrets]\ncommand = \"pass show\""), Ok(Some("pass".to_owned())));
        assert_eq!(command("[secrets]\ncommand = [\"/a b/c\", \"d\"]"), Ok(Some("/a b/c".to_owned())));
        assert_eq!(command("[sandbox]\n"), Ok(None));
        for wrong in [
            "command = \"\"",
            "command = []",
            "command = 3",
            "command = [1]",
            "command = \"./x\"",
            "comand = \"x\"",
        ] {
            assert!(command(&format!("[secrets]\n{wrong}")).is_err(), "{wrong}");
        }
    }
}
