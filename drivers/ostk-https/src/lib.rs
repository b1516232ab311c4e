//! HTTP to other machines: hyper with rustls (ring), the system's certificates, and the machine's own proxy.
//!
//! One pool of connections for each client. Redirects are not followed: they would take a key elsewhere. Plain http is
//! spoken where the address says so; a proxy is used only for https to other machines. The certificates are read with the
//! first request that needs them, once for all clients: that takes longer than the start of everything else. Deadlines are
//! the caller's, and so is what the bytes mean. Called by `ostk-models` and `ostk-proxy`.

use std::{
    error::Error,
    net::IpAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, Uri, body::Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::{
        legacy::{
            self, Builder,
            connect::{HttpConnector, proxy::Tunnel},
        },
        proxy::matcher::Matcher,
    },
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::OnceCell;

/// Idle connections are closed before vendors and gateways close them.
const POOL_IDLE: Duration = Duration::from_secs(50);

type Pool<Connector> = legacy::Client<Connector, Full<Bytes>>;

/// How other machines are reached.
#[derive(Clone, Debug)]
pub struct Way {
    /// For a TCP connection.
    pub connect: Duration,
    /// The machine's proxy for https, if any; its value is that of `HTTPS_PROXY`.
    pub https_proxy: Option<String>,
    /// Hosts that are reached without it, as in `NO_PROXY`.
    pub no_proxy: Option<String>,
}

/// Why a request got no answer, without anything of the request but its address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// TLS cannot be spoken here.
    #[error("{0}")]
    NoTls(String),
    /// The server's certificate is not valid.
    #[error("{0}")]
    Untrusted(String),
    /// There was no connection to send it on.
    #[error("{0}")]
    Unconnected(String),
    /// The connection ended before an answer came.
    #[error("{0}")]
    Broken(String),
}

impl Unanswered {
    /// Whether the server saw nothing of the request.
    pub const fn is_unsent(&self) -> bool {
        !matches!(self, Self::Broken(_))
    }
}

/// Makes requests and keeps connections.
#[derive(Debug)]
pub struct Client {
    tcp: HttpConnector,
    proxy: Matcher,
    plain: Pool<HttpConnector>,
    secure: OnceCell<Secure>,
}

#[derive(Debug)]
struct Secure {
    direct: Pool<HttpsConnector<HttpConnector>>,
    tunneled: Option<Pool<HttpsConnector<Tunnel<HttpConnector>>>>,
}

impl Client {
    /// Connects to nobody yet, and reads no certificates.
    pub fn new(way: &Way) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(way.connect));
        let proxy = Matcher::builder()
            .https(way.https_proxy.clone().unwrap_or_default())
            .no(way.no_proxy.clone().unwrap_or_default())
            .build();
        Self { plain: pooled().build(tcp.clone()), tcp, proxy, secure: OnceCell::new() }
    }

    /// Sends a request and waits for the head of the response.
    ///
    /// # Errors
    /// See [`Unanswered`].
    pub async fn request(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Unanswered> {
        let uri = request.uri();
        let sent = if !is_https(uri) {
            self.plain.request(request).await
        } else {
            let secure = self.secure.get_or_try_init(|| self.secure()).await?;
            let is_tunneled = !is_loopback(uri) && self.proxy.intercept(uri).is_some();
            match secure.tunneled.as_ref().filter(|_| is_tunneled) {
                Some(pool) => pool.request(request).await,
                None => secure.direct.request(request).await,
            }
        };
        sent.map_err(|error| {
            let why = chain(&error);
            if is_untrusted(&error) {
                Unanswered::Untrusted(why)
            } else if error.is_connect() {
                Unanswered::Unconnected(why)
            } else {
                Unanswered::Broken(why)
            }
        })
    }

    async fn secure(&self) -> Result<Secure, Unanswered> {
        // Reads hundreds of files.
        let tls = tokio::task::spawn_blocking(tls).await.map_err(|error| error.to_string()).flatten();
        let tls = tls.map_err(Unanswered::NoTls)?;
        let https = HttpsConnectorBuilder::new().with_tls_config(tls.clone()).https_only().enable_http1();
        Ok(Secure {
            direct: pooled().build(https.wrap_connector(self.tcp.clone())),
            tunneled: self.tunneled(tls),
        })
    }

    fn tunneled(&self, tls: ClientConfig) -> Option<Pool<HttpsConnector<Tunnel<HttpConnector>>>> {
        // Any public https address shows which proxy there is; which hosts go around it is asked for each request.
        let found = self.proxy.intercept(&Uri::from_static("https://proxy-probe.invalid/"))?;
        let mut tunnel = Tunnel::new(found.uri().clone(), self.tcp.clone());
        if let Some(auth) = found.basic_auth() {
            tunnel = tunnel.with_auth(auth.clone());
        }
        let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1();
        Some(pooled().build(https.wrap_connector(tunnel)))
    }
}

fn pooled() -> Builder {
    let mut builder = legacy::Client::builder(TokioExecutor::new());
    builder.pool_idle_timeout(POOL_IDLE).pool_timer(TokioTimer::new()).http1_preserve_header_case(true);
    builder
}

fn tls() -> Result<ClientConfig, String> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    });
    if roots.is_empty() {
        return Err(
            "no certificates to check https with; install ca-certificates or set SSL_CERT_FILE".into()
        );
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| error.to_string())?;
    Ok(config.with_root_certificates(Arc::clone(roots)).with_no_client_auth())
}

/// Whether the address is https.
pub fn is_https(uri: &Uri) -> bool {
    uri.scheme_str() == Some("https")
}

/// Whether the address is this machine: never proxied, and served without a key.
pub fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether an invalid certificate is among the causes. `io::Error` hides what it wraps from `source`.
fn is_untrusted(error: &(dyn Error + 'static)) -> bool {
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
pub fn chain(error: &(dyn Error + 'static)) -> String {
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
