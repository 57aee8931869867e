//! From calls that are over to OTLP: what of them is told.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use std::time::Duration;

use turnpike_api::Usage;

use super::attributes::{self as names, Attributes};
use super::recording::{Attempt, Finished};
use crate::record::Ending;

const NAME: &str = "turnpike";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Bits of a span's flags: who is its parent is known, and it is another process.
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// All of these calls, as a collector takes them. `replica` tells this process from others.
pub fn request(calls: &[Finished], replica: &str) -> ExportTraceServiceRequest {
    let mut attributes = Attributes::default();
    attributes.text("service.name", NAME);
    attributes.text("service.version", VERSION);
    attributes.text("service.instance.id", replica);
    attributes.text("host.name", &gethostname::gethostname().to_string_lossy());
    let scope = InstrumentationScope {
        name: NAME.to_owned(),
        version: VERSION.to_owned(),
        ..InstrumentationScope::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: attributes.0,
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans {
                scope: Some(scope),
                spans: calls.iter().flat_map(Finished::to_spans).collect(),
                schema_url: String::new(),
            }],
            schema_url: String::new(),
        }],
    }
}

/// How a call or an attempt ended, as a span says it.
struct End {
    status: Option<u16>,
    error: Option<String>,
    /// The side that the span is of is to blame.
    is_failure: bool,
}

impl Finished {
    fn to_spans(&self) -> Vec<Span> {
        let attempts = self.recording.attempts();
        let last = attempts.len().saturating_sub(1);
        let of_attempts = attempts
            .iter()
            .enumerate()
            .map(|(nth, attempt)| self.attempt(nth, attempt, nth == last));
        std::iter::once(self.call()).chain(of_attempts).collect()
    }

    /// The call, as its caller sees it.
    fn call(&self) -> Span {
        let recording = &self.recording;
        let method = names::method_name(recording.method());
        let route = self.operation.and_then(names::route);
        let mut of = Attributes::default();
        of.text(names::METHOD, method);
        of.maybe(names::ROUTE, route);
        of.maybe(
            names::PROTOCOL_VERSION,
            names::version_name(recording.version()),
        );
        of.maybe(names::OPERATION, self.operation.map(names::operation_name));
        of.maybe(names::REQUEST_MODEL, self.model.as_deref());
        of.truth(names::REQUEST_STREAM, self.stream);
        // The one that served, or was tried last.
        if let Some(attempt) = recording.attempts().last() {
            let provider = names::provider_name(&attempt.kind, &attempt.provider);
            of.text(names::PROVIDER, provider);
            of.maybe(names::RESPONSE_MODEL, attempt.said.as_deref());
        }
        of.text(names::REQUEST_ID, self.request.as_str());
        of.text(names::DECISION_ID, self.decision.as_str());
        of.maybe(names::TENANT, self.tenant.as_deref());
        let end = self.end();
        let name = match (method, route) {
            ("_OTHER", _) => "HTTP".to_owned(),
            (method, Some(route)) => format!("{method} {route}"),
            (method, None) => method.to_owned(),
        };
        let parent = self.trace.parent();
        Span {
            parent_span_id: parent.map_or(Vec::new(), |span| span.to_be_bytes().to_vec()),
            flags: self.flags(parent.is_some()),
            ..self.span(
                (name, SpanKind::Server),
                self.trace.span(),
                (Duration::ZERO, self.took),
                (of, end),
            )
        }
    }

