//! The first HUMANFILE of a project: who the operator is, the model, and which secrets may be used.
//!
//! The defaults are what this machine knows: git's `user.name` and `user.email`, the operator's own `~/.HUMANFILE`, and
//! the model vendors whose keys are here. A HUMANFILE that is there already is never touched.

use std::{collections::BTreeSet, fs::OpenOptions, io::Write, path::Path};

use ostk_keys::secrets::{KNOWN_NAMES, SecretStore, check_name};
use ostk_policy::Humanfile;

use super::ask::Asker;
use crate::{args::Init, connect, failure::Failure, git::git};

/// The document, from the repository's root.
pub(super) const HUMANFILE: &str = ".ostk/HUMANFILE";

/// A model for each vendor's key, the first whose key is here first. Any of them can be changed in HUMANFILE.
const MODELS: [(&str, &str); 3] = [
    ("ANTHROPIC_API_KEY", "claude-sonnet-5"),
    ("OPENAI_API_KEY", "gpt-5.2"),
    ("OPENROUTER_API_KEY", "openrouter/auto"),
];
/// The word for an empty list.
const NONE: &str = "none";

/// A HUMANFILE that is not written yet.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) identity: String,
    pub(super) model: String,
    pub(super) secrets: Vec<String>,
    text: String,
}

/// Asks for what a HUMANFILE needs; `None` when there is one. Writes nothing.
///
/// # Errors
/// A flag that fits no directive, and a choice that the operator's own `~/.HUMANFILE` forbids.
pub(super) fn choose(root: &Path, args: &Init, asker: &mut Asker) -> Result<Option<Chosen>, Failure> {
    if root.join(HUMANFILE).exists() {
        return Ok(None);
    }
    let global = ostk_daemon::read_documents(&root.join(".ostk")).global_humanfile;
    let own = Humanfile::layered(global.as_deref(), None).unwrap_or_default();
    let known = Known::look(root, &own);
    let identity = asker.answer("Your name in records", args.name.as_deref(), &known.name, |word| {
        Humanfile::new(word, "m", None).map(|_| word.to_owned()).map_err(|errors| errors.to_string())
    })?;
    let email = asker.answer(
        "Your e-mail, for those who read HUMANFILE",
        args.email.as_deref(),
        &known.email,
        plain,
    )?;
    let model = asker.answer("Model", args.model.as_deref(), &known.model, |word| {
        Humanfile::new("a", word, None).map(|_| word.to_owned()).map_err(|errors| errors.to_string())
    })?;
    let secrets =
        asker.answer("Keys that agents' calls may use", args.secrets.as_deref(), &known.secrets(), names)?;
    let file_of = Humanfile::new(&identity, &model, args.gpg_key.as_deref())
        .and_then(|file| file.with_secrets(secrets.iter().map(String::as_str)))
        .map_err(Failure::usage)?;
    let who = if email == NONE { known.full_name } else { format!("{} <{email}>", known.full_name) };
    let text = format!(
        "# Who governs agents here: {who}. Sign it again after a change: ostk sign {HUMANFILE}\n{file_of}"
    );
    Humanfile::layered(global.as_deref(), Some(&text)).map_err(|errors| {
        Failure::usage(errors).hint("your own ~/.HUMANFILE decides; leave the flag out, or change it there")
    })?;
    Ok(Some(Chosen { identity, model, secrets, text }))
}

impl Chosen {
    /// Writes the file, which must not be there yet.
    pub(super) fn write(&self, root: &Path) -> Result<(), Failure> {
        let file = root.join(HUMANFILE);
        let made = OpenOptions::new().write(true).create_new(true).open(&file);
        let mut made = made.map_err(|error| Failure::check(format!("{}: {error}", file.display())))?;
        made.write_all(self.text.as_bytes())?;
        Ok(made.sync_all()?)
    }
}

/// What this machine knows about its operator.
struct Known {
    full_name: String,
    name: String,
    email: String,
    model: String,
    present: Vec<&'static str>,
}

impl Known {
    fn look(root: &Path, own: &Humanfile) -> Self {
        let of_git = |key: &str| {
            let said = git(root, &["config", "--get", key]).unwrap_or_default();
            Some(said.trim().to_owned()).filter(|said| !said.is_empty())
        };
        let store = SecretStore::of_machine(None);
        let is_here = |name: &&str| matches!(store.place_without_command(name), Ok(Some(_)));
        let present: Vec<&'static str> = KNOWN_NAMES.into_iter().filter(is_here).collect();
        let fitting = MODELS.iter().find(|(key, _)| present.contains(key)).or(MODELS.first());
        let full_name = of_git("user.name").and_then(|name| plain(&name).ok()).unwrap_or_else(connect::user);
        Self {
            name: own.identity().map_or_else(|| one_word(&full_name), str::to_owned),
            email: of_git("user.email").and_then(|it| plain(&it).ok()).unwrap_or_else(|| NONE.to_owned()),
            model: own.model().or(fitting.map(|(_, model)| *model)).unwrap_or_default().to_owned(),
            full_name,
            present,
        }
    }

    fn secrets(&self) -> String {
        if self.present.is_empty() { NONE.to_owned() } else { self.present.join(" ") }
    }
}

/// A person's name as an identity is written: `Ada Lovelace` is `Ada-Lovelace`.
fn one_word(name: &str) -> String {
    let fits = |c: char| c.is_alphanumeric() || "-_.@+".contains(c);
    let words = name.split_whitespace().map(|word| word.chars().filter(|c| fits(*c)).collect::<String>());
    let name = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-");
    if name.is_empty() { connect::user() } else { name.chars().take(64).collect() }
}

/// Text that fits on a line of comment.
fn plain(text: &str) -> Result<String, String> {
    if text.chars().any(char::is_control) || text.chars().count() > 200 {
        return Err("at most 200 characters on one line".to_owned());
    }
    Ok(text.to_owned())
}

fn names(list: &str) -> Result<Vec<String>, String> {
    let words = list.split([' ', ',']).filter(|word| !word.is_empty() && *word != NONE);
    let names: BTreeSet<&str> = words.collect();
    let hint = |_| "names such as ANTHROPIC_API_KEY, never values; `none` for none".to_owned();
    names.into_iter().map(|name| check_name(name).map(|()| name.to_owned()).map_err(hint)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_several_words_becomes_one_that_records_can_bear() {
        assert_eq!(one_word("Ada  King, Countess"), "Ada-King-Countess");
        assert_eq!(one_word("Zoë (work)"), "Zoë-work");
    }

    #[test]
    fn secrets_are_listed_by_name_and_a_value_in_their_place_is_not_repeated() {
        assert_eq!(names("B_KEY, A_KEY A_KEY"), Ok(vec!["A_KEY".to_owned(), "B_KEY".to_owned()]));
        assert_eq!(names("none"), Ok(Vec::new()));
        let refused = names("sk-ant-0123").unwrap_err();
        assert!(!refused.contains("0123"), "{refused}");
    }
}
