//! A call from request to reply: route, authorize, send, assemble.
//!
//! Holds no conversation and decides nothing about one: which model, how much it may cost and what follows is the
//! kernel's. Callers are the daemon's native agents.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, Uri, body::Incoming};
use ostk_agent::model::{ModelReply, ModelRequest};
use ostk_https::is_loopback;

use crate::catalog;
use crate::config::{ApiKey, Config, Endpoint};
use crate::error::{ModelError, Phase};
use crate::http::{Http, Reader};
use crate::route::{Provider, Route, route};
use crate::sse::SseParser;
use crate::wires::{Assembler, Wire};

/// The version of the Messages API that `wires/anthropic.rs` speaks.
const ANTHROPIC_VERSION: &str = "2023-06-01";
/// How long the end of a finished stream may take before its connection is given up.
const DRAIN: Duration = Duration::from_millis(250);

/// What is new in a reply while it arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delta {
    /// More prose.
    Text(String),
    /// More reasoning, for display only.
    Thinking(String),
    /// A tool call begins.
    ToolCall {
        /// The call's identifier; empty where the server gives none in time.
        id: String,
        /// The tool's name.
        name: String,
    },
    /// More of the current call's arguments, as JSON text.
    ToolInput(String),
}

/// All configured providers.
#[derive(Clone, Debug)]
pub struct Models {
    config: Arc<Config>,
    http: Arc<Http>,
}

impl Models {
    /// Prepares the client; connects to nothing.
    ///
    /// # Errors
    /// [`ModelError::Config`] if TLS cannot be set up at all.
    pub fn new(config: Config) -> Result<Self, ModelError> {
        let http = Http::new(&config);
        Ok(Self { config: Arc::new(config), http: Arc::new(http) })
    }

    /// The name of the key that serves `model`, and whether a call fails without it: a server on this machine may bring the
    /// key itself. `None` for local models.
    ///
    /// # Errors
    /// When nothing serves a model of that name, or the base URL is none.
    pub fn key_of(&self, model: &str) -> Result<Option<(&'static str, bool)>, ModelError> {
        let route = route(model)?;
        let Some(name) = route.provider.key_env() else { return Ok(None) };
        let uri = uri(&self.config.endpoint(route.provider).base_url, route.wire)?;
        Ok(Some((name, !is_loopback(&uri))))
    }

    /// The same providers, with this key for the one that serves `model`.
    ///
    /// # Errors
    /// When nothing serves a model of that name.
    pub fn with_key(&self, model: &str, key: ApiKey) -> Result<Self, ModelError> {
        let mut config = Config::clone(&self.config);
        config.endpoint_mut(route(model)?.provider).key = Some(key);
        Ok(Self { config: Arc::new(config), http: Arc::clone(&self.http) })
    }

    /// Tokens the model holds: what the configuration says, else the table of [`crate::context_window`].
    pub fn context_window(&self, model: &str) -> u64 {
        let configured = self.config.context_windows.get(model).copied();
        configured.unwrap_or_else(|| catalog::context_window(model))
    }

    /// Asks a model for its next turn, once: whether it is asked again, and when, is the caller's to decide
    /// ([`ModelError::is_transient`], [`ModelError::retry_after`]).
    ///
    /// Dropping the future closes the connection. `on_delta` sees the reply as it arrives; the returned reply is complete
    /// without it.
    ///
    /// # Errors
    /// [`ModelError::Timeout`] at the deadline, otherwise what went wrong. None contains the key.
    pub async fn call(
        &self,
        request: &ModelRequest,
        deadline: Instant,
        on_delta: impl FnMut(Delta) + Send,
    ) -> Result<ModelReply, ModelError> {
        let route = route(&request.model)?;
        let endpoint = self.config.endpoint(route.provider);
        let call = Call::new(request, route, endpoint)?;
        let deadline = tokio::time::Instant::from_std(deadline);
        match tokio::time::timeout_at(deadline, self.attempt(&call, on_delta)).await {
            Ok(outcome) => outcome.map_err(|error| error.redacted(endpoint.key.as_ref())),
            Err(_) => Err(ModelError::Timeout { phase: Phase::Deadline }),
        }
    }

    async fn attempt(
        &self,
        call: &Call,
        on_delta: impl FnMut(Delta) + Send,
    ) -> Result<ModelReply, ModelError> {
        let response = self.http.post(call.uri.clone(), call.headers.clone(), call.body.clone()).await?;
        let (status, retry_after) = (response.status(), retry_after(response.headers()));
        let streamed = is_event_stream(&response);
        let mut reader = self.http.reader(response.into_body());
        if !status.is_success() {
            let body = reader.error_text().await;
            return Err(ModelError::of_status(status.as_u16(), retry_after, &body));
        }
        let value = if streamed {
            assembled(&mut reader, call.wire.assembler(), on_delta).await?
        } else {
            let body = reader.all().await?;
            serde_json::from_slice(&body)
                .map_err(|error| ModelError::malformed(format!("not JSON: {error}")))?
        };
        call.wire.decode(&value, &call.model)
    }
}

