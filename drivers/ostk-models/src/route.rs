//! From a model's name to the provider that serves it, the wire it speaks and the name it knows.
//!
//! Names decide alone: there is no registry to consult and no special case for tests, which set base URLs instead.

use crate::error::ModelError;
use crate::wires::Wire;

/// Who serves a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Anthropic.
    Anthropic,
    /// OpenAI.
    OpenAi,
    /// OpenRouter.
    OpenRouter,
    /// Ollama, or any local server of the OpenAI wire.
    Ollama,
    /// An MLX server.
    Mlx,
    /// Apple's on-device model behind its bridge.
    Apple,
}

impl Provider {
    /// The environment variable of its key; local servers have none.
    pub const fn key_env(self) -> Option<&'static str> {
        match self {
            Self::Anthropic => Some("ANTHROPIC_API_KEY"),
            Self::OpenAi => Some("OPENAI_API_KEY"),
            Self::OpenRouter => Some("OPENROUTER_API_KEY"),
            Self::Ollama | Self::Mlx | Self::Apple => None,
        }
    }

    /// Whether it runs on the operator's own machines, at no price per token.
    pub const fn is_local(self) -> bool {
        self.key_env().is_none()
    }
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Who serves it.
    pub provider: Provider,
    /// The wire it speaks.
    pub wire: Wire,
    /// The model's name at the provider.
    pub model: String,
}

const HINT: &str = "use claude-…, gpt-…, o1/o3/o4…, openai/…, openai-chat/…, openrouter/…, ollama/…, local/…, mlx/…, \
                    apple/…, or a name with a colon for Ollama";

/// Explicit prefixes, which are cut off. The first that fits wins.
const PREFIXES: [(&str, Provider, Wire); 8] = [
    ("anthropic/", Provider::Anthropic, Wire::Anthropic),
    ("openai/", Provider::OpenAi, Wire::Responses),
    ("openai-chat/", Provider::OpenAi, Wire::Chat),
    ("openrouter/", Provider::OpenRouter, Wire::Chat),
    ("ollama/", Provider::Ollama, Wire::Chat),
    ("local/", Provider::Ollama, Wire::Chat),
    ("mlx/", Provider::Mlx, Wire::Chat),
    ("apple/", Provider::Apple, Wire::Chat),
];

/// The route of a model's name.
///
/// A colon means Ollama before the vendors' own names are looked at: `gpt-oss:20b` is a local model.
pub fn route(model: &str) -> Result<Route, ModelError> {
    for (prefix, provider, wire) in PREFIXES {
        if let Some(rest) = model.strip_prefix(prefix).filter(|rest| !rest.is_empty()) {
            return Ok(Route { provider, wire, model: rest.to_owned() });
        }
    }
    let to = |provider, wire| Ok(Route { provider, wire, model: model.to_owned() });
    if model.contains(':') {
        to(Provider::Ollama, Wire::Chat)
    } else if model.starts_with("claude-") {
        to(Provider::Anthropic, Wire::Anthropic)
    } else if is_openai(model) {
        to(Provider::OpenAi, Wire::Responses)
    } else {
        Err(ModelError::UnknownModel { model: model.to_owned(), hint: HINT })
    }
}

fn is_openai(model: &str) -> bool {
    let family =
        |name: &str| model == name || model.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'));
    model.starts_with("gpt-") || ["o1", "o3", "o4"].into_iter().any(family)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_where_it_is_served() {
        let check = |name: &str, provider, wire, model: &str| {
            assert_eq!(route(name).unwrap(), Route { provider, wire, model: model.into() }, "{name}");
        };
        check("claude-sonnet-4-6", Provider::Anthropic, Wire::Anthropic, "claude-sonnet-4-6");
        check("gpt-5.2", Provider::OpenAi, Wire::Responses, "gpt-5.2");
        check("o4-mini", Provider::OpenAi, Wire::Responses, "o4-mini");
        check("openai/whatever", Provider::OpenAi, Wire::Responses, "whatever");
        check("openai-chat/gpt-4o", Provider::OpenAi, Wire::Chat, "gpt-4o");
        check("openrouter/meta/llama:free", Provider::OpenRouter, Wire::Chat, "meta/llama:free");
        check("ollama/qwen3", Provider::Ollama, Wire::Chat, "qwen3");
        check("gpt-oss:20b", Provider::Ollama, Wire::Chat, "gpt-oss:20b");
        check("mlx/bonsai", Provider::Mlx, Wire::Chat, "bonsai");
        check("apple/on-device", Provider::Apple, Wire::Chat, "on-device");
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_names_that_are_known() {
        for name in ["gemini", "o3x", "ollama/", ""] {
            assert!(route(name).unwrap_err().to_string().contains("ollama/…"), "{name}");
        }
    }
}
