//! Secrets: where they come from, how they are held, and how they are found in outputs.
//!
//! [`SecretStore`] resolves a name in three places, [`Secret`] holds the value and never shows it, [`Masker`] replaces
//! it in what others will see. Which names may be resolved at all is not decided here: the caller hands the set in.
//! The daemon, the proxy and `ostk secret` call this.

mod command;
mod keychain;
mod mask;
mod secret;
mod store;
mod strength;

pub use command::{COMMAND_VARIABLE, OwnCommand};
pub use keychain::{Keychain, KeychainError, SERVICE, SystemKeychain};
pub use mask::{MaskStream, Masker, MaskerError};
pub use secret::{MAX_SECRET_BYTES, NotASecret, Secret};
pub use store::{Found, Place, SecretError, SecretStore, check_name};
pub use strength::{MIN_MASKED_BYTES, Weak};

/// The names under which model vendors' keys are usually kept.
pub const KNOWN_NAMES: [&str; 6] = [
    "ANTHROPIC_API_KEY",
    "GEMINI_API_KEY",
    "GOOGLE_API_KEY",
    "MISTRAL_API_KEY",
    "OPENAI_API_KEY",
    "OPENROUTER_API_KEY",
];
