//! How many calls of one model may be under way at once: `[models] slots` of `ostk.toml`.
//!
//! Only the number is here; the kernel hands the slots out. A server on this machine answers one or a few at a time, a
//! vendor's account has limits of its own, and the kernel narrows the number by itself when a vendor refuses.

use std::path::Path;

use crate::settings;

/// Slots of a project that does not say.
const DEFAULT: usize = 32;
/// Most slots: each is an open connection and a reply held in memory.
const MOST: usize = 1_024;

/// The project's number of slots.
///
/// # Errors
/// When `ostk.toml` cannot be read, or its `[models]` holds anything but `slots`, a number from 1 to 1024.
pub(crate) fn model_slots(state_dir: &Path) -> Result<usize, String> {
    settings::read(state_dir, slots)
}

fn slots(settings: &str) -> Result<usize, String> {
    let settings: toml::Table = settings.parse().map_err(|error| format!("{error}"))?;
    let Some(models) = settings.get("models") else { return Ok(DEFAULT) };
    let given = models.as_table().ok_or("models must be a section")?;
    if let Some(unknown) = given.keys().find(|name| *name != "slots") {
        return Err(format!("models.{unknown} is no setting; there is: slots"));
    }
    let Some(slots) = given.get("slots") else { return Ok(DEFAULT) };
    let number = slots.as_integer().and_then(|slots| usize::try_from(slots).ok());
    number
        .filter(|slots| (1..=MOST).contains(slots))
        .ok_or_else(|| format!("models.slots must be a number from 1 to {MOST}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_slots_is_taken_and_anything_else_is_named() {
        assert_eq!(slots(""), Ok(DEFAULT));
        assert_eq!(slots("[models]\nslots = 4"), Ok(4));
        for wrong in ["models = 4", "[models]\nslot = 4", "[models]\nslots = 0", "[models]\nslots = \"4\""] {
            assert!(slots(wrong).unwrap_err().contains("models"), "{wrong}");
        }
    }
}
