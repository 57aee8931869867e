//! What is noted of a call whose trace is recorded.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, Version};
use pingora::http::RequestHeader;
use turnpike_api::{Operation, Usage};

use crate::context::RequestId;
use crate::record::{Ending, Record};
use crate::trace_context::{self, TraceContext};
use crate::upstream::{Endpoint, Member};

/// A call, while it lasts.
pub struct Recording {
    /// When it began, in nanoseconds since 1970.
    began: u64,
    method: Method,
    version: Version,
    /// What others have noted of the trace.
    state: Option<String>,
    attempts: Vec<Attempt>,
}

/// An attempt at a provider. The last one is still under way when the call ends, unless it failed.
pub(super) struct Attempt {
    pub(super) span: u64,
    /// Since the call's beginning, as all times here.
    pub(super) began: Duration,
    pub(super) failed: Option<Failed>,
    /// Of its answer.
    pub(super) status: Option<u16>,
    /// The model that its answer says it is of.
    pub(super) said: Option<Box<str>>,
    pub(super) provider: Arc<str>,
    pub(super) kind: Arc<str>,
    pub(super) credential: Arc<str>,
    pub(super) model: Arc<str>,
    pub(super) endpoint: Endpoint,
}

pub(super) struct Failed {
    pub(super) at: Duration,
    pub(super) error: &'static str,
}

/// A call that is over.
pub struct Finished {
    pub(super) trace: TraceContext,
    pub(super) recording: Recording,
    pub(super) took: Duration,
    pub(super) request: RequestId,
    pub(super) decision: RequestId,
    pub(super) operation: Option<Operation>,
    pub(super) tenant: Option<Box<str>>,
    pub(super) model: Option<Arc<str>>,
    pub(super) stream: bool,
    pub(super) usage: Option<Usage>,
    pub(super) first_chunk: Option<Duration>,
    pub(super) ending: Ending,
}

impl Recording {
    /// Of a call that begins now, in milliseconds since 1970.
    pub fn begin(head: &RequestHeader, now: u64) -> Self {
        Self {
            began: now * 1_000_000,
            method: head.method.clone(),
            version: head.version,
            state: trace_context::state(&head.headers),
            attempts: Vec::new(),
        }
    }

    /// An attempt is made from now on.
    pub fn attempt(&mut self, member: &Member<'_>, call_began: Instant) {
        self.attempts.push(Attempt {
            span: fastrand::u64(1..),
            began: call_began.elapsed(),
            failed: None,
            status: None,
            said: None,
            provider: member.credential.vendor.name.clone(),
            kind: member.credential.vendor.kind.clone(),
            credential: member.credential.id.clone(),
            model: member.model.clone(),
            endpoint: member.credential.endpoint.clone(),
        });
    }

    /// The attempt has an answer, which is passed on.
    pub fn answered(&mut self, status: u16) {
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.status = Some(status);
        }
    }

    /// The answer that is passed on says of which model it is.
    pub fn said(&mut self, model: Option<Box<str>>) {
        if let Some(attempt) = self.attempts.last_mut() {
            attempt.said = model;
        }
    }

    /// The attempt came to nothing.
    pub fn failed(&mut self, status: Option<u16>, error: &'static str, call_began: Instant) {
        if let Some(attempt) = self.attempts.last_mut() {
            let at = call_began.elapsed();
            attempt.status = status;
            attempt.failed = Some(Failed { at, error });
        }
    }

    /// The span of the attempt under way.
    pub fn span(&self) -> Option<u64> {
        self.attempts.last().map(|attempt| attempt.span)
    }

    /// The call is over, as its record says.
    pub fn end(self, trace: TraceContext, record: &Record) -> Finished {
        let identity = record.identity.as_deref();
        Finished {
            trace,
            recording: self,
            took: record.started.elapsed(),
            request: record.id.clone(),
            decision: record.decision.clone(),
            operation: record.operation,
            tenant: identity.and_then(|of| of.attributes.tenant.as_deref().map(Box::from)),
            model: record.model.clone(),
            stream: record.stream,
            usage: record.usage,
            first_chunk: record.first_chunk,
            ending: record.ending,
        }
    }

    pub(super) fn began(&self) -> u64 {
        self.began
    }

    pub(super) fn method(&self) -> &Method {
        &self.method
    }

    pub(super) fn version(&self) -> Version {
        self.version
    }

    pub(super) fn state(&self) -> &str {
        self.state.as_deref().unwrap_or_default()
    }

    pub(super) fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }
}

impl Finished {
    /// How many spans it makes.
    pub fn spans(&self) -> usize {
        1 + self.recording.attempts.len()
    }
}
