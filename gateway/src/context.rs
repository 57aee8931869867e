//! What one request carries through its stages.

use std::sync::Arc;

use fastrand::Rng;
use http::{HeaderMap, HeaderValue, Method};
use pingora::http::RequestHeader;
use turnpike_api::Clock;
use uuid::{Builder, Uuid};

use crate::answer_head::REQUEST_ID;
use crate::record::Record;
use crate::request::cors;
use crate::runtime::Runtime;
use crate::snapshot::Snapshot;
use crate::tenant::{Place, Site, Tenant};
use crate::trace_context::TraceContext;
use crate::traces::{Recorded, Recording};
use crate::upstream::Member;
use crate::upstream::affinity::Session;

/// A request's context: the one snapshot it sees, and the record of it.
pub struct Context<'r> {
    pub runtime: &'r Runtime,
    pub snapshot: Arc<Snapshot>,
    /// The tenant's whose host was called; `None` = no tenant's.
    pub place: Option<Arc<Place>>,
    /// For whom the caller acts, once that is known.
    pub tenant: Arc<Tenant>,
    /// The trace it is part of, with the gateway's span.
    pub trace: TraceContext,
    /// What is noted of it for its trace, where that is recorded.
    pub recording: Option<Box<Recording>>,
    /// When it was taken of what callers may have recorded, in milliseconds; `None` = it was not.
    traced_on_word: Option<u64>,
    /// The caller's head could be read.
    pub head_read: bool,
    /// The caller asked for the head of an answer only.
    pub head_only: bool,
    /// Whose credential it keeps to, where sessions do.
    pub session: Option<Session>,
    /// The origin of the web page that calls, where that may.
    pub page: Option<HeaderValue>,
    /// SHA-256 of the certificate that the caller proved to have.
    pub certificate: Option<Vec<u8>>,
    pub record: Record,
}

impl<'r> Context<'r> {
    pub fn new(runtime: &'r Runtime, head: &RequestHeader) -> Self {
        let mut rng = Rng::new();
        let own = new_id(&mut rng);
        let decision = RequestId::of(own);
        let id = accepted_id(&head.headers).unwrap_or_else(|| decision.clone());
        let trace = TraceContext::of(&head.headers, own, rng.u64(1..));
        let mut context = Self::with(runtime, id, decision, trace);
        context.record_trace(head);
        context.head_read = true;
        context.head_only = head.method == Method::HEAD;
        context.place = context.snapshot.tenants.place(head);
        context.page = cors::allowed(&head.headers, &context.snapshot.allowed_origins);
        context
    }

    /// For a request whose head could not be read.
    pub fn of_unreadable(runtime: &'r Runtime) -> Self {
        let own = new_id(&mut Rng::new());
        let id = RequestId::of(own);
        Self::with(runtime, id.clone(), id, TraceContext::begin(own, 0))
    }

    fn with(runtime: &'r Runtime, id: RequestId, decision: RequestId, trace: TraceContext) -> Self {
        runtime.metrics.in_flight().inc();
        let snapshot = runtime.snapshot();
        Self {
            runtime,
            place: None,
            tenant: snapshot.tenants.house.clone(),
            snapshot,
            trace,
            recording: None,
            traced_on_word: None,
            head_read: false,
            head_only: false,
            session: None,
            page: None,
            certificate: None,
            record: Record::new(id, decision),
        }
    }

    /// Begins to take notes where the trace is recorded.
    fn record_trace(&mut self, head: &RequestHeader) {
        let Some(traces) = &self.snapshot.traces else {
            return;
        };
        let now = self.runtime.board.time.now();
        let recorded = traces.records(&self.trace, &self.runtime.asked_traces, now);
        let is_recorded = recorded != Recorded::No;
        self.trace = self.trace.sampled(is_recorded);
        self.recording = is_recorded.then(|| Box::new(Recording::begin(head, now)));
        self.traced_on_word = (recorded == Recorded::OnWord).then_some(now);
    }

    /// Whoever calls is nobody: their word is not enough to have the trace recorded.
    pub fn leave_untraced(&mut self) {
        if let Some(taken) = self.traced_on_word.take() {
            self.runtime.asked_traces.gives_back(taken);
            self.recording = None;
            self.trace = self.trace.sampled(false);
        }
    }

