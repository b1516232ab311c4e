//! A failed command: what happened, what to do, and the exit code.
//!
//! Exit codes: 0 ok, 1 a check failed, 2 usage, 3 denied, 4 deadline, 5 untrusted.

use std::{fmt::Display, process::ExitCode};

use libostk::ClientError;
use serde_json::{Value, json};

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    kind: String,
    message: String,
    hint: Option<String>,
    data: Value,
}

impl Failure {
    /// Something is not as it must be.
    pub(crate) fn check(message: impl Display) -> Self {
        Self {
            code: 1,
            kind: "failed".to_owned(),
            message: message.to_string(),
            hint: None,
            data: Value::Null,
        }
    }

    /// The command line makes no sense.
    pub(crate) fn usage(message: impl Display) -> Self {
        Self { code: 2, kind: "usage".to_owned(), ..Self::check(message) }
    }

    /// This caller may not.
    pub(crate) fn denied(message: impl Display) -> Self {
        Self { code: 3, kind: "denied".to_owned(), ..Self::check(message) }
    }

    /// What it rests on is not to be trusted.
    pub(crate) fn untrusted(message: impl Display) -> Self {
        Self { code: 5, kind: "untrusted".to_owned(), ..Self::check(message) }
    }

    /// The failure of a library whose message may hold its remedy behind `Hint: `.
    pub(crate) fn hinted(message: impl Display) -> Self {
        let text = message.to_string();
        match text.split_once("\nHint: ") {
            Some((what, hint)) => Self::check(what).hint(hint),
            None => Self::check(text),
        }
    }

    /// Nobody answered in time.
    pub(crate) fn deadline(message: impl Display) -> Self {
        Self { code: 4, kind: "deadline".to_owned(), ..Self::check(message) }
    }

    /// The same failure with a remedy.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({ "error": { "code": self.kind, "message": self.message, "hint": self.hint, "data": self.data } })
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn remedy(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Call { code, message, hint, data } => {
                let number = match code.as_str() {
                    "usage" => 2,
                    "denied" => 3,
                    "deadline" => 4,
                    _ => 1,
                };
                Self { code: number, kind: code, message, hint, data }
            }
            other => {
                Self::check(other).hint("ostk listen starts a daemon; ostk doctor looks for what is wrong")
            }
        }
    }
}

impl From<libostk::ReadError> for Failure {
    fn from(error: libostk::ReadError) -> Self {
        Self::check(error).hint("ostk audit verify --deep says what is wrong with the log")
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::check(error)
    }
}

impl From<rustix::io::Errno> for Failure {
    fn from(error: rustix::io::Errno) -> Self {
        std::io::Error::from(error).into()
    }
}

impl From<libostk::ProjectError> for Failure {
    fn from(error: libostk::ProjectError) -> Self {
        Self::check(error).hint("ostk init creates a project in a git repository")
    }
}
