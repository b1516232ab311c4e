//! What the relay asks before a request leaves for a vendor, and tells when the reply is over.
//!
//! The daemon's host implements [`ModelDesk`] and [`Keys`]. A key goes from [`Keys`] into one header of one request and
//! nowhere else: nothing that crosses [`ModelDesk`] holds one.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use ostk_keys::secrets::{Masker, Secret};

use crate::desk::Refusal;
use crate::relay::usage::TokenCounts;
use crate::relay::vendor::{Vendor, Wire};

/// A request as it is about to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelRequest {
    /// Who it is for.
    pub vendor: Vendor,
    /// Which of the vendor's protocols it speaks.
    pub wire: Wire,
    /// The model that the request names, once. Always there on the wires that generate; `None` elsewhere if it names none.
    pub model: Option<String>,
    /// The method, such as `POST`.
    pub method: String,
    /// Path and query below the vendor's address, without credentials.
    pub path: String,
    /// The body, byte for byte but for secrets, compressed if the client compressed it.
    pub body: Bytes,
}

/// What came of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelReply {
    /// The model that the request named.
    pub model: Option<String>,
    /// The vendor's status; `None` if it gave no answer.
    pub status: Option<u16>,
    /// `Content-Type` of the body, if it has one.
    pub content_type: Option<String>,
    /// `Content-Encoding` of the body, if it is compressed.
    pub content_encoding: Option<String>,
    /// The body as the client got it, at most [`crate::MAX_BODY_BYTES`] of its beginning; empty when it is compressed and
    /// holds a secret.
    pub body: Bytes,
    /// Bytes of the body that the client got; more than `body` has if that was cut.
    pub size_bytes: u64,
    /// Whether the client got all of the reply.
    pub complete: bool,
    /// Whether the request never reached the vendor.
    pub unsent: bool,
    /// Why it is not complete, in a few words.
    pub problem: Option<String>,
    /// What the reply says it cost.
    pub tokens: TokenCounts,
    /// From the desk's permission to the last byte.
    pub duration: Duration,
}

/// What the kernel says about requests to models, as the daemon's host answers it.
///
/// Every method may be called from many requests at once. The desk sets the deadlines of its own answers. An intent that
/// was given out is ended exactly once, also when the client breaks off while the desk still thinks.
pub trait ModelDesk: Send + Sync + 'static {
    /// May this request be sent? `Ok` is the number of the intent and means that it is durable.
    ///
    /// # Errors
    /// A refusal, which the desk has recorded.
    fn model(&self, request: &ModelRequest) -> impl Future<Output = Result<u64, Refusal>> + Send;

    /// The request of `intent` is over, or was never sent.
    fn model_ended(&self, intent: u64, reply: ModelReply) -> impl Future<Output = ()> + Send;
}

/// The operator's real keys.
pub trait Keys: Send + Sync + 'static {
    /// The key of `vendor`, if the operator's documents and the machine give one. Called once for each request; it
    /// answers at once, from memory.
    fn key(&self, vendor: Vendor) -> Option<Secret>;

    /// Finds what may be in no request but in the header that carries the key, and in no reply. Called once for each request.
    fn masker(&self) -> Masker;
}