    /// It is none of the requests that are recorded, whoever calls.
    pub fn leave_unrecorded(&mut self) {
        self.leave_untraced();
        self.recording = None;
    }

    /// The trace, where it is of more than this call: it is recorded, or the caller's.
    pub fn known_trace(&self) -> Option<TraceContext> {
        let is_known = self.recording.is_some() || self.trace.parent().is_some();
        is_known.then_some(self.trace)
    }

    /// The trace as the provider is told it: within the span of the attempt, where there is one.
    pub fn outgoing_trace(&self) -> TraceContext {
        let span = self.recording.as_ref().and_then(|notes| notes.span());
        span.map_or(self.trace, |span| self.trace.within(span))
    }

    /// Notes that an attempt is made from now on.
    pub fn attempts(&mut self, member: &Member<'_>) {
        if let Some(notes) = &mut self.recording {
            notes.attempt(member, self.record.started);
        }
    }

    /// Notes that the attempt had an answer of this status, if it had one, and came to nothing.
    pub fn attempt_failed(&mut self, status: Option<u16>, error: &'static str) {
        if let Some(notes) = &mut self.recording {
            notes.failed(status, error, self.record.started);
        }
    }

    /// Notes that the attempt's answer is passed on.
    pub fn attempt_answered(&mut self, status: u16) {
        if let Some(notes) = &mut self.recording {
            notes.answered(status);
        }
    }

    /// Notes of which model the attempt's answer says that it is.
    pub fn attempt_says(&mut self, model: Option<Box<str>>) {
        if let Some(notes) = &mut self.recording {
            notes.said(model);
        }
    }

    /// Whose host was called: the house's where it is no tenant's.
    pub fn at(&self) -> &Arc<Tenant> {
        let place = self.place.as_ref();
        place.map_or(&self.snapshot.tenants.house, |place| &place.tenant)
    }

    /// For whom the caller acts or, of nobody who is known, whose host was called.
    pub fn whose(&self) -> &Arc<Tenant> {
        match self.record.identity {
            Some(_) => &self.tenant,
            None => self.at(),
        }
    }

    /// Where the caller found us.
    pub fn site(&self) -> &Site {
        let place = self.place.as_ref();
        place.map_or(&self.snapshot.tenants.site, |place| &place.site)
    }
}

/// A request's id: visible ASCII, ready to be a header's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    fn of(id: Uuid) -> Self {
        let mut text = Uuid::encode_buffer();
        let text = id.hyphenated().encode_lower(&mut text);
        // Digits and hyphens always are a header's value.
        Self(HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("invalid")))
    }

    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or("invalid")
    }

    pub fn header(&self) -> &HeaderValue {
        &self.0
    }
}

/// A UUID version 7. Unique, not secret: the quick generator does.
fn new_id(rng: &mut Rng) -> Uuid {
    let millis = std::time::UNIX_EPOCH
        .elapsed()
        .map_or(0, |since| since.as_millis() as u64);
    let random = rng.u128(..).to_le_bytes();
    let mut tail = [0; 10];
    tail.copy_from_slice(&random[..10]);
    Builder::from_unix_timestamp_millis(millis, &tail).into_uuid()
}

/// The caller's own id, when it is one that logs can hold.
fn accepted_id(headers: &HeaderMap) -> Option<RequestId> {
    let id = headers.get(REQUEST_ID)?;
    let is_plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_.:".contains(b);
    let accepted = (1..=128).contains(&id.len()) && id.as_bytes().iter().all(is_plain);
    accepted.then(|| RequestId(id.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_accepted_when_plain() {
        let with = |id: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-request-id", id.parse().unwrap());
            accepted_id(&headers).map(|id| id.as_str().to_owned())
        };
        assert_eq!(with("build-7.2:a_b").as_deref(), Some("build-7.2:a_b"));
        assert_eq!(with("two words"), None);
        assert_eq!(with(&"x".repeat(129)), None);
        assert_eq!(with(""), None);
    }

    #[test]
    fn ids_are_version_7_and_differ() {
        let mut rng = Rng::new();
        let (a, b) = (new_id(&mut rng), new_id(&mut rng));
        assert_eq!(a.get_version_num(), 7);
        assert_ne!(a, b);
        assert_eq!(RequestId::of(a).as_str(), a.to_string());
    }
}
