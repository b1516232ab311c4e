//! What models cost and how much they hold: a small checked-in table, and the arithmetic on it.
//!
//! List prices in US dollars as the vendors published them, without batch, priority or regional rates. Claude:
//! platform.claude.com, read November 2026, cache writes at the five-minute rate. OpenAI: generations up to 5.2, at the
//! prices of early 2026. A model that is not listed has no price here, and a
//! caller that enforces a budget must not treat that as free.

use ostk_agent::model::Usage;

use crate::route::{Provider, Route, route};

/// Tokens that a vendor's model is assumed to hold when the table and the configuration are silent.
pub const DEFAULT_CONTEXT_WINDOW: u64 = 200_000;
/// The same of a local model and of one behind a relay, of which the name says nothing. Few are served with less; one
/// that holds more is only handed off sooner than it must be.
pub const SMALL_CONTEXT_WINDOW: u64 = 32_768;

/// Millionths of a US dollar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct MicroUsd(pub u64);

/// One model. Prices are in thousandths of a micro-dollar per token, which is dollars per million tokens times 1,000.
struct Entry {
    name: &'static str,
    window: u64,
    input: u64,
    cache_write: u64,
    cache_read: u64,
    output: u64,
}

const fn claude(
    name: &'static str,
    window: u64,
    [input, cache_write, cache_read, output]: [u64; 4],
) -> Entry {
    Entry { name, window, input, cache_write, cache_read, output }
}

/// OpenAI bills what it writes to its cache as plain input.
const fn openai(name: &'static str, window: u64, [input, cache_read, output]: [u64; 3]) -> Entry {
    Entry { name, window, input, cache_write: input, cache_read, output }
}

const MILLION: u64 = 1_000_000;

const TABLE: &[Entry] = &[
    claude("claude-fable-5-1", MILLION, [10_000, 12_500, 250, 50_000]),
    claude("claude-fable-5", MILLION, [10_000, 12_500, 1_000, 50_000]),
    claude("claude-opus-5-5", MILLION, [4_000, 5_000, 200, 20_000]),
    claude("claude-opus-5", MILLION, [5_000, 6_250, 500, 25_000]),
    claude("claude-opus-4-8", MILLION, [5_000, 6_250, 500, 25_000]),
    claude("claude-opus-4-7", MILLION, [5_000, 6_250, 500, 25_000]),
    claude("claude-opus-4-6", MILLION, [5_000, 6_250, 500, 25_000]),
    claude("claude-opus-4-5", 200_000, [5_000, 6_250, 500, 25_000]),
    claude("claude-opus-4-1", 200_000, [15_000, 18_750, 1_500, 75_000]),
    claude("claude-sonnet-5-5", MILLION, [2_000, 2_500, 200, 10_000]),
    claude("claude-sonnet-5", MILLION, [2_000, 2_500, 200, 10_000]),
    claude("claude-sonnet-4-6", MILLION, [3_000, 3_750, 300, 15_000]),
    claude("claude-sonnet-4-5", 200_000, [3_000, 3_750, 300, 15_000]),
    claude("claude-haiku-4-5", 200_000, [1_000, 1_250, 100, 5_000]),
    openai("gpt-5.2", 400_000, [1_750, 175, 14_000]),
    openai("gpt-5.1", 400_000, [1_250, 125, 10_000]),
    openai("gpt-5", 400_000, [1_250, 125, 10_000]),
    openai("gpt-5-mini", 400_000, [250, 25, 2_000]),
    openai("gpt-5-nano", 400_000, [50, 5, 400]),
    openai("gpt-4.1", 1_047_576, [2_000, 500, 8_000]),
    openai("gpt-4.1-mini", 1_047_576, [400, 100, 1_600]),
    openai("gpt-4o", 128_000, [2_500, 1_250, 10_000]),
    openai("gpt-4o-mini", 128_000, [150, 75, 600]),
    openai("o3", 200_000, [2_000, 500, 8_000]),
    openai("o4-mini", 200_000, [1_100, 275, 4_400]),
];