    /// One attempt at a provider.
    fn attempt(&self, nth: usize, attempt: &Attempt, is_last: bool) -> Span {
        let operation = self.operation.map_or("", names::operation_name);
        let mut of = Attributes::default();
        of.text(names::OPERATION, operation);
        let provider = names::provider_name(&attempt.kind, &attempt.provider);
        of.text(names::PROVIDER, provider);
        of.text(names::REQUEST_MODEL, &attempt.model);
        of.maybe(names::RESPONSE_MODEL, attempt.said.as_deref());
        of.truth(names::REQUEST_STREAM, self.stream);
        let (address, port) = attempt.endpoint.server();
        of.text(names::SERVER_ADDRESS, address);
        of.number(names::SERVER_PORT, port.into());
        of.text(names::OWN_PROVIDER, &attempt.provider);
        of.text(names::CREDENTIAL, &attempt.credential);
        of.number(names::ATTEMPT, nth as u64 + 1);
        let serves = is_last && attempt.failed.is_none();
        let first_chunk = self.first_chunk.filter(|_| serves);
        if let Some(at) = first_chunk {
            of.seconds(names::FIRST_CHUNK_AFTER, at.saturating_sub(attempt.began));
        }
        if let Some(usage) = self.usage.filter(|_| serves) {
            put_usage(&mut of, &usage);
        }
        let (ended, end) = match &attempt.failed {
            Some(failed) => (failed.at, End::failed(attempt.status, failed.error)),
            None => (self.took, self.end_of_last(attempt.status)),
        };
        let event = |at: Duration| Event {
            time_unix_nano: self.at(at),
            name: "gen_ai.first_chunk".to_owned(),
            ..Event::default()
        };
        Span {
            parent_span_id: self.trace.span().to_be_bytes().to_vec(),
            flags: self.flags(false),
            events: first_chunk.map(event).into_iter().collect(),
            ..self.span(
                (format!("{operation} {}", attempt.model), SpanKind::Client),
                attempt.span,
                (attempt.began, ended),
                (of, end),
            )
        }
    }

    /// What all spans have.
    fn span(
        &self,
        (name, kind): (String, SpanKind),
        id: u64,
        (began, ended): (Duration, Duration),
        (mut of, end): (Attributes, End),
    ) -> Span {
        if let Some(status) = end.status {
            of.number(names::STATUS, status.into());
        }
        of.maybe(names::ERROR_TYPE, end.error.as_deref());
        let code = match end.is_failure {
            true => StatusCode::Error,
            false => StatusCode::Unset,
        };
        Span {
            trace_id: self.trace.id().to_be_bytes().to_vec(),
            span_id: id.to_be_bytes().to_vec(),
            trace_state: self.recording.state().to_owned(),
            name,
            kind: kind.into(),
            start_time_unix_nano: self.at(began),
            end_time_unix_nano: self.at(ended),
            attributes: of.0,
            status: Some(Status {
                code: code.into(),
                message: String::new(),
            }),
            ..Span::default()
        }
    }

    fn flags(&self, is_remote: bool) -> u32 {
        let remote = if is_remote { IS_REMOTE } else { 0 };
        u32::from(self.trace.flags()) | HAS_IS_REMOTE | remote
    }

    fn at(&self, since: Duration) -> u64 {
        let since = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        self.recording.began().saturating_add(since)
    }

    /// How the call ended for its caller. What is the caller's own fault is no failure of ours.
    fn end(&self) -> End {
        let (ending, status) = (self.ending, self.ending.status());
        let (status, is_failure) = match ending {
            Ending::Answered { .. } | Ending::Refused { .. } => (Some(status), status >= 500),
            Ending::Incomplete { .. } => (Some(status), true),
            // None went out.
            Ending::ClientGone => (None, false),
            Ending::Aborted => (None, true),
        };
        let failed = status
            .filter(|_| is_failure)
            .map(|status| status.to_string());
        End {
            status,
            error: ending.wrong().map(str::to_owned).or(failed),
            is_failure,
        }
    }

    /// How the attempt ended whose answer, if it had one, was passed on.
    fn end_of_last(&self, status: Option<u16>) -> End {
        let refused = status.filter(|status| *status >= 400);
        let refused = refused.map(|status| status.to_string());
        let error = self.ending.wrong().map(str::to_owned).or(refused);
        End {
            status,
            is_failure: error.is_some() && !matches!(self.ending, Ending::ClientGone),
            error,
        }
    }
}

impl End {
    fn failed(status: Option<u16>, error: &str) -> Self {
        Self {
            status,
            error: Some(error.to_owned()),
            is_failure: true,
        }
    }
}

fn put_usage(of: &mut Attributes, usage: &Usage) {
    of.number(names::INPUT_TOKENS, usage.input);
    of.number(names::OUTPUT_TOKENS, usage.output);
    for (name, tokens) in [
        (names::CACHE_READ_TOKENS, usage.cache_read),
        (names::CACHE_WRITE_TOKENS, usage.cache_write),
        (names::REASONING_TOKENS, usage.reasoning),
    ] {
        if tokens > 0 {
            of.number(name, tokens);
        }
    }
}
