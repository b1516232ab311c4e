//! The end of a request: told to the desk once, whatever happens.
//!
//! [`Settlement`] is made from an intent and tells the desk when it is dropped. [`Relayed`] is the body of a reply on its way
//! to the client: it passes bytes on as they come, keeps a bounded copy, and takes the settlement with it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use hyper::http::response::Parts;
use ostk_https::{Unanswered, chain};
use ostk_keys::secrets::{MaskStream, Masker};
use tokio::runtime::Handle;
use tokio::time::Sleep;

use crate::listen::Permit;
use crate::relay::MAX_BODY_BYTES;
use crate::relay::budget::Share;
use crate::relay::desk::{ModelDesk, ModelReply};
use crate::relay::usage;

/// What is said of a request that ends before anything else is known.
const LEFT: &str = "the client left";

/// An intent that is to be ended.
pub(crate) struct Settlement<D: ModelDesk> {
    desk: Arc<D>,
    intent: u64,
    begun: Instant,
    reply: ModelReply,
    copy: BytesMut,
    /// The memory of request and copy.
    share: Option<Share>,
    /// Held until the desk knows, so that whoever waits for all connections waits for that too.
    permit: Option<Permit>,
    runtime: Handle,
    /// For what of a compressed reply must not be kept.
    masker: Option<Masker>,
}

impl<D: ModelDesk> Settlement<D> {
    pub(crate) fn new(
        desk: Arc<D>,
        (intent, model): (u64, Option<String>),
        share: Share,
        permit: Permit,
    ) -> Self {
        let reply = ModelReply { model, problem: Some(LEFT.into()), ..ModelReply::default() };
        let (begun, runtime) = (Instant::now(), Handle::current());
        let (share, permit) = (Some(share), Some(permit));
        Self { desk, intent, begun, reply, copy: BytesMut::new(), share, permit, runtime, masker: None }
    }

    /// What may not be kept.
    pub(crate) fn masks(&mut self, masker: &Masker) {
        self.masker = Some(masker.clone());
    }

    /// The vendor has answered.
    pub(crate) fn answered(&mut self, head: &Parts) {
        let header = |name: HeaderName| {
            head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        self.reply.status = Some(head.status.as_u16());
        self.reply.content_type = header(CONTENT_TYPE);
        self.reply.content_encoding = header(CONTENT_ENCODING);
    }

    /// It did not come to a whole reply.
    pub(crate) fn failed(&mut self, problem: impl Into<String>) {
        self.reply.problem = Some(problem.into());
    }

    /// No answer came.
    pub(crate) fn unanswered(&mut self, error: &Unanswered) {
        self.reply.unsent = error.is_unsent();
        self.failed(error.to_string());
    }

    fn passed(&mut self, bytes: &Bytes) {
        self.reply.size_bytes = self.reply.size_bytes.saturating_add(bytes.len() as u64);
        // Only a copy without a gap is a beginning.
        let is_whole = self.copy.len() as u64 + bytes.len() as u64 == self.reply.size_bytes;
        let fits = self.copy.len().saturating_add(bytes.len()) <= MAX_BODY_BYTES;
        if is_whole && fits && self.share.as_mut().is_some_and(|share| share.grow(bytes.len())) {
            self.copy.extend_from_slice(bytes);
        }
    }

    fn completed(&mut self) {
        self.reply.complete = true;
        self.reply.problem = None;
    }
}

impl<D: ModelDesk> Drop for Settlement<D> {
    fn drop(&mut self) {
        let mut reply = std::mem::take(&mut self.reply);
        reply.body = std::mem::take(&mut self.copy).freeze();
        reply.duration = self.begun.elapsed();
        let (desk, intent) = (Arc::clone(&self.desk), self.intent);
        let held = (self.share.take(), self.permit.take());
        let masker = self.masker.take();
        self.runtime.spawn(async move {
            reply.tokens = usage::read(&reply.body, reply.content_encoding.as_deref());
            if let Some(masker) = masker {
                forget_compressed(&masker, &mut reply);
            }
            desk.model_ended(intent, reply).await;
            drop(held);
        });
    }
}

/// A compressed body passes as it is, so it is looked into before it is kept.
fn forget_compressed(masker: &Masker, reply: &mut ModelReply) {
    let encoding = reply.content_encoding.as_deref().map(str::trim);
    let Some(text) = encoding.and_then(|encoding| usage::unpacked(&reply.body, encoding)) else { return };
    let names = masker.names_in(&text);
    if !names.is_empty() {
        reply.body = Bytes::new();
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        reply.problem.get_or_insert(format!("the reply is not kept: it holds the secret {names}"));
    }
}

/// The body of a reply, unchanged but for the secrets that occur in it.
pub(crate) struct Relayed<D: ModelDesk> {
    body: Incoming,
    /// `None` once the end is reached.
    settlement: Option<Settlement<D>>,
    /// Not for a compressed body, in which nothing can be found.
    mask: Option<MaskStream>,
    idle: Duration,
    deadline: Pin<Box<Sleep>>,
}

/// Why a reply breaks off; the client sees it as such.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokenOff {
    #[error(transparent)]
    Upstream(#[from] hyper::Error),
    #[error("the vendor sent nothing for {0:?}")]
    Idle(Duration),
}

impl<D: ModelDesk> Relayed<D> {
    pub(crate) fn new(body: Incoming, settlement: Settlement<D>, masker: &Masker, idle: Duration) -> Self {
        // Its length stays, for the client may have been told it.
        let mask = settlement.reply.content_encoding.is_none().then(|| masker.stream_of_same_length());
        let deadline = Box::pin(tokio::time::sleep(idle));
        let mut relayed = Self { body, settlement: Some(settlement), mask, idle, deadline };
        // hyper does not ask a body for its end that says it has none.
        if relayed.body.is_end_stream() {
            relayed.end();
        }
        relayed
    }