/// What `usage` costs at list prices, rounded up; nothing for local models, `None` if the price is not known.
///
/// `model` is a name as an Agentfile gives it or as a provider reports it, with or without a date at its end.
pub fn price(model: &str, usage: &Usage) -> Option<MicroUsd> {
    if route(model).is_ok_and(|route| route.provider.is_local()) {
        return Some(MicroUsd(0));
    }
    let entry = entry(model)?;
    let of = |tokens: u64, price: u64| u128::from(tokens) * u128::from(price);
    let thousandths = of(usage.input, entry.input)
        + of(usage.cache_write, entry.cache_write)
        + of(usage.cache_read, entry.cache_read)
        + of(usage.output, entry.output);
    Some(MicroUsd(u64::try_from(thousandths.div_ceil(1_000)).unwrap_or(u64::MAX)))
}

/// Tokens that the model's context window holds. If it is not known, [`DEFAULT_CONTEXT_WINDOW`] for a model of a vendor
/// and [`SMALL_CONTEXT_WINDOW`] for any other.
pub fn context_window(model: &str) -> u64 {
    let vendors = |route: Route| matches!(route.provider, Provider::Anthropic | Provider::OpenAi);
    match entry(model) {
        Some(entry) => entry.window,
        None if route(model).is_ok_and(vendors) => DEFAULT_CONTEXT_WINDOW,
        None => SMALL_CONTEXT_WINDOW,
    }
}

fn entry(model: &str) -> Option<&'static Entry> {
    let prefixes = ["anthropic/", "openai/", "openai-chat/"];
    let name = prefixes.iter().find_map(|prefix| model.strip_prefix(prefix)).unwrap_or(model);
    TABLE.iter().find(|entry| name.strip_prefix(entry.name).is_some_and(is_version))
}

/// What may follow a name without making it another model: nothing, `-latest` or a date.
fn is_version(rest: &str) -> bool {
    let Some(version) = rest.strip_prefix('-') else { return rest.is_empty() };
    let digits = version.chars().filter(char::is_ascii_digit).count();
    version == "latest" || (digits == 8 && version.chars().all(|c| c.is_ascii_digit() || c == '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const USAGE: Usage = Usage { input: 1_000, output: 100, cache_read: 10_000, cache_write: 2_000 };

    #[test]
    fn each_kind_of_token_has_its_price() {
        // 1000 x $3 + 2000 x $3.75 + 10000 x $0.30 + 100 x $15, per million
        assert_eq!(price("claude-sonnet-4-6", &USAGE), Some(MicroUsd(15_000)));
        // 3000 x $1.25 + 10000 x $0.125 + 100 x $10, per million
        assert_eq!(price("gpt-5", &USAGE), Some(MicroUsd(6_000)));
        assert_eq!(
            price("gpt-5-nano", &Usage { input: 1, ..Usage::default() }),
            Some(MicroUsd(1)),
            "rounded up"
        );
    }

    #[test]
    fn a_date_is_no_other_model_but_a_suffix_is() {
        assert_eq!(price("claude-haiku-4-5-20251001", &USAGE), price("claude-haiku-4-5", &USAGE));
        assert_eq!(price("openai/gpt-4o-2024-08-06", &USAGE), price("gpt-4o", &USAGE));
        assert_eq!(price("gpt-5-pro", &USAGE), None);
        assert_ne!(price("gpt-4o-mini", &USAGE), price("gpt-4o", &USAGE));
    }

    #[test]
    fn local_models_are_free_and_unknown_ones_have_no_price() {
        assert_eq!(price("ollama/qwen3", &USAGE), Some(MicroUsd(0)));
        assert_eq!(price("qwen3:8b", &USAGE), Some(MicroUsd(0)));
        assert_eq!(price("openrouter/x/y", &USAGE), None);
        assert_eq!(price("claude-of-the-future", &USAGE), None);
    }

    #[test]
    fn an_absurd_count_saturates() {
        let absurd = Usage { input: u64::MAX, output: u64::MAX, cache_read: u64::MAX, cache_write: u64::MAX };
        assert_eq!(price("claude-opus-4-1", &absurd), Some(MicroUsd(u64::MAX)));
    }

    #[test]
    fn windows_come_from_the_table_or_the_default() {
        assert_eq!(context_window("claude-opus-4-6"), 1_000_000);
        assert_eq!(context_window("gpt-4o-2024-08-06"), 128_000);
        assert_eq!(context_window("claude-of-the-future"), DEFAULT_CONTEXT_WINDOW);
        for model in ["ollama/qwen3", "qwen3:8b", "openrouter/x/y"] {
            assert_eq!(context_window(model), SMALL_CONTEXT_WINDOW, "{model}");
        }
    }
}
