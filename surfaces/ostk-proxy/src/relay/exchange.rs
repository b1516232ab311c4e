//! One request and its reply.
//!
//! In order: whose is it, may it be read, does the token fit, is there a key; then the whole body, the model's name, the
//! desk; then it goes to the vendor with the key, otherwise as it came, but without the operator's secrets. Every error has the vendor's own shape and a hint.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, ORIGIN,
    UPGRADE,
};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode, Uri};
use ostk_keys::secrets::{Masker, Secret};
use serde::Deserialize;

use crate::desk::Refusal;
use crate::listen::Permit;
use crate::plain::without_hop_by_hop;
use crate::relay::budget::Share;
use crate::relay::desk::{ModelDesk, ModelRequest};
use crate::relay::settle::{Relayed, Settlement};
use crate::relay::vendor::{self, Route, Vendor, Wire};
use crate::relay::{MAX_BODY_BYTES, Relay, settle, token};
use crate::target::Host;

/// Names of headers that are between the relay and its clients.
const LOCAL_HEADERS: &str = "x-ostk-";

pub(crate) type RelayBody = BoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// A request that is not relayed, and why.
#[derive(Debug)]
struct Wrong {
    vendor: Vendor,
    status: StatusCode,
    message: String,
}

/// A request that may be sent once the desk agrees.
struct Prepared {
    request: Request<Full<Bytes>>,
    asked: ModelRequest,
    masker: Masker,
    share: Share,
}

/// Answers one request.
pub(crate) async fn answer<D: ModelDesk>(
    relay: Arc<Relay<D>>,
    request: Request<Incoming>,
    permit: Permit,
) -> Response<RelayBody> {
    match exchange(&relay, request, permit).await {
        Ok(response) => response,
        Err(wrong) => wrong.response(),
    }
}

async fn exchange<D: ModelDesk>(
    relay: &Relay<D>,
    request: Request<Incoming>,
    permit: Permit,
) -> Result<Response<RelayBody>, Wrong> {
    let Prepared { request, asked, masker, share } = relay.prepare(request).await?;
    let vendor = asked.vendor;
    let mut settlement = relay.permitted(asked, share, permit).await?;
    settlement.masks(&masker);
    let sent = tokio::time::timeout(relay.limits.first_byte, relay.upstreams.send(request)).await;
    let response = match sent {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => {
            settlement.unanswered(&error);
            return Err(wrong(
                vendor,
                StatusCode::BAD_GATEWAY,
                format!("{vendor} cannot be reached: {error}"),
            ));
        }
        Err(_) => {
            settlement.failed("no answer in time");
            return Err(wrong(
                vendor,
                StatusCode::GATEWAY_TIMEOUT,
                format!("{vendor} gave no answer in time"),
            ));
        }
    };
    let (mut head, body) = response.into_parts();
    without_hop_by_hop(&mut head.headers);
    head.headers.remove(hyper::header::TRANSFER_ENCODING);
    hide(&masker, &mut head.headers);
    settlement.answered(&head);
    let body = Relayed::new(body, settlement, &masker, relay.limits.idle);
    Ok(Response::from_parts(head, body.map_err(Into::into).boxed()))
}

