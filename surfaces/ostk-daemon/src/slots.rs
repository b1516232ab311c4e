//! How much may go on at once, as `ostk.toml` says: calls of one model (`[models] slots`), and agents (`[scheduler] agents`).
//!
//! Only the numbers are here; the kernel hands the slots out. A server on this machine answers one or a few calls at a time,
//! a vendor's account has limits of its own, and the kernel narrows the number by itself when a vendor refuses.

use std::path::Path;

use crate::settings;

/// Calls of one model, in a project that does not say.
const MODEL_SLOTS: usize = 32;
/// Most slots: each call is an open connection and a reply held in memory, and an agent makes one at a time.
const MOST: usize = 1_024;

/// Calls of one model that may be under way at once.
///
/// # Errors
/// When `ostk.toml` cannot be read, or its `[models]` holds anything but `slots`, a number from 1 to 1024.
pub(crate) fn model_slots(state_dir: &Path) -> Result<usize, String> {
    let slots = settings::read(state_dir, |text| number(text, "models", "slots"))?;
    Ok(slots.unwrap_or(MODEL_SLOTS))
}

/// Agents that may run at once; without a number as many as are started.
///
/// # Errors
/// When `ostk.toml` cannot be read, or its `[scheduler]` holds anything but `agents`, a number from 1 to 1024.
pub(crate) fn agent_slots(state_dir: &Path) -> Result<usize, String> {
    let agents = settings::read(state_dir, |text| number(text, "scheduler", "agents"))?;
    Ok(agents.unwrap_or(usize::MAX))
}

/// The one setting of a section.
fn number(settings: &str, section: &str, name: &str) -> Result<Option<usize>, String> {
    let settings: toml::Table = settings.parse().map_err(|error| format!("{error}"))?;
    let Some(given) = settings.get(section) else { return Ok(None) };
    let given = given.as_table().ok_or_else(|| format!("{section} must be a section"))?;
    if let Some(unknown) = given.keys().find(|known| *known != name) {
        return Err(format!("{section}.{unknown} is no setting; there is: {name}"));
    }
    let Some(slots) = given.get(name) else { return Ok(None) };
    let slots = slots.as_integer().and_then(|slots| usize::try_from(slots).ok());
    let slots = slots.filter(|slots| (1..=MOST).contains(slots));
    slots.map(Some).ok_or_else(|| format!("{section}.{name} must be a number from 1 to {MOST}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_slots_is_taken_and_anything_else_is_named() {
        let slots = |text: &str| number(text, "models", "slots");
        assert_eq!(slots(""), Ok(None));
        assert_eq!(slots("[models]\nslots = 4"), Ok(Some(4)));
        for wrong in ["models = 4", "[models]\nslot = 4", "[models]\nslots = 0", "[models]\nslots = \"4\""] {
            assert!(slots(wrong).unwrap_err().contains("models"), "{wrong}");
        }
    }
}
