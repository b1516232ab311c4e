//! Which key a model takes, for commands that look before they ask the daemon: `ostk lint`, `FROM auto` of `ostk run`.
//!
//! The names of models and providers are `ostk-models`'s; the values of keys are not looked at here.

use ostk_models::{Config, Models};

/// The name of the key without which no call reaches `model`; none for a server on this machine.
///
/// # Errors
/// When nobody serves a model of that name; which names are understood is part of the message.
pub fn key_of_model(model: &str) -> Result<Option<&'static str>, String> {
    let key = Models::new(Config::without_keys()).and_then(|models| models.key_of(model));
    Ok(key.map_err(|error| error.to_string())?.filter(|(_, needed)| *needed).map(|(name, _)| name))
}
