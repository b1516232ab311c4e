//! Where the providers are, their keys, and how patient to be.
//!
//! The only place that reads the environment. A key is an [`ApiKey`], which prints as dots and is wiped on drop;
//! secrets of the operator's own store come in through [`Config::from_lookup`].

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::route::Provider;

/// A provider's key.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(Zeroizing<String>);

impl ApiKey {
    /// A key, without the blanks around it that copying leaves; `None` if nothing remains.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(Zeroizing::new(text.to_owned())))
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// `text` with every occurrence of the key replaced.
    pub(crate) fn redact(&self, text: &str) -> String {
        text.replace(self.expose(), "[key]")
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

/// One provider's address and key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Base URL, without a slash at its end. Anthropic's is without `/v1`, the others' with it, as the vendors' own
    /// clients expect them in the environment.
    pub base_url: String,
    /// The key; local servers need none.
    pub key: Option<ApiKey>,
}

/// How long to wait for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a TCP connection.
    pub connect: Duration,
    /// From the request to the head of the response. A local server loads the model's weights in this time.
    pub first_byte: Duration,
    /// Between two parts of a reply. Reasoning models are silent for minutes on OpenAI's wire.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let patient = Duration::from_secs(300);
        Self { connect: Duration::from_secs(10), first_byte: patient, idle: patient }
    }
}

/// Everything the driver has to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `ANTHROPIC_BASE_URL`, `ANTHROPIC_API_KEY`.
    pub anthropic: Endpoint,
    /// `OPENAI_BASE_URL`, `OPENAI_API_KEY`.
    pub openai: Endpoint,
    /// `OPENROUTER_BASE_URL`, `OPENROUTER_API_KEY`.
    pub openrouter: Endpoint,
    /// `OLLAMA_HOST`: models `ollama/…`, `local/…` and names with a colon.
    pub ollama: Endpoint,
    /// `MLX_HOST`: models `mlx/…`.
    pub mlx: Endpoint,
    /// `APPLE_MODEL_HOST`, else `OLLEH_HOST`: models `apple/…`.
    pub apple: Endpoint,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// `HTTPS_PROXY` (or lower case): a proxy for https to other machines, by `CONNECT`.
    pub https_proxy: Option<String>,
    /// `NO_PROXY`: hosts that are reached directly.
    pub no_proxy: Option<String>,
    /// Context windows in tokens, by the model's full name, where the built-in table is wrong or silent.
    pub context_windows: BTreeMap<String, u64>,
}

impl Config {
    /// The configuration of the process's environment.
    pub fn from_env() -> Self {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// The same with `lookup` in the place of the environment, for keys that are kept elsewhere.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let value =
            |names: &[&str]| names.iter().find_map(|name| lookup(name).filter(|v| !v.trim().is_empty()));
        let vendor = |url: &str, default: &str, key: &str| Endpoint {
            base_url: value(&[url]).as_deref().unwrap_or(default).trim().trim_end_matches('/').to_owned(),
            key: value(&[key]).and_then(|key| ApiKey::new(&key)),
        };
        let local = |names: &[&str], port: u16| Endpoint {
            base_url: local_base_url(value(names).as_deref().unwrap_or("127.0.0.1"), port),
            key: None,
        };
        Self {
            anthropic: vendor("ANTHROPIC_BASE_URL", "https://api.anthropic.com", "ANTHROPIC_API_KEY"),
            openai: vendor("OPENAI_BASE_URL", "https://api.openai.com/v1", "OPENAI_API_KEY"),
            openrouter: vendor("OPENROUTER_BASE_URL", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
            ollama: local(&["OLLAMA_HOST"], 11434),
            mlx: local(&["MLX_HOST"], 11942),
            apple: local(&["APPLE_MODEL_HOST", "OLLEH_HOST"], 11941),
            timeouts: Timeouts::default(),
            https_proxy: value(&["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]),
            no_proxy: value(&["NO_PROXY", "no_proxy"]),
            context_windows: BTreeMap::new(),
        }
    }

    /// The configuration of the process's environment but the keys: whoever calls hands each in with its call.
    pub fn without_keys() -> Self {
        Self::from_lookup(|name| if name.ends_with("_API_KEY") { None } else { std::env::var(name).ok() })
    }

    pub(crate) const fn endpoint_mut(&mut self, provider: Provider) -> &mut Endpoint {
        match provider {
            Provider::Anthropic => &mut self.anthropic,
            Provider::OpenAi => &mut self.openai,
            Provider::OpenRouter => &mut self.openrouter,
            Provider::Ollama => &mut self.ollama,
            Provider::Mlx => &mut self.mlx,
            Provider::Apple => &mut self.apple,
        }
    }

    pub(crate) const fn endpoint(&self, provider: Provider) -> &Endpoint {
        match provider {
            Provider::Anthropic => &self.anthropic,
            Provider::OpenAi => &self.openai,
            Provider::OpenRouter => &self.openrouter,
            Provider::Ollama => &self.ollama,
            Provider::Mlx => &self.mlx,
            Provider::Apple => &self.apple,
        }
    }
}

/// Ollama's habit: `host`, `host:port` or a URL; scheme, port and the `/v1` of the OpenAI wire may be left out.
fn local_base_url(host: &str, default_port: u16) -> String {
    let host = host.trim().trim_end_matches('/');
    if host.contains("://") {
        let has_path = host.splitn(4, '/').nth(3).is_some();
        return if has_path { host.to_owned() } else { format!("{host}/v1") };
    }
    let (authority, path) = host.split_once('/').unwrap_or((host, "v1"));
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if has_port {
        format!("http://{authority}/{path}")
    } else {
        format!("http://{authority}:{default_port}/{path}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_environment_gives_the_vendors_own_addresses() {
        let config = Config::from_lookup(|_| None);
        assert_eq!(config.anthropic.base_url, "https://api.anthropic.com");
        assert_eq!(config.openai.base_url, "https://api.openai.com/v1");
        assert_eq!(config.ollama.base_url, "http://127.0.0.1:11434/v1");
        assert_eq!(config.mlx.base_url, "http://127.0.0.1:11942/v1");
        assert_eq!(config.openai.key, None);
    }

    #[test]
    fn ollama_host_may_leave_out_scheme_port_and_path() {
        let of = |host| local_base_url(host, 11434);
        assert_eq!(of("gpu-box"), "http://gpu-box:11434/v1");
        assert_eq!(of("127.0.0.1:9"), "http://127.0.0.1:9/v1");
        assert_eq!(of("http://gpu-box:9/"), "http://gpu-box:9/v1");
        assert_eq!(of("https://gpu-box/llm/v1"), "https://gpu-box/llm/v1");
    }

    #[test]
    fn a_key_is_never_printed() {
        let config = Config::from_lookup(|name| (name == "OPENAI_API_KEY").then(|| " sk-secret\n".into()));
        assert_eq!(config.openai.key.as_ref().unwrap().expose(), "sk-secret");
        assert!(!format!("{config:?}").contains("sk-secret"));
    }
}
