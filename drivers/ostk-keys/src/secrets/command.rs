//! The operator's own command for secrets, such as `pass show`: it gets the name as its last argument and prints the
//! value. No shell is involved.

use std::{process::Command, time::Duration};

use super::secret::{MAX_SECRET_BYTES, Secret};
use crate::program;

/// The variable that names the command; it goes before the one in `ostk.toml`.
pub const COMMAND_VARIABLE: &str = "OSTK_SECRET_CMD";

/// A password manager may ask a person to touch a key; ten seconds is what the specification gives it.
const DEADLINE: Duration = Duration::from_secs(10);

/// A program and its first arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnCommand {
    program: String,
    arguments: Vec<String>,
    deadline: Duration,
}

/// What the command did.
pub(super) enum Answer {
    /// It printed a value.
    Value(Secret),
    /// It ended without one; the text says how.
    Nothing(String),
    /// It did not do its work, and the value may be there all the same.
    Failed(String),
}

impl OwnCommand {
    /// A command from one line; words are divided by white space, and there is no quoting. `None` without a word.
    pub fn from_line(line: &str) -> Option<Self> {
        Self::from_words(line.split_whitespace().map(str::to_owned))
    }

    /// A command from its words. `None` without a word.
    pub fn from_words(words: impl IntoIterator<Item = String>) -> Option<Self> {
        let mut words = words.into_iter();
        Some(Self { program: words.next()?, arguments: words.collect(), deadline: DEADLINE })
    }

    /// The program's name.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// Runs it for `name`.
    pub(super) fn ask(&self, name: &str) -> Answer {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).arg(name);
        match program::output(&mut command, self.deadline, MAX_SECRET_BYTES + 1) {
            Err(fault) => Answer::Failed(fault.to_string()),
            Ok((status, _)) if !status.success() => Answer::Nothing(status.to_string()),
            Ok((_, bytes)) if bytes.trim_ascii().is_empty() => Answer::Nothing("printed nothing".to_owned()),
            Ok((_, bytes)) => match Secret::from_output(bytes.to_vec()) {
                Ok(secret) => Answer::Value(secret),
                Err(error) => Answer::Failed(format!("printed no secret: {error}")),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> OwnCommand {
        OwnCommand::from_words(["sh", "-c", script, "sh"].map(str::to_owned)).unwrap()
    }

    fn words(answer: Answer) -> String {
        match answer {
            Answer::Value(secret) => format!("value {}", secret.expose()),
            Answer::Nothing(why) => format!("nothing: {why}"),
            Answer::Failed(why) => format!("failed: {why}"),
        }
    }

    #[test]
    fn a_command_gets_the_name_and_its_output_is_the_value() {
        assert_eq!(words(shell("printf 'value of %s\\n' \"$1\"").ask("A_KEY")), "value value of A_KEY");
    }

    #[test]
    fn a_command_that_fails_or_prints_nothing_has_no_value() {
        assert_eq!(words(shell("echo secret; exit 3").ask("A")), "nothing: exit status: 3");
        assert_eq!(words(shell("true").ask("A")), "nothing: printed nothing");
    }

    #[test]
    fn a_command_that_is_missing_or_prints_too_much_has_failed() {
        let missing = OwnCommand::from_line("/nonexistent/command with words").unwrap();
        assert!(words(missing.ask("A")).starts_with("failed: cannot be started"));
        assert!(words(shell("head -c 100000 /dev/zero | tr '\\0' x").ask("A")).contains("printed more"));
    }

    #[test]
    fn at_the_deadline_the_command_and_its_children_are_ended() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("child");
        let script = format!("sleep 600 & echo $! > {}; wait", file.display());
        let command = OwnCommand { deadline: Duration::from_millis(500), ..shell(&script) };
        assert!(words(command.ask("A")).starts_with("failed: had not answered"));
        let pid = std::fs::read_to_string(&file).unwrap();
        let status = std::fs::read_to_string(format!("/proc/{}/status", pid.trim()));
        assert!(!status.is_ok_and(|text| text.contains("State:\tS")), "the child lives on");
    }
}