impl<D: ModelDesk> Relay<D> {
    async fn prepare(&self, request: Request<Incoming>) -> Result<Prepared, Wrong> {
        let (mut head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        let Some(Route { vendor, path }) = vendor::route(&path, &head.headers) else {
            return Err(wrong(Vendor::OpenAi, StatusCode::NOT_FOUND, NO_VENDOR));
        };
        check_browser(vendor, &head)?;
        let query = head.uri.query().map(str::to_owned);
        let (query, is_ours) = token::take(&self.token, &mut head.headers, query.as_deref());
        if !is_ours {
            return Err(wrong(vendor, StatusCode::UNAUTHORIZED, NO_TOKEN));
        }
        if !vendor::is_plain_path(path) {
            return Err(wrong(
                vendor,
                StatusCode::BAD_REQUEST,
                "the path has empty parts, dots or hidden slashes",
            ));
        }
        let no_url = || wrong(vendor, StatusCode::BAD_REQUEST, "path and query are no part of a URL");
        if wants_websocket(&head.headers) {
            return Err(wrong(vendor, StatusCode::UPGRADE_REQUIRED, NO_WEBSOCKET));
        }
        let uri = self.upstreams.uri(vendor, path, query.as_deref()).ok_or_else(no_url)?;
        let key = self.key(vendor)?;
        let mut share = Share::new(Arc::clone(&self.budget));
        let body = self.read(vendor, &head.headers, body, &mut share).await?;
        let masker = self.keys.masker();
        let body = match masker.mask(&body) {
            Cow::Borrowed(_) => body,
            Cow::Owned(masked) => masked.into(),
        };
        let asked = asked(vendor, path, query.as_deref(), &head, &body)?;
        let request = outgoing(vendor, head, uri, body, key.as_ref())?;
        Ok(Prepared { request, asked, masker, share })
    }

    /// The vendor's key; none only for a server of this machine.
    fn key(&self, vendor: Vendor) -> Result<Option<Secret>, Wrong> {
        match self.keys.key(vendor) {
            None if !self.upstreams.is_local(vendor) => {
                let message = format!(
                    "there is no key for {vendor} on this machine\nHint: name its secret in the HUMANFILE and set it, \
                     then ask again; the agent needs no key of its own"
                );
                Err(wrong(vendor, StatusCode::UNAUTHORIZED, message))
            }
            key => Ok(key),
        }
    }

    /// The whole body: its model must be known before anything leaves, and the record holds all of it.
    async fn read(
        &self,
        vendor: Vendor,
        headers: &HeaderMap,
        mut body: Incoming,
        share: &mut Share,
    ) -> Result<Bytes, Wrong> {
        let too_large = || {
            wrong(
                vendor,
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the body is larger than {MAX_BODY_BYTES} bytes"),
            )
        };
        let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if length.is_some_and(|length| length > MAX_BODY_BYTES) {
            return Err(too_large());
        }
        // Only what arrives takes memory; room for what is announced spares copies while it grows.
        let mut bytes = BytesMut::with_capacity(length.unwrap_or(0));
        loop {
            let frame = tokio::time::timeout(self.limits.body, body.frame()).await;
            let frame = match frame {
                Ok(None) => return Ok(bytes.freeze()),
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(_))) => {
                    return Err(wrong(vendor, StatusCode::BAD_REQUEST, "the body breaks off"));
                }
                Err(_) => {
                    return Err(wrong(
                        vendor,
                        StatusCode::REQUEST_TIMEOUT,
                        "the body did not arrive in time",
                    ));
                }
            };
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len().saturating_add(data.len()) > MAX_BODY_BYTES {
                return Err(too_large());
            }
            if !share.grow(data.len()) {
                return Err(wrong(vendor, StatusCode::SERVICE_UNAVAILABLE, BUSY));
            }
            bytes.extend_from_slice(&data);
        }
    }

    /// Asks in a task of its own: if the client leaves meanwhile, the intent is ended all the same.
    async fn permitted(
        &self,
        asked: ModelRequest,
        share: Share,
        permit: Permit,
    ) -> Result<Settlement<D>, Wrong> {
        let (desk, vendor) = (Arc::clone(&self.desk), asked.vendor);
        let asking = tokio::spawn(async move {
            let intent = desk.model(&asked).await?;
            Ok(Settlement::new(desk, (intent, asked.model), share, permit))
        });
        let no_answer = |_| wrong(vendor, StatusCode::SERVICE_UNAVAILABLE, "the kernel gave no answer");
        asking.await.map_err(no_answer)?.map_err(|refusal: Refusal| {
            let hint = refusal.hint.map(|hint| format!("\nHint: {hint}")).unwrap_or_default();
            wrong(vendor, StatusCode::FORBIDDEN, format!("{}{hint}", refusal.reason))
        })
    }
}

const NO_VENDOR: &str =
    "no vendor is known by this path\nHint: base URLs end in /anthropic, /openai/v1 or /gemini";
const NO_TOKEN: &str = "the request does not carry this agent's token\nHint: use the base URL and the key that ostk put \
                        into the environment; keys of other origin are not relayed";
const NO_WEBSOCKET: &str = "the relay speaks HTTP and no WebSocket\nHint: have the client stream over HTTP";
const BUSY: &str = "too many large requests at once\nHint: try again when others have ended";

