//! What one request carries through its stages.

use std::sync::Arc;

use fastrand::Rng;
use http::{HeaderMap, HeaderValue, Method};
use pingora::http::RequestHeader;
use uuid::{Builder, Uuid};

use crate::record::Record;
use crate::runtime::Runtime;
use crate::snapshot::Snapshot;

/// A request's context: the one snapshot it sees, and the record of it.
pub struct Context<'r> {
    pub runtime: &'r Runtime,
    pub snapshot: Arc<Snapshot>,
    /// The request's id as a header's value.
    pub id: HeaderValue,
    /// Continues the caller's trace, or begins one.
    pub traceparent: HeaderValue,
    /// The caller's head could be read.
    pub head_read: bool,
    /// The caller asked for the head of an answer only.
    pub head_only: bool,
    pub record: Record,
}

impl<'r> Context<'r> {
    pub fn new(runtime: &'r Runtime, head: &RequestHeader) -> Self {
        let mut rng = Rng::new();
        let own = new_id(&mut rng);
        let id = accepted_id(&head.headers).unwrap_or_else(|| own.hyphenated().to_string().into());
        let traceparent = traceparent(head.headers.get("traceparent"), own, rng.u64(1..));
        let mut context = Self::with(runtime, id, traceparent);
        context.head_read = true;
        context.head_only = head.method == Method::HEAD;
        context
    }

    /// For a request whose head could not be read.
    pub fn of_unreadable(runtime: &'r Runtime) -> Self {
        let mut rng = Rng::new();
        let own = new_id(&mut rng);
        Self::with(
            runtime,
            own.hyphenated().to_string().into(),
            traceparent(None, own, rng.u64(1..)),
        )
    }

    fn with(runtime: &'r Runtime, id: Box<str>, traceparent: String) -> Self {
        runtime.metrics.in_flight().inc();
        let value = |text: &str| {
            // Both were made of, or checked to be, visible ASCII.
            HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("invalid"))
        };
        Self {
            runtime,
            snapshot: runtime.snapshot(),
            id: value(&id),
            traceparent: value(&traceparent),
            head_read: false,
            head_only: false,
            record: Record::new(id),
        }
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
fn accepted_id(headers: &HeaderMap) -> Option<Box<str>> {
    let id = headers.get("x-request-id")?.to_str().ok()?;
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
    ((1..=128).contains(&id.len()) && id.bytes().all(is_plain)).then(|| id.into())
}

/// W3C Trace Context, version 00: the caller's trace with a span of ours, or a trace named after
/// the request.
fn traceparent(caller: Option<&HeaderValue>, own: Uuid, span: u64) -> String {
    let continued = caller
        .and_then(|value| value.to_str().ok())
        .and_then(|value| {
            let (trace, flags) = (value.get(3..35)?, value.get(53..55)?);
            let is_hex = |text: &str| {
                text.bytes()
                    .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
            };
            let well_formed = value.len() == 55
                && value.starts_with("00-")
                && value.as_bytes()[35] == b'-'
                && value.as_bytes()[52] == b'-'
                && [trace, flags, &value[36..52]].into_iter().all(is_hex)
                && trace.bytes().any(|b| b != b'0');
            well_formed.then_some((trace, flags))
        });
    match continued {
        Some((trace, flags)) => format!("00-{trace}-{span:016x}-{flags}"),
        None => format!("00-{}-{span:016x}-00", own.simple()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_continued_or_begun() {
        let own = new_id(&mut Rng::new());
        let sent =
            HeaderValue::from_static("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        assert_eq!(
            traceparent(Some(&sent), own, 0xabc),
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000abc-01"
        );
        for broken in [
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "garbage",
            "",
        ] {
            let begun = traceparent(Some(&HeaderValue::from_static(broken)), own, 1);
            assert_eq!(
                begun,
                format!("00-{}-0000000000000001-00", own.simple()),
                "{broken}"
            );
        }
    }

    #[test]
    fn ids_are_accepted_when_plain() {
        let with = |id: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-request-id", id.parse().unwrap());
            accepted_id(&headers)
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
    }
}
