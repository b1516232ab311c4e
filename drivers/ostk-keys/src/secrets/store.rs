//! Resolving a name: the operator's own command, then the keychain, then the environment.
//!
//! Two gates must be open: the name is listed by the operator (the caller hands in the set, from HUMANFILE's SECRET),
//! and one of the places has a value. A place that fails does not pass the question on silently: its failure is in the
//! error, or beside the value that a later place had.

use std::{collections::BTreeSet, ffi::OsString, fmt};

use super::{
    command::{Answer, COMMAND_VARIABLE, OwnCommand},
    keychain::{Keychain, SystemKeychain},
    secret::{NotASecret, Secret},
};

/// Longest name; it is also the name of a variable.
const MAX_NAME: usize = 128;

/// Where a secret was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The operator's own command.
    Command,
    /// The platform's keychain.
    Keychain,
    /// The environment of this process.
    Environment,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Command => "command",
            Self::Keychain => "keychain",
            Self::Environment => "environment",
        })
    }
}

/// A secret and where it comes from.
#[derive(Debug, Clone)]
pub struct Found {
    /// The value.
    pub secret: Secret,
    /// Its place.
    pub place: Place,
    /// What went wrong in the places that were asked before.
    pub passed: Vec<String>,
}

/// Why there is no secret. No message holds a value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// No name of a secret.
    #[error(
        "not a name for a secret: {0:?}\nHint: capital letters, digits and `_`, such as ANTHROPIC_API_KEY"
    )]
    Name(String),
    /// The operator did not list it.
    #[error("HUMANFILE does not list the secret {0}\nHint: add the line {0} under SECRET in .ostk/HUMANFILE")]
    NotListed(String),
    /// No place has it.
    #[error("no value for the secret {name}: {}\nHint: ostk secret set {name}", tried.join("; "))]
    Missing {
        /// The secret.
        name: String,
        /// Each place, and what it said.
        tried: Vec<String>,
    },
    /// The own command did not do its work.
    #[error("the secret command {program:?} {why}\nHint: {program} {name} on a terminal shows what is wrong")]
    Command {
        /// The program.
        program: String,
        /// The secret it was asked for.
        name: String,
        /// What happened.
        why: String,
    },
    /// A value that cannot be used.
    #[error("the value of {name}: {why}")]
    Value {
        /// The secret.
        name: String,
        /// What is wrong with it.
        why: NotASecret,
    },
}

type Variables = dyn Fn(&str) -> Option<OsString> + Send + Sync;

/// Resolves names. Holds no value.
pub struct SecretStore {
    command: Option<OwnCommand>,
    keychain: Box<dyn Keychain>,
    environment: Box<Variables>,
    /// Why a place is not asked.
    note: Option<String>,
}

impl SecretStore {
    /// The places of this machine. `configured` is the command of `ostk.toml`; `OSTK_SECRET_CMD` goes before it.
    pub fn of_machine(configured: Option<OwnCommand>) -> Self {
        let variable = |name: &str| std::env::var_os(name);
        let named = variable(COMMAND_VARIABLE).and_then(|line| OwnCommand::from_line(line.to_str()?));
        Self::new(named.or(configured), Box::new(SystemKeychain), Box::new(variable))
    }

    /// The places as given; `environment` looks a variable up.
    pub fn new(
        command: Option<OwnCommand>,
        keychain: Box<dyn Keychain>,
        environment: Box<Variables>,
    ) -> Self {
        Self { command, keychain, environment, note: None }
    }

    /// The same places, and what to say of one that is not asked beside what the others said.
    pub fn noting(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }

    /// The keychain, to set and remove what the operator says.
    pub fn keychain(&self) -> &dyn Keychain {
        &*self.keychain
    }

    /// The value of `name`, if `authorised` lists it. May take as long as the own command's deadline, 10 seconds.
    ///
    /// # Errors
    /// When the name is not listed, no place has it, or the own command did not do its work: a command that hangs must
    /// not lead to another key being used.
    pub fn resolve(&self, name: &str, authorised: &BTreeSet<String>) -> Result<Found, SecretError> {
        check_name(name)?;
        if !authorised.contains(name) {
            return Err(SecretError::NotListed(name.to_owned()));
        }
        self.find(name, self.command.as_ref())
    }

