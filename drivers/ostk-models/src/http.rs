//! One HTTP POST, and its body piece by piece.
//!
//! How other machines are reached is `ostk-https`'s. What the bytes mean is the wires' business.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{HeaderMap, Method, Request, Response, Uri};
use ostk_https::{Client, Unanswered, Way, chain};

use crate::config::{Config, Timeouts};
use crate::error::{ModelError, Phase};

/// All bytes of one reply: eight times the largest event.
const MAX_BODY_BYTES: usize = 64 << 20;
/// Of an error's body; vendors send one sentence, proxies a page.
const MAX_ERROR_BYTES: usize = 64 << 10;
#[derive(Debug)]
pub(crate) struct Http {
    client: Client,
    timeouts: Timeouts,
}

impl Http {
    pub(crate) fn new(config: &Config) -> Self {
        let way = Way {
            connect: config.timeouts.connect,
            https_proxy: config.https_proxy.clone(),
            no_proxy: config.no_proxy.clone(),
        };
        Self { client: Client::new(&way), timeouts: config.timeouts }
    }

    /// Sends the request and waits for the head of the response.
    pub(crate) async fn post(
        &self,
        uri: Uri,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, ModelError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.headers_mut() = headers;
        *request.uri_mut() = uri;
        match tokio::time::timeout(self.timeouts.first_byte, self.client.request(request)).await {
            Ok(response) => response.map_err(of_client),
            Err(_) => Err(ModelError::Timeout { phase: Phase::FirstByte }),
        }
    }

    pub(crate) fn reader(&self, body: Incoming) -> Reader {
        Reader { body, idle: self.timeouts.idle, left: MAX_BODY_BYTES }
    }
}

fn of_client(error: Unanswered) -> ModelError {
    match error {
        Unanswered::NoTls(message) => ModelError::Config { message },
        Unanswered::Untrusted(message) => ModelError::Untrusted { message },
        Unanswered::Unconnected(message) => ModelError::Connect { message },
        Unanswered::Broken(message) => ModelError::Stream { message },
    }
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
