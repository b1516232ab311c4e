//! The name of a needle: `→007`. People and agents also write `->7`, `7`, `nd-7` and `bd-7` (specification, section
//! 5.1). Numbers are given out by the kernel, from 1, and never twice.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What may stand before the digits.
const PREFIXES: [&str; 4] = ["→", "->", "nd-", "bd-"];

/// The number of a needle, 1 or more; printed as an arrow and at least three digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NeedleId(u64);

/// A text that names no needle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a needle: {0:?}")]
pub struct NeedleIdError(String);

impl NeedleId {
    /// The needle with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for NeedleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "→{:03}", self.0)
    }
}

impl FromStr for NeedleId {
    type Err = NeedleIdError;

    fn from_str(text: &str) -> Result<Self, NeedleIdError> {
        let text = text.trim();
        let digits = PREFIXES.iter().find_map(|prefix| text.strip_prefix(prefix)).unwrap_or(text);
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.parse().ok().filter(|number| plain && *number > 0);
        number.map(Self).ok_or_else(|| NeedleIdError(text.chars().take(60).collect()))
    }
}

impl TryFrom<String> for NeedleId {
    type Error = NeedleIdError;

    fn try_from(text: String) -> Result<Self, NeedleIdError> {
        text.parse()
    }
}

impl From<NeedleId> for String {
    fn from(id: NeedleId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_needle_is_named_in_five_ways_and_printed_in_one() {
        for text in ["→576", "->576", "576", "nd-576", "bd-576", " 0576 "] {
            assert_eq!(text.parse::<NeedleId>().map(|id| id.to_string()), Ok("→576".to_owned()), "{text}");
        }
        assert_eq!(NeedleId::new(7).to_string(), "→007");
    }

    #[test]
    fn anything_else_names_no_needle() {
        for text in ["", "→", "0", "+7", "-7", "7a", "x-7", "→→7", "99999999999999999999", "７"] {
            assert!(text.parse::<NeedleId>().is_err(), "{text}");
        }
    }

    #[test]
    fn it_is_a_text_in_json_also_as_the_name_of_a_member() {
        let map = BTreeMap::from([(NeedleId::new(10), NeedleId::new(2))]);
        let text = serde_json::to_string(&map).unwrap();
        assert_eq!(text, r#"{"→010":"→002"}"#);
        assert_eq!(serde_json::from_str::<BTreeMap<NeedleId, NeedleId>>(&text).unwrap(), map);
    }
}
