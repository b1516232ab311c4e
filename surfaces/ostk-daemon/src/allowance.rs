//! What the fleet may spend in a day: `[budget]` of `ostk.toml`, and what a relayed request is expected to take.
//!
//! Read when the daemon starts and with every `policy.reload`; the kernel records the limits and keeps them. Prices are
//! `ostk-models`'s; here they meet the requests of foreign agents, of which the kernel sees only bytes.

use std::path::Path;

use ostk_agent::model::Usage;
use ostk_kernel::{Allowance, micro_usd};

use crate::settings;

const SETTINGS: [&str; 2] = ["tokens_per_day", "usd_per_day"];
/// Bytes of a request's JSON that make a token, at least in English and code.
const BYTES_OF_A_TOKEN: u64 = 4;
/// Tokens of a reply that are reserved: few are longer, whatever the request allows.
const REPLY_TOKENS: u64 = 4_096;

/// What may be spent in a day.
///
/// # Errors
/// When `ostk.toml` cannot be read, or its `[budget]` holds anything but the two limits, numbers above zero.
pub(crate) fn allowance(state_dir: &Path) -> Result<Allowance, String> {
    settings::read(state_dir, parse)
}

fn parse(settings: &str) -> Result<Allowance, String> {
    let settings: toml::Table = settings.parse().map_err(|error| format!("{error}"))?;
    let Some(budget) = settings.get("budget") else { return Ok(Allowance::default()) };
    let given = budget.as_table().ok_or("budget must be a section")?;
    if let Some(unknown) = given.keys().find(|name| !SETTINGS.contains(&name.as_str())) {
        return Err(format!("budget.{unknown} is no setting; there are: {}", SETTINGS.join(", ")));
    }
    let tokens = given.get("tokens_per_day").map(|value| {
        let number = value.as_integer().and_then(|tokens| u64::try_from(tokens).ok());
        number.filter(|tokens| *tokens > 0).ok_or("budget.tokens_per_day must be a whole number above 0")
    });
    let usd = given.get("usd_per_day").map(|value| {
        let number = value.as_float().or_else(|| value.as_integer().map(|dollars| dollars as f64));
        number.and_then(micro_usd).ok_or("budget.usd_per_day must be a number of dollars above 0")
    });
    let (tokens_per_day, micro_usd_per_day) = (tokens.transpose()?, usd.transpose()?);
    Ok(Allowance { tokens_per_day, micro_usd_per_day, ..Allowance::default() })
}

/// What a request of so many bytes to this model is expected to take; `None` for its price if that is not known.
pub(crate) fn expected(model: &str, body_bytes: usize) -> (u64, Option<u64>) {
    let input = (body_bytes as u64).div_ceil(BYTES_OF_A_TOKEN);
    let usage = Usage { input, output: REPLY_TOKENS, ..Usage::default() };
    (usage.total_tokens(), ostk_models::price(model, &usage).map(|price| price.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_taken_and_anything_else_is_named() {
        assert_eq!(parse(""), Ok(Allowance::default()));
        let both = Allowance {
            tokens_per_day: Some(2_000_000),
            micro_usd_per_day: Some(7_500_000),
            ..Allowance::default()
        };
        assert_eq!(parse("[budget]\ntokens_per_day = 2_000_000\nusd_per_day = 7.5"), Ok(both));
        assert_eq!(parse("[budget]\nusd_per_day = 5").unwrap().micro_usd_per_day, Some(5_000_000));
        let wrong = ["usd_per_day = -1", "usd_per_day = \"5\"", "tokens_per_day = 0", "usd_per_week = 5"];
        for line in wrong {
            let problem = parse(&format!("[budget]\n{line}")).unwrap_err();
            assert!(problem.starts_with("budget."), "{line}: {problem}");
        }
        assert!(parse("budget = 5").unwrap_err().contains("section"));
    }

    #[test]
    fn a_request_is_expected_to_take_its_own_tokens_and_a_reply() {
        let (tokens, price) = expected("claude-haiku-4-5", 40_000);
        assert_eq!((tokens, price), (14_096, Some(10_000 + 4_096 * 5)));
        assert_eq!(expected("a-model-of-tomorrow", 40_000).1, None);
    }
}