fn wrong(vendor: Vendor, status: StatusCode, message: impl Into<String>) -> Wrong {
    Wrong { vendor, status, message: message.into() }
}

impl Wrong {
    fn response(self) -> Response<RelayBody> {
        let text = self.vendor.error(self.status, &self.message).to_string();
        let body = Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed();
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

/// Other upgrades are offers that a server may pass over (RFC 9110, section 7.8).
fn wants_websocket(headers: &HeaderMap) -> bool {
    headers.get_all(UPGRADE).iter().any(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// A page in a browser is no agent: its requests carry an `Origin`, or a `Host` that its own name server made up.
fn check_browser(vendor: Vendor, head: &Parts) -> Result<(), Wrong> {
    let is_local = |host: &HeaderValue| {
        let host = host.to_str().unwrap_or_default();
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => host,
        };
        match Host::parse(name) {
            Ok(Host::Address(address)) => address.is_loopback(),
            Ok(Host::Name(name)) => name == "localhost",
            Err(_) => false,
        }
    };
    if head.headers.contains_key(ORIGIN) || !head.headers.get_all(HOST).iter().all(is_local) {
        return Err(wrong(
            vendor,
            StatusCode::FORBIDDEN,
            "the relay serves programs of this machine, not pages",
        ));
    }
    Ok(())
}

fn asked(
    vendor: Vendor,
    path: &str,
    query: Option<&str>,
    head: &Parts,
    body: &Bytes,
) -> Result<ModelRequest, Wrong> {
    let (wire, in_path) = vendor::wire(vendor, path);
    let model = match in_path {
        Some(model) => Some(model),
        None => model_in(body, wire, &head.headers)
            .map_err(|text| wrong(vendor, StatusCode::BAD_REQUEST, text))?,
    };
    let path = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    Ok(ModelRequest { vendor, wire, model, method: head.method.to_string(), path, body: body.clone() })
}

/// The only member of a request that is read.
#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    model: Option<String>,
}

/// The model that a body names: exactly once, so that the vendor and the desk read the same.
fn model_in(body: &Bytes, wire: Wire, headers: &HeaderMap) -> Result<Option<String>, String> {
    let named = serde_json::from_slice::<Named>(body);
    match named {
        Ok(Named { model: Some(model) }) => Ok(Some(model)),
        _ if !wire.has_model_in_body() => Ok(None),
        _ if headers.contains_key(CONTENT_ENCODING) => {
            Err("a compressed request is not relayed\nHint: turn the compression of requests off".into())
        }
        Ok(_) => Err("the request names no model".into()),
        Err(error) => Err(format!("the request is not JSON that names its model once: {error}")),
    }
}

/// The request as the vendor gets it: everything as it came, but for this hop, its credentials, and the compression of the
/// reply: secrets are found, and later readers of the record find words, only in what is not compressed.
fn outgoing(
    vendor: Vendor,
    mut head: Parts,
    uri: Uri,
    body: Bytes,
    key: Option<&Secret>,
) -> Result<Request<Full<Bytes>>, Wrong> {
    without_hop_by_hop(&mut head.headers);
    for name in [HOST, CONTENT_LENGTH, hyper::header::TRANSFER_ENCODING] {
        head.headers.remove(name);
    }
    head.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let is_local = |name: &&hyper::header::HeaderName| name.as_str().starts_with(LOCAL_HEADERS);
    let local: Vec<_> = head.headers.keys().filter(is_local).cloned().collect();
    for name in local {
        head.headers.remove(name);
    }
    if key.is_some_and(|key| !token::put(vendor, key, &mut head.headers)) {
        let message = format!("the key for {vendor} has characters that no header can hold");
        return Err(wrong(vendor, StatusCode::UNAUTHORIZED, message));
    }
    head.uri = uri;
    head.version = hyper::Version::HTTP_11;
    Ok(Request::from_parts(head, Full::new(body)))
}

/// Takes secrets out of a reply's headers.
fn hide(masker: &Masker, headers: &mut HeaderMap) {
    for value in headers.values_mut() {
        if !masker.names_in(value.as_bytes()).is_empty() {
            let masked = settle::masked(&mut masker.stream_of_same_length(), value.as_bytes(), true);
            *value = HeaderValue::from_bytes(&masked).unwrap_or(HeaderValue::from_static(""));
        }
    }
}
