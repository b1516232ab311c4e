//! One plain HTTP request through the egress proxy.
//!
//! hyper reads it from the client and writes it to the server anew, so the server sees exactly one request with one
//! length, whatever the client sent. Hop-by-hop headers end here (RFC 9110, section 7.6.1).

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::connection::Counted;
use crate::target::Target;

type Body = BoxBody<Bytes, hyper::Error>;

/// Headers of one hop. `Host` is set anew; `expect` is answered by hyper, which reads the body at once.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "expect",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
];

/// Serves one request from `client`; `take` gives the connection to the judged server, once.
///
/// # Errors
/// In words, what went wrong on either side.
pub(crate) async fn relay<C, F>(client: C, target: &Target, take: F) -> Result<(), String>
where
    C: AsyncRead + AsyncWrite + Unpin,
    F: Fn() -> Option<Counted>,
{
    let service = service_fn(|request: Request<Incoming>| {
        let server = take();
        async move { Ok::<_, Infallible>(forward(request, target, server).await) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.keep_alive(false).auto_date_header(false);
    http.serve_connection(TokioIo::new(client), service).await.map_err(|error| error.to_string())
}

async fn forward(request: Request<Incoming>, target: &Target, server: Option<Counted>) -> Response<Body> {
    let named = request.uri().authority().and_then(|named| Target::parse(named.as_str(), Some(80)).ok());
    let Some(server) = server.filter(|_| named.as_ref() == Some(target)) else {
        return refused(StatusCode::BAD_REQUEST, "one request to one target for each connection");
    };
    match sent(request, target, server).await {
        Ok(response) => response.map(BodyExt::boxed),
        Err(error) => refused(StatusCode::BAD_GATEWAY, &format!("Error: {target} gave no answer: {error}")),
    }
}

async fn sent(
    mut request: Request<Incoming>,
    target: &Target,
    server: Counted,
) -> hyper::Result<Response<Incoming>> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(server)).await?;
    // It ends with the response's body, or when that is dropped.
    tokio::spawn(connection);
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse().unwrap_or_else(|_| Uri::from_static("/"));
    *request.version_mut() = hyper::Version::HTTP_11;
    without_hop_by_hop(request.headers_mut());
    let host = if target.port == 80 { target.host.to_string() } else { target.to_string() };
    if let Ok(host) = HeaderValue::from_str(&host) {
        request.headers_mut().insert(HOST, host);
    }
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    let mut response = sender.send_request(request).await?;
    without_hop_by_hop(response.headers_mut());
    Ok(response)
}

/// Removes the headers of this hop, and those that `Connection` names as such.
pub(crate) fn without_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name| *name != hyper::header::CONTENT_LENGTH && *name != hyper::header::TRANSFER_ENCODING)
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

fn refused(status: StatusCode, text: &str) -> Response<Body> {
    let body = Full::new(Bytes::from(format!("{text}\n"))).map_err(|never| match never {}).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}
