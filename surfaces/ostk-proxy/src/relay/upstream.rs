//! Where the vendors are. How they are reached is `ostk-https`'s, with one pool of connections for all relays.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::http::uri::{PathAndQuery, Scheme};
use hyper::{Request, Response, Uri};
use ostk_https::{Client, Unanswered, Way, is_https, is_loopback};

use crate::relay::vendor::Vendor;

/// For a TCP connection to a vendor.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Addresses, as the vendors' own clients have them in the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// `ANTHROPIC_BASE_URL`, without `/v1`.
    pub anthropic: String,
    /// `OPENAI_BASE_URL`, with `/v1`.
    pub openai: String,
    /// Gemini's, without `/v1beta`.
    pub gemini: String,
    /// The machine's proxy for https, if any; its value is that of `HTTPS_PROXY`.
    pub https_proxy: Option<String>,
    /// Hosts that are reached without it, as in `NO_PROXY`.
    pub no_proxy: Option<String>,
}

impl Default for Addresses {
    /// The vendors' public addresses, no proxy.
    fn default() -> Self {
        Self {
            anthropic: "https://api.anthropic.com".into(),
            openai: "https://api.openai.com/v1".into(),
            gemini: "https://generativelanguage.googleapis.com".into(),
            https_proxy: None,
            no_proxy: None,
        }
    }
}

/// Why there is no way to the vendors.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// Not an address.
    #[error("{vendor}: {text:?} is not an http or https address")]
    Address {
        /// Whose.
        vendor: Vendor,
        /// As configured.
        text: String,
    },
}

/// The vendors, and the connections to them. One is shared by all relays.
#[derive(Debug)]
pub struct Upstreams {
    bases: [Uri; 3],
    client: Client,
}

impl Upstreams {
    /// Connects to nobody yet.
    ///
    /// # Errors
    /// See [`UpstreamError`].
    pub fn new(addresses: &Addresses) -> Result<Self, UpstreamError> {
        let bases = [
            base(Vendor::Anthropic, &addresses.anthropic)?,
            base(Vendor::OpenAi, &addresses.openai)?,
            base(Vendor::Gemini, &addresses.gemini)?,
        ];
        let way = Way {
            connect: CONNECT_DEADLINE,
            https_proxy: addresses.https_proxy.clone(),
            no_proxy: addresses.no_proxy.clone(),
        };
        Ok(Self { bases, client: Client::new(&way) })
    }

    fn base(&self, vendor: Vendor) -> &Uri {
        let [anthropic, openai, gemini] = &self.bases;
        match vendor {
            Vendor::Anthropic => anthropic,
            Vendor::OpenAi => openai,
            Vendor::Gemini => gemini,
        }
    }

    /// Whether the vendor is a server of this machine, which needs no key.
    pub(crate) fn is_local(&self, vendor: Vendor) -> bool {
        is_loopback(self.base(vendor))
    }

    /// The address of a path and query below the vendor's address. `None`: they are no part of a URL.
    pub(crate) fn uri(&self, vendor: Vendor, path: &str, query: Option<&str>) -> Option<Uri> {
        let base = self.base(vendor);
        // OpenAI's address names the version, and so do the paths of its clients.
        let path = match (vendor, path.strip_prefix("/v1")) {
            (Vendor::OpenAi, Some(rest)) if rest.is_empty() || rest.starts_with('/') => rest,
            _ => path,
        };
        let mut whole = format!("{}{path}", base.path().trim_end_matches('/'));
        if let Some(query) = query {
            whole.push('?');
            whole.push_str(query);
        }
        let mut parts = base.clone().into_parts();
        parts.path_and_query = Some(whole.parse::<PathAndQuery>().ok()?);
        Uri::from_parts(parts).ok()
    }

    /// Sends a request and waits for the head of the response; the caller sets the deadline.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Unanswered> {
        self.client.request(request).await
    }
}

fn base(vendor: Vendor, text: &str) -> Result<Uri, UpstreamError> {
    let wrong = || UpstreamError::Address { vendor, text: text.to_owned() };
    let uri: Uri = text.trim().parse().map_err(|_| wrong())?;
    let is_http = uri.scheme() == Some(&Scheme::HTTP) || is_https(&uri);
    let has_login = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    if is_http && uri.host().is_some() && uri.query().is_none() && !has_login {
        Ok(uri)
    } else {
        Err(wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(openai: &str, vendor: Vendor, path: &str, query: Option<&str>) -> String {
        let addresses = Addresses {
            openai: openai.into(),
            anthropic: "http://127.0.0.1:1".into(),
            gemini: "http://gateway.example/google/".into(),
            ..Addresses::default()
        };
        let upstreams = Upstreams::new(&addresses).unwrap();
        upstreams.uri(vendor, path, query).unwrap().to_string()
    }

    #[test]
    fn a_path_is_put_below_the_vendors_address_once() {
        let openai = |base, path| uri(base, Vendor::OpenAi, path, None);
        assert_eq!(openai("http://a.example/v1", "/v1/responses"), "http://a.example/v1/responses");
        assert_eq!(openai("http://a.example/v1/", "/responses"), "http://a.example/v1/responses");
        assert_eq!(openai("http://a.example/llm", "/v1/responses"), "http://a.example/llm/responses");
        let query = Some("alt=sse");
        assert_eq!(
            uri("http://a", Vendor::Anthropic, "/v1/messages", query),
            "http://127.0.0.1:1/v1/messages?alt=sse"
        );
        let gemini = uri("http://a", Vendor::Gemini, "/v1beta/models/m:generateContent", None);
        assert_eq!(gemini, "http://gateway.example/google/v1beta/models/m:generateContent");
    }

    #[test]
    fn an_address_that_is_none_is_refused() {
        for text in ["", "api.openai.com", "ftp://a", "https://", "http://u:p@a/", "http://a/?q"] {
            let addresses = Addresses { openai: text.into(), ..Addresses::default() };
            assert!(matches!(Upstreams::new(&addresses), Err(UpstreamError::Address { .. })), "{text}");
        }
    }
}