    /// Where `name` has a value, whether it is listed or not.
    ///
    /// # Errors
    /// When the own command did not do its work, or the value cannot be used.
    pub fn place(&self, name: &str) -> Result<Option<Place>, SecretError> {
        place(self.find(name, self.command.as_ref()))
    }

    /// [`SecretStore::place`] among the keychain and the environment.
    ///
    /// # Errors
    /// When the value cannot be used.
    pub fn place_without_command(&self, name: &str) -> Result<Option<Place>, SecretError> {
        place(self.find(name, None))
    }

    /// What the keychain or the environment has under `name`, listed or not and whichever comes first for a call: to mask
    /// it, never to use it. The own command is not asked, for it may ask a person in turn.
    pub fn to_mask(&self, name: &str) -> Vec<Secret> {
        let kept = self.keychain.get(name).ok().flatten();
        kept.into_iter().chain(self.look_up(name).ok().flatten()).collect()
    }

    fn find(&self, name: &str, command: Option<&OwnCommand>) -> Result<Found, SecretError> {
        let mut passed: Vec<String> = self.note.iter().cloned().collect();
        if let Some(secret) = command.map(|command| ask(command, name, &mut passed)).transpose()?.flatten() {
            return Ok(Found { secret, place: Place::Command, passed });
        }
        match self.keychain.get(name) {
            Ok(Some(secret)) => return Ok(Found { secret, place: Place::Keychain, passed }),
            Ok(None) => passed.push("the keychain has none".to_owned()),
            Err(error) => passed.push(error.to_string()),
        }
        if let Some(secret) = self.look_up(name)? {
            return Ok(Found { secret, place: Place::Environment, passed });
        }
        passed.push(format!("the variable {name} is not set"));
        Err(SecretError::Missing { name: name.to_owned(), tried: passed })
    }

    fn look_up(&self, name: &str) -> Result<Option<Secret>, SecretError> {
        let value = |why| SecretError::Value { name: name.to_owned(), why };
        match (self.environment)(name).filter(|text| !text.is_empty()) {
            None => Ok(None),
            Some(text) => {
                let text = text.into_string().map_err(|_| value(NotASecret::NoText))?;
                Secret::new(text).map(Some).map_err(value)
            }
        }
    }
}