/// Reads a stream to its end and returns the whole reply as the vendor's object.
async fn assembled(
    reader: &mut Reader,
    mut assembler: Box<dyn Assembler + Send>,
    mut on_delta: impl FnMut(Delta) + Send,
) -> Result<serde_json::Value, ModelError> {
    let mut parser = SseParser::default();
    while let Some(bytes) = reader.next().await? {
        for event in parser.push(&bytes)? {
            assembler.take(&event)?.into_iter().for_each(&mut on_delta);
        }
        if assembler.is_complete() {
            reader.drain(DRAIN).await;
            break;
        }
    }
    assembler.finish().ok_or_else(|| ModelError::stream("it ended before it was complete"))
}

/// A request ready to be sent, as often as it takes.
struct Call {
    wire: Wire,
    model: String,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Call {
    fn new(request: &ModelRequest, route: Route, endpoint: &Endpoint) -> Result<Self, ModelError> {
        let uri = uri(&endpoint.base_url, route.wire)?;
        let headers = headers(&route, endpoint, &uri)?;
        let body = Bytes::from(route.wire.encode(request, &route).to_string());
        Ok(Self { wire: route.wire, model: route.model, uri, headers, body })
    }
}

fn uri(base_url: &str, wire: Wire) -> Result<Uri, ModelError> {
    let bad =
        |why: &str| ModelError::Config { message: format!("the base URL of the {} wire {why}", wire.name()) };
    let uri: Uri = format!("{base_url}{}", wire.path()).parse().map_err(|_| bad("is no URL"))?;
    match uri.scheme_str() {
        Some("http" | "https") if uri.host().is_some_and(|host| !host.is_empty()) => Ok(uri),
        _ => Err(bad("must begin with http:// or https:// and name a host")),
    }
}

fn headers(route: &Route, endpoint: &Endpoint, uri: &Uri) -> Result<HeaderMap, ModelError> {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::USER_AGENT, HeaderValue::from_static(concat!("ostk/", env!("CARGO_PKG_VERSION"))));
    if route.wire == Wire::Anthropic {
        headers.insert("anthropic-version", HeaderValue::from_static(ANTHROPIC_VERSION));
    }
    match (&endpoint.key, route.provider.key_env()) {
        (Some(key), _) => {
            let (name, value) = authorization(route.provider, key.expose())?;
            headers.insert(name, value);
        }
        // A server on this machine, such as the wire proxy, brings the key itself.
        (None, Some(env)) if !is_loopback(uri) => return Err(missing_key(env)),
        (None, _) => {}
    }
    Ok(headers)
}

fn missing_key(env: &'static str) -> ModelError {
    ModelError::MissingKey {
        env,
        hint: format!("export {env}=… and run: ostk shutdown (the next call starts a daemon that has it)"),
    }
}

fn authorization(provider: Provider, key: &str) -> Result<(HeaderName, HeaderValue), ModelError> {
    let (name, text) = match provider {
        Provider::Anthropic => (HeaderName::from_static("x-api-key"), key.to_owned()),
        _ => (header::AUTHORIZATION, format!("Bearer {key}")),
    };
    let mut value = HeaderValue::from_str(&text).map_err(|_| ModelError::Config {
        message: format!("the key for {provider:?} holds characters that no header may hold"),
    })?;
    value.set_sensitive(true);
    Ok((name, value))
}

fn is_event_stream(response: &Response<Incoming>) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.is_some_and(|kind| kind.trim_start().to_ascii_lowercase().starts_with("text/event-stream"))
}

/// How long the vendor asks to wait: `retry-after-ms`, else `retry-after` in seconds.
///
/// The header's date form is left to the schedule: it would need a wall clock that agrees with the vendor's.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
    let seconds = number("retry-after-ms").map(|ms| ms / 1_000.0).or_else(|| number("retry-after"))?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(name: &'static str, value: &'static str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        retry_after(&headers)
    }

    #[test]
    fn retry_after_is_read_in_seconds_and_milliseconds_and_never_trusted_blindly() {
        assert_eq!(asked("retry-after", "3"), Some(Duration::from_secs(3)));
        assert_eq!(asked("retry-after-ms", "250"), Some(Duration::from_millis(250)));
        for nonsense in ["-1", "NaN", "inf", "1e400", "Wed, 21 Oct 2026 07:28:00 GMT", ""] {
            assert_eq!(asked("retry-after", nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn a_base_url_that_is_none_is_refused_without_being_repeated() {
        for url in ["", "api.example", "ftp://x", "http://", "http://user:secret@"] {
            let error = uri(url, Wire::Chat).unwrap_err();
            assert!(matches!(&error, ModelError::Config { .. }), "{url}: {error}");
            assert!(!error.to_string().contains("secret"));
        }
    }
}
