//! One HTTP POST, and its body piece by piece.
//!
//! hyper with rustls (ring) and the system's certificates. Plain http is spoken where the base URL says so; a proxy
//! is used only for https to other machines. What the bytes mean is the wires' business.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{HeaderMap, Method, Request, Response, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};

use crate::config::{Config, Timeouts};
use crate::error::{ModelError, Phase};

/// All bytes of one reply: eight times the largest event.
const MAX_BODY_BYTES: usize = 64 << 20;
/// Of an error's body; vendors send one sentence, proxies a page.
const MAX_ERROR_BYTES: usize = 64 << 10;
/// Idle connections are closed before vendors and gateways close them.
const POOL_IDLE: Duration = Duration::from_secs(50);

type Direct = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;
type Tunneled = Client<HttpsConnector<Tunnel<HttpConnector>>, Full<Bytes>>;

#[derive(Debug)]
pub(crate) struct Http {
    direct: Direct,
    tunneled: Option<Tunneled>,
    proxy: Matcher,
    timeouts: Timeouts,
    /// Without certificates https would fail with a puzzling error; it is refused with a clear one.
    has_roots: bool,
}

impl Http {
    pub(crate) fn new(config: &Config) -> Result<Self, ModelError> {
        let (tls, has_roots) = tls()?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(config.timeouts.connect));
        let proxy = Matcher::builder()
            .https(config.https_proxy.clone().unwrap_or_default())
            .no(config.no_proxy.clone().unwrap_or_default())
            .build();
        let https = HttpsConnectorBuilder::new().with_tls_config(tls.clone()).https_or_http().enable_http1();
        let direct = pooled().build(https.wrap_connector(tcp.clone()));
        Ok(Self { direct, tunneled: tunneled(&proxy, tcp, tls), proxy, timeouts: config.timeouts, has_roots })
    }

    /// Sends the request and waits for the head of the response.
    pub(crate) async fn post(
        &self,
        uri: Uri,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, ModelError> {
        let is_https = uri.scheme_str() == Some("https");
        if is_https && !self.has_roots {
            return Err(ModelError::Config { message: NO_ROOTS.into() });
        }
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.headers_mut() = headers;
        let through_proxy = is_https && !is_loopback(&uri) && self.proxy.intercept(&uri).is_some();
        *request.uri_mut() = uri;
        let sent = match self.tunneled.as_ref().filter(|_| through_proxy) {
            Some(client) => client.request(request),
            None => self.direct.request(request),
        };
        match tokio::time::timeout(self.timeouts.first_byte, sent).await {
            Ok(response) => response.map_err(|error| of_client(&error)),
            Err(_) => Err(ModelError::Timeout { phase: Phase::FirstByte }),
        }
    }

    pub(crate) fn reader(&self, body: Incoming) -> Reader {
        Reader { body, idle: self.timeouts.idle, left: MAX_BODY_BYTES }
    }
}

const NO_ROOTS: &str = "no certificates to check https with; install ca-certificates or set SSL_CERT_FILE";

fn tls() -> Result<(ClientConfig, bool), ModelError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let has_roots = !roots.is_empty();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ModelError::Config { message: error.to_string() })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok((config, has_roots))
}

fn pooled() -> hyper_util::client::legacy::Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_idle_timeout(POOL_IDLE).pool_timer(TokioTimer::new());
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

/// Whether the address is this machine: never proxied, and served without a key.
pub(crate) fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn of_client(error: &ClientError) -> ModelError {
    let message = chain(error);
    if is_untrusted(error) {
        ModelError::Untrusted { message }
    } else if error.is_connect() {
        ModelError::Connect { message }
    } else {
        ModelError::Stream { message }
    }
}

/// Whether an invalid certificate is among the causes. `io::Error` hides what it wraps from `source`.
fn is_untrusted(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return matches!(tls, rustls::Error::InvalidCertificate(_));
        }
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = match wrapped {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    false
}

/// An error with its causes: the outermost says only that a request failed.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The body of a response, with a limit on its size and on each silence.
#[derive(Debug)]
pub(crate) struct Reader {
    body: Incoming,
    idle: Duration,
    left: usize,
}

impl Reader {
    /// The next bytes; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ModelError> {
        loop {
            let frame = tokio::time::timeout(self.idle, self.body.frame()).await;
            let frame = frame.map_err(|_| ModelError::Timeout { phase: Phase::Idle })?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|error| ModelError::stream(chain(&error)))?;
            let Ok(data) = frame.into_data() else { continue };
            let Some(left) = self.left.checked_sub(data.len()) else {
                return Err(ModelError::TooLarge { what: "the reply", limit_bytes: MAX_BODY_BYTES });
            };
            self.left = left;
            if !data.is_empty() {
                return Ok(Some(data));
            }
        }
    }

    /// Everything that is left.
    pub(crate) async fn all(&mut self) -> Result<Vec<u8>, ModelError> {
        let mut bytes = Vec::new();
        while let Some(more) = self.next().await? {
            bytes.extend_from_slice(&more);
        }
        Ok(bytes)
    }

    /// As much of an error's body as arrives in time; the status alone is worth reporting.
    pub(crate) async fn error_text(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Ok(Some(more)) = self.next().await {
            let room = MAX_ERROR_BYTES.saturating_sub(bytes.len());
            bytes.extend(more.iter().take(room));
            if more.len() >= room {
                break;
            }
        }
        bytes
    }

    /// Reads what follows the end of a reply, so that the connection can be used again.
    pub(crate) async fn drain(&mut self, patience: Duration) {
        let rest = async { while let Ok(Some(_)) = self.next().await {} };
        // A server that keeps talking loses its connection, nothing else.
        let _ = tokio::time::timeout(patience, rest).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_certificate_is_found_however_deep_it_is_wrapped() {
        let bad = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        assert!(is_untrusted(&std::io::Error::other(std::io::Error::other(bad))));
        assert!(!is_untrusted(&std::io::Error::other(rustls::Error::DecryptError)));
        assert!(!is_untrusted(&std::io::Error::from(std::io::ErrorKind::ConnectionReset)));
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for uri in ["http://127.0.0.1:1/v1", "http://LOCALHOST/", "http://[::1]:8080/", "http://127.9.9.9/"] {
            assert!(is_loopback(&Uri::from_static(uri)), "{uri}");
        }
        for uri in ["https://api.anthropic.com/", "http://localhost.example/", "http://10.0.0.1/", "/"] {
            assert!(!is_loopback(&Uri::from_static(uri)), "{uri}");
        }
    }
}
