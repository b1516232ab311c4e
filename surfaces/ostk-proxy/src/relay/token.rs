//! The local token of an agent, and the place of credentials in a request.
//!
//! An agent holds a token that is worth nothing outside of its relay. Whatever credentials a request carries are taken out;
//! the token must be among them; the real key is put in where the vendor wants it.

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use ostk_keys::secrets::Secret;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::relay::vendor::{Vendor, decoded};

/// Headers that carry a credential on one of the wires. None of them goes on: a credential of the agent's own would send
/// its work to an account that nobody granted.
const CREDENTIALS: [&str; 7] = [
    "x-ostk-token",
    "x-api-key",
    "api-key",
    "authorization",
    "x-goog-api-key",
    "proxy-authorization",
    "cookie",
];
/// Parameters of a query that do.
const CREDENTIAL_PARAMETERS: [&str; 3] = ["key", "access_token", "oauth_token"];

/// What an agent shows instead of a key. Only its SHA-256 is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Token([u8; 32]);

impl Token {
    /// The token whose text is `text`; whoever makes the text takes it from at least 16 random bytes.
    pub fn new(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// Compares digests, in a time that says nothing about either.
    fn is(&self, text: &[u8]) -> bool {
        let given: [u8; 32] = Sha256::digest(text).into();
        self.0.ct_eq(&given).into()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Takes every credential out of a request. Returns the query without them, and whether the token was one of them.
pub(crate) fn take(token: &Token, headers: &mut HeaderMap, query: Option<&str>) -> (Option<String>, bool) {
    let in_headers = CREDENTIALS
        .iter()
        .any(|name| headers.get_all(*name).iter().any(|value| token.is(without_scheme(value.as_bytes()))));
    for name in CREDENTIALS {
        headers.remove(name);
    }
    let is_credential = |part: &&str| {
        let name = part.split('=').next().unwrap_or_default();
        CREDENTIAL_PARAMETERS.contains(&&*decoded(name).to_ascii_lowercase())
    };
    let is_token =
        |part: &str| part.split_once('=').is_some_and(|(_, value)| token.is(decoded(value).as_bytes()));
    let (credentials, others): (Vec<&str>, Vec<&str>) =
        query.map(|query| query.split('&')).into_iter().flatten().partition(is_credential);
    let in_query = credentials.into_iter().any(is_token);
    let query = query.filter(|_| !others.is_empty()).map(|_| others.join("&"));
    (query, in_headers || in_query)
}

/// `Bearer TOKEN` or `TOKEN`.
fn without_scheme(value: &[u8]) -> &[u8] {
    match value.split_at_checked("Bearer ".len()) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(b"Bearer ") => rest.trim_ascii(),
        _ => value.trim_ascii(),
    }
}

/// Puts the real key where the vendor wants it. `false`: the key has bytes that no header can hold.
pub(crate) fn put(vendor: Vendor, key: &Secret, headers: &mut HeaderMap) -> bool {
    let (name, value) = match vendor {
        Vendor::Anthropic => (HeaderName::from_static("x-api-key"), HeaderValue::from_str(key.expose())),
        Vendor::Gemini => (HeaderName::from_static("x-goog-api-key"), HeaderValue::from_str(key.expose())),
        Vendor::OpenAi => {
            let bearer = zeroize::Zeroizing::new(format!("Bearer {}", key.expose()));
            (AUTHORIZATION, HeaderValue::from_str(&bearer))
        }
    };
    let Ok(mut value) = value else { return false };
    value.set_sensitive(true);
    headers.insert(name, value);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(header: Option<(&'static str, &str)>, query: Option<&str>) -> (Option<String>, bool) {
        let mut headers = HeaderMap::new();
        headers.insert("x-other", "stays".parse().unwrap());
        if let Some((name, value)) = header {
            headers.insert(name, value.parse().unwrap());
        }
        let taken = take(&Token::new("ostk_right"), &mut headers, query);
        assert_eq!(headers.len(), 1, "a credential stayed: {headers:?}");
        taken
    }

    #[test]
    fn the_token_is_found_wherever_a_client_puts_its_key() {
        for (name, value) in [
            ("x-api-key", "ostk_right"),
            ("authorization", "Bearer ostk_right"),
            ("authorization", "bearer  ostk_right"),
            ("x-goog-api-key", "ostk_right"),
            ("x-ostk-token", "ostk_right"),
            ("api-key", "ostk_right"),
        ] {
            assert_eq!(taken(Some((name, value)), None), (None, true), "{name}: {value}");
        }
        assert_eq!(taken(None, Some("alt=sse&key=ostk_right&x=%20")), (Some("alt=sse&x=%20".into()), true));
        assert_eq!(taken(None, Some("key=ostk_right")), (None, true));
    }

    #[test]
    fn a_wrong_token_is_none_and_goes_nowhere() {
        for value in ["ostk_righ", "ostk_rightx", "", "Bearer", "Bearer ", "Basic ostk_right"] {
            assert_eq!(taken(Some(("authorization", value)), None), (None, false), "{value}");
        }
        assert_eq!(taken(None, Some("k%65y=own&KEY=own&access_token=own")), (None, false));
        assert_eq!(taken(None, Some("token=ostk_right")), (Some("token=ostk_right".into()), false));
    }
}
