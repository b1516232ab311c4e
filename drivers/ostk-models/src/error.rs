//! What can go wrong with a model call, and which of it is worth another try.
//!
//! Messages come from vendors and networks; `redact` removes the key from them before an error leaves the crate.
//! Mapping a status to an error is here; whoever calls decides on another try.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::config::ApiKey;

/// Characters of a vendor's message that are kept.
const MAX_MESSAGE: usize = 2_000;

/// Why a call gave no reply. No variant holds a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// No provider serves a model of this name.
    #[error("no provider is known for the model {model}; {hint}")]
    UnknownModel {
        /// The name as it was given.
        model: String,
        /// The names that are understood.
        hint: &'static str,
    },
    /// The provider wants a key and none is configured.
    #[error("{env} is not set; {hint}")]
    MissingKey {
        /// The environment variable.
        env: &'static str,
        /// How to provide it.
        hint: String,
    },
    /// The configuration cannot be used: a base URL or a key that is none.
    #[error("model configuration: {message}")]
    Config {
        /// What is wrong with it.
        message: String,
    },
    /// HTTP 401: the key is not accepted.
    #[error("the provider does not accept the key: {message}")]
    Unauthorized {
        /// The vendor's words.
        message: String,
    },
    /// HTTP 403: the account, region or content is not served.
    #[error("the provider refuses to serve this: {message}")]
    Refused {
        /// The vendor's words.
        message: String,
    },
    /// HTTP 402, or 429 that says the account is out of money: waiting does not help.
    #[error("the account's quota is used up: {message}")]
    QuotaExhausted {
        /// The vendor's words.
        message: String,
    },
    /// HTTP 429.
    #[error("rate limited: {message}")]
    RateLimited {
        /// How long the vendor asked to wait.
        retry_after: Option<Duration>,
        /// The vendor's words.
        message: String,
    },
    /// HTTP 503 or 529: the provider has too much to do.
    #[error("the provider is overloaded: {message}")]
    Overloaded {
        /// How long the vendor asked to wait.
        retry_after: Option<Duration>,
        /// The vendor's words.
        message: String,
    },
    /// HTTP 408 or another 5xx, or the same inside a stream.
    #[error("the provider failed with status {status}: {message}")]
    Server {
        /// The status.
        status: u16,
        /// How long the vendor asked to wait.
        retry_after: Option<Duration>,
        /// The vendor's words.
        message: String,
    },
    /// The conversation does not fit the model's context window.
    #[error("the conversation is longer than the model's context window: {message}")]
    ContextOverflow {
        /// The vendor's words.
        message: String,
    },
    /// Another 3xx or 4xx: the request itself is wrong and would be wrong again.
    #[error("the provider rejected the request with status {status}: {message}")]
    BadRequest {
        /// The status.
        status: u16,
        /// The vendor's words.
        message: String,
    },
    /// No connection.
    #[error("cannot reach the provider: {message}")]
    Connect {
        /// What the network said.
        message: String,
    },
    /// The server's certificate is not one this machine trusts. Another try would not change that.
    #[error(
        "the provider's certificate is not trusted: {message}; a company's own authority goes into SSL_CERT_FILE"
    )]
    Untrusted {
        /// What is wrong with it.
        message: String,
    },
    /// Waited long enough.
    #[error("timed out {phase}")]
    Timeout {
        /// What was waited for.
        phase: Phase,
    },
    /// The reply broke off.
    #[error("the reply broke off: {message}")]
    Stream {
        /// How.
        message: String,
    },
    /// The reply arrived and makes no sense.
    #[error("the reply is not what the protocol says: {message}")]
    Malformed {
        /// What is wrong with it.
        message: String,
    },
    /// The reply is larger than this driver reads.
    #[error("{what} is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The part that is too large.
        what: &'static str,
        /// The limit.
        limit_bytes: usize,
    },
}

/// What a call was waiting for when its time was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The head of the response.
    FirstByte,
    /// The next bytes of the reply.
    Idle,
    /// Anything: the call's own deadline passed.
    Deadline,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FirstByte => "waiting for the response to begin",
            Self::Idle => "waiting for the next part of the reply",
            Self::Deadline => "at the deadline of the call",
        })
    }
}

