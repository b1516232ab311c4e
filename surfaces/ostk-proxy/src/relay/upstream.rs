//! Where the vendors are, and the HTTP client that reaches them.
//!
//! hyper with rustls (ring) and the system's certificates, one pool of connections for all relays. Redirects are not
//! followed: they would take a key elsewhere. Plain http is spoken where the address says so; the machine's own proxy is
//! used only for https to other machines.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::http::uri::{PathAndQuery, Scheme};
use hyper::{Request, Response, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::{Builder, Client};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};

use crate::relay::vendor::Vendor;

/// For a TCP connection to a vendor.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Idle connections are closed before vendors and gateways close them.
const POOL_IDLE: Duration = Duration::from_secs(50);

type Direct = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;
type Tunneled = Client<HttpsConnector<Tunnel<HttpConnector>>, Full<Bytes>>;

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
    /// TLS cannot be set up.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// An address is https and the machine has no certificates.
    #[error("no certificates to check https with; install ca-certificates or set SSL_CERT_FILE")]
    NoRoots,
}

/// The vendors, and the connections to them. One is shared by all relays.
#[derive(Debug)]
pub struct Upstreams {
    bases: [Uri; 3],
    direct: Direct,
    tunneled: Option<Tunneled>,
    proxy: Matcher,
}

impl Upstreams {
    /// Reads the system's certificates, if an address is https; connects to nobody yet.
    ///
    /// # Errors
    /// See [`UpstreamError`].
    pub fn new(addresses: &Addresses) -> Result<Self, UpstreamError> {
        let bases = [
            base(Vendor::Anthropic, &addresses.anthropic)?,
            base(Vendor::OpenAi, &addresses.openai)?,
            base(Vendor::Gemini, &addresses.gemini)?,
        ];
        let tls = tls(bases.iter().any(is_https))?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_DEADLINE));
        let proxy = Matcher::builder()
            .https(addresses.https_proxy.clone().unwrap_or_default())
            .no(addresses.no_proxy.clone().unwrap_or_default())
            .build();
        let https = HttpsConnectorBuilder::new().with_tls_config(tls.clone()).https_or_http().enable_http1();
        let direct = pooled().build(https.wrap_connector(tcp.clone()));
        Ok(Self { bases, direct, tunneled: tunneled(&proxy, tcp, tls), proxy })
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
        let uri = request.uri();
        let through_proxy = is_https(uri) && !is_loopback(uri) && self.proxy.intercept(uri).is_some();
        let sent = match self.tunneled.as_ref().filter(|_| through_proxy) {
            Some(client) => client.request(request),
            None => self.direct.request(request),
        };
        sent.await.map_err(|error| Unanswered { why: chain(&error), unsent: error.is_connect() })
    }
}

/// Why a request got no answer.
#[derive(Debug)]
pub(crate) struct Unanswered {
    /// In words, without anything of the request but its address.
    pub(crate) why: String,
    /// There was no connection to send it on.
    pub(crate) unsent: bool,
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

/// Reading the certificates takes a tenth of a second, so they are read only if there is something to check.
fn tls(is_needed: bool) -> Result<ClientConfig, UpstreamError> {
    let mut roots = RootCertStore::empty();
    if is_needed {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(UpstreamError::NoRoots);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn pooled() -> Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_idle_timeout(POOL_IDLE).pool_timer(TokioTimer::new()).http1_preserve_header_case(true);
    builder
}

fn tunneled(proxy: &Matcher, tcp: HttpConnector, tls: ClientConfig) -> Option<Tunneled> {
    // Any public https address shows which proxy there is; which hosts go around it is asked for each request.
    let found = proxy.intercept(&Uri::from_static("https://proxy-probe.invalid/"))?;
    let mut tunnel = Tunnel::new(found.uri().clone(), tcp);
    if let Some(auth) = found.basic_auth() {
        tunnel = tunnel.with_auth(auth.clone());
    }
    let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
    Some(pooled().build(https.wrap_connector(tunnel)))
}

fn is_https(uri: &Uri) -> bool {
    uri.scheme() == Some(&Scheme::HTTPS)
}

fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// An error with its causes: the outermost says only that a request failed.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
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