    fn end(&mut self) {
        if let Some(mut settlement) = self.settlement.take() {
            settlement.completed();
        }
    }

    fn break_off(&mut self, error: BrokenOff) -> BrokenOff {
        if let Some(mut settlement) = self.settlement.take() {
            settlement.failed(chain(&error));
        }
        error
    }

    /// Notes what goes to the client.
    fn pass(&mut self, bytes: Bytes) -> Frame<Bytes> {
        if let Some(settlement) = &mut self.settlement {
            settlement.passed(&bytes);
        }
        Frame::data(bytes)
    }

    /// What of `frame` may pass now. The last bytes of a body whose length is known end the exchange: hyper does not ask
    /// for more.
    fn next(&mut self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        let mut data = match frame.into_data() {
            Ok(data) => data,
            Err(other) => return Some(other),
        };
        let is_last = self.body.is_end_stream();
        if let Some(mask) = &mut self.mask {
            data = masked(mask, &data, is_last);
        }
        let frame = (!data.is_empty()).then(|| self.pass(data));
        if is_last {
            self.end();
        }
        frame
    }
}

/// What may pass now that `bytes` have come; all of it if they are the last.
pub(crate) fn masked(mask: &mut MaskStream, bytes: &[u8], is_last: bool) -> Bytes {
    let mut passing = mask.push(bytes);
    if is_last {
        passing.extend(mask.flush());
    }
    passing.into()
}

impl<D: ModelDesk> Body for Relayed<D> {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        loop {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let next = tokio::time::Instant::now() + self.idle;
                    self.deadline.as_mut().reset(next);
                    if let Some(frame) = self.next(frame) {
                        return Poll::Ready(Some(Ok(frame)));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Some(Err(self.break_off(error.into()))));
                }
                Poll::Ready(None) => {
                    let held = self.mask.as_mut().map(|mask| masked(mask, &[], true));
                    if let Some(held) = held.filter(|held| !held.is_empty()) {
                        return Poll::Ready(Some(Ok(self.pass(held))));
                    }
                    self.end();
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    if self.deadline.as_mut().poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    let idle = self.idle;
                    return Poll::Ready(Some(Err(self.break_off(BrokenOff::Idle(idle)))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        // The settlement learns of the end only by being asked for it.
        self.settlement.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
