//! The variables by which programs find the egress proxy and the relay.
//!
//! Whoever starts a contained process sets them. They are conventions of curl, git, the language runtimes and the vendors'
//! own clients; nothing here is enforced: a program that ignores them has no network at all.

/// For the egress proxy at `port` of the process's own loopback.
///
/// `ALL_PROXY` names the HTTP side too: Python's httpx fails at start if it names SOCKS and no library for it is there.
pub fn egress(port: u16) -> Vec<(&'static str, String)> {
    let proxy = format!("http://127.0.0.1:{port}");
    let mut variables: Vec<_> =
        ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
            .into_iter()
            .map(|name| (name, proxy.clone()))
            .collect();
    // What listens inside is reached without the proxy, which would refuse it.
    for name in ["NO_PROXY", "no_proxy"] {
        variables.push((name, "localhost,127.0.0.1,::1".to_owned()));
    }
    variables.push(("NODE_USE_ENV_PROXY", "1".to_owned()));
    variables
}

/// For the relay at `port` of the process's own loopback, with the token in the place of each vendor's key.
pub fn relay(port: u16, token: &str) -> Vec<(&'static str, String)> {
    let base = format!("http://127.0.0.1:{port}");
    vec![
        ("ANTHROPIC_BASE_URL", format!("{base}/anthropic")),
        ("ANTHROPIC_AUTH_TOKEN", token.to_owned()),
        // Claude Code prefers a key that is set to the token.
        ("ANTHROPIC_API_KEY", String::new()),
        ("OPENAI_BASE_URL", format!("{base}/openai/v1")),
        ("OPENAI_API_KEY", token.to_owned()),
        ("GOOGLE_GEMINI_BASE_URL", format!("{base}/gemini")),
        ("GEMINI_API_KEY", token.to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_book_names_the_variables_that_are_set() {
        let book = include_str!("../../../docs/src/network.md");
        let set = super::egress(1).into_iter().chain(super::relay(2, "token"));
        let is_lower_case_twin = |name: &str| name.chars().any(|c| c.is_ascii_lowercase());
        for (name, value) in set.filter(|(name, value)| !is_lower_case_twin(name) && !value.is_empty()) {
            assert!(book.contains(&format!("`{name}`")), "{name}={value}");
        }
    }
}