impl ModelError {
    /// Whether the same call may succeed a little later.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::RateLimited { .. }
            | Self::Overloaded { .. }
            | Self::Server { .. }
            | Self::Connect { .. }
            | Self::Stream { .. } => true,
            Self::Timeout { phase } => !matches!(phase, Phase::Deadline),
            _ => false,
        }
    }

    /// Whether the vendor may have done the work and charged for it, although no reply came.
    pub const fn may_be_charged(&self) -> bool {
        matches!(
            self,
            Self::Timeout { .. } | Self::Stream { .. } | Self::Malformed { .. } | Self::TooLarge { .. }
        )
    }

    /// How long the vendor asked to wait.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. }
            | Self::Overloaded { retry_after, .. }
            | Self::Server { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    pub(crate) fn stream(message: impl Into<String>) -> Self {
        Self::Stream { message: message.into() }
    }

    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self::Malformed { message: message.into() }
    }

    /// The error for a response with this status and body.
    pub(crate) fn of_status(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Self {
        let said = Said::of_body(body);
        let message = said.message;
        match status {
            401 => Self::Unauthorized { message },
            402 => Self::QuotaExhausted { message },
            403 => Self::Refused { message },
            429 if said.code == "insufficient_quota" => Self::QuotaExhausted { message },
            429 => Self::RateLimited { retry_after, message },
            503 | 529 => Self::Overloaded { retry_after, message },
            408 | 500.. => Self::Server { status, retry_after, message },
            _ if is_overflow(&said.code, &message) => Self::ContextOverflow { message },
            _ => Self::BadRequest { status, message },
        }
    }

    /// The error for an error object inside a stream, which has a class instead of a status.
    pub(crate) fn of_event(error: &Value) -> Self {
        let said = Said::of_error(error);
        let status = match said.code.as_str() {
            "overloaded_error" => 529,
            "rate_limit_error" | "rate_limit_exceeded" | "insufficient_quota" => 429,
            "authentication_error" => 401,
            "permission_error" => 403,
            "billing_error" => 402,
            "invalid_request_error" | "context_length_exceeded" | "invalid_prompt" => 400,
            "request_too_large" => 413,
            "not_found_error" => 404,
            _ => 500,
        };
        Self::of_status(status, None, error.to_string().as_bytes())
    }

    /// Removes the key from whatever the vendor or the network said.
    pub(crate) fn redacted(mut self, key: Option<&ApiKey>) -> Self {
        if let (Some(key), Some(message)) = (key, self.message_mut()) {
            *message = key.redact(message);
        }
        self
    }

    const fn message_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Config { message }
            | Self::Unauthorized { message }
            | Self::Refused { message }
            | Self::QuotaExhausted { message }
            | Self::RateLimited { message, .. }
            | Self::Overloaded { message, .. }
            | Self::Server { message, .. }
            | Self::ContextOverflow { message }
            | Self::BadRequest { message, .. }
            | Self::Connect { message }
            | Self::Untrusted { message }
            | Self::Stream { message }
            | Self::Malformed { message } => Some(message),
            Self::UnknownModel { .. }
            | Self::MissingKey { .. }
            | Self::Timeout { .. }
            | Self::TooLarge { .. } => None,
        }
    }
}

/// The vendor's words and its machine-readable class.
struct Said {
    message: String,
    code: String,
}

impl Said {
    fn of_body(body: &[u8]) -> Self {
        match serde_json::from_slice::<Value>(body) {
            Ok(value) => Self::of_error(value.get("error").unwrap_or(&value)),
            Err(_) => Self { message: clipped(&String::from_utf8_lossy(body)), code: String::new() },
        }
    }

    /// Both vendors give `message` and `type`; OpenAI's `code`, where set, is the more precise.
    fn of_error(error: &Value) -> Self {
        let text = |key: &str| error.get(key).and_then(Value::as_str);
        let message = text("message").map_or_else(|| clipped(&error.to_string()), clipped);
        let code = text("code").or_else(|| text("type")).unwrap_or_default();
        Self { message, code: code.to_owned() }
    }
}

fn clipped(text: &str) -> String {
    text.chars().take(MAX_MESSAGE).collect()
}

/// Anthropic has no code for it, only the sentence; OpenAI has a code; local servers have neither.
fn is_overflow(code: &str, message: &str) -> bool {
    code == "context_length_exceeded"
        || ["prompt is too long", "context window", "maximum context length"]
            .iter()
            .any(|s| message.contains(s))
}