fn place(found: Result<Found, SecretError>) -> Result<Option<Place>, SecretError> {
    match found {
        Ok(found) => Ok(Some(found.place)),
        Err(SecretError::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn ask(command: &OwnCommand, name: &str, passed: &mut Vec<String>) -> Result<Option<Secret>, SecretError> {
    let program = command.program().to_owned();
    match command.ask(name) {
        Answer::Value(secret) => Ok(Some(secret)),
        Answer::Nothing(why) => {
            passed.push(format!("the command {program:?} has none ({why})"));
            Ok(None)
        }
        Answer::Failed(why) => Err(SecretError::Command { program, name: name.to_owned(), why }),
    }
}

/// Checks that `name` is one that a secret can have: it becomes an argument, a keychain's entry and a variable.
///
/// # Errors
/// [`SecretError::Name`].
pub fn check_name(name: &str) -> Result<(), SecretError> {
    let first = name.starts_with(|c: char| c.is_ascii_uppercase());
    let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    if first && name.len() <= MAX_NAME && name.chars().all(plain) {
        return Ok(());
    }
    Err(SecretError::Name(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Mutex};

    use super::{super::keychain::KeychainError, *};

    /// A keychain in memory; one that is locked answers nothing.
    #[derive(Default)]
    struct Memory {
        values: Mutex<BTreeMap<String, String>>,
        locked: bool,
    }

    impl Keychain for Memory {
        fn get(&self, name: &str) -> Result<Option<Secret>, KeychainError> {
            if self.locked {
                return Err(KeychainError("locked".to_owned()));
            }
            Ok(self.values.lock().unwrap().get(name).map(|text| Secret::new(text.clone()).unwrap()))
        }
        fn set(&self, name: &str, value: &Secret) -> Result<(), KeychainError> {
            self.values.lock().unwrap().insert(name.to_owned(), value.expose().to_owned());
            Ok(())
        }
        fn remove(&self, name: &str) -> Result<bool, KeychainError> {
            Ok(self.values.lock().unwrap().remove(name).is_some())
        }
    }

    fn store(
        command: Option<&str>,
        kept: &[&str],
        set: &'static [&'static str],
        locked: bool,
    ) -> SecretStore {
        let command =
            command.and_then(|script| OwnCommand::from_words(["sh", "-c", script, "sh"].map(str::to_owned)));
        let keychain = Memory { locked, ..Memory::default() };
        for name in kept {
            keychain.set(name, &Secret::new("from the keychain".to_owned()).unwrap()).unwrap();
        }
        let variable = |name: &str| set.contains(&name).then(|| OsString::from("from the environment"));
        SecretStore::new(command, Box::new(keychain), Box::new(variable))
    }

    fn listed(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_command_goes_before_the_keychain_and_the_keychain_before_the_environment() {
        let place = |store: SecretStore| store.resolve("A_KEY", &listed(&["A_KEY"])).unwrap().place;
        assert_eq!(place(store(Some("echo value"), &["A_KEY"], &["A_KEY"], false)), Place::Command);
        assert_eq!(place(store(Some("exit 1"), &["A_KEY"], &["A_KEY"], false)), Place::Keychain);
        assert_eq!(place(store(None, &["OTHER"], &["A_KEY"], false)), Place::Environment);
    }

    #[test]
    fn a_name_that_the_operator_did_not_list_is_refused_wherever_its_value_is() {
        let store = store(Some("echo value"), &["A_KEY"], &["A_KEY"], false);
        let error = store.resolve("A_KEY", &listed(&["B_KEY"])).unwrap_err().to_string();
        assert!(error.contains("under SECRET in .ostk/HUMANFILE") && !error.contains("value"), "{error}");
    }

    #[test]
    fn a_secret_that_is_nowhere_is_refused_with_what_each_place_said() {
        let error = store(Some("exit 7"), &[], &[], true).resolve("A_KEY", &listed(&["A_KEY"])).unwrap_err();
        let text = error.to_string();
        for part in ["exit status: 7", "locked", "A_KEY is not set", "ostk secret set A_KEY"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn a_keychain_that_does_not_answer_is_told_beside_the_value() {
        let found = store(None, &[], &["A_KEY"], true).resolve("A_KEY", &listed(&["A_KEY"])).unwrap();
        assert_eq!(found.passed, ["the kernel's keyring: locked"]);
    }

    #[test]
    fn a_command_that_cannot_run_is_an_error_and_no_other_key_is_used() {
        let command = OwnCommand::from_line("/nonexistent/command");
        let store = SecretStore::new(command, Box::new(Memory::default()), Box::new(|_| Some("x".into())));
        let error = store.resolve("A_KEY", &listed(&["A_KEY"])).unwrap_err();
        assert!(matches!(error, SecretError::Command { .. }), "{error}");
    }

    #[test]
    fn what_is_to_be_masked_is_found_in_every_place_but_the_command() {
        let store = store(Some("echo value"), &["A_KEY"], &["A_KEY"], false);
        let found = store.to_mask("A_KEY");
        let texts: Vec<&str> = found.iter().map(Secret::expose).collect();
        assert_eq!(texts, ["from the keychain", "from the environment"]);
        assert!(store.to_mask("B_KEY").is_empty());
    }

    #[test]
    fn only_names_of_variables_are_names_of_secrets() {
        for bad in ["", "a_key", "1KEY", "A-KEY", "A KEY", "$(id)", "--help", "Ä"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        assert!(check_name("OPENAI_API_KEY2").is_ok());
    }
}
