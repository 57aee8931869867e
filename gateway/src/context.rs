//! What one request carries through its stages.

use std::fmt;
use std::sync::Arc;

use fastrand::Rng;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use pingora::http::RequestHeader;
use uuid::{Builder, Uuid};

use crate::answer_head::REQUEST_ID;
use crate::record::Record;
use crate::request::cors;
use crate::runtime::Runtime;
use crate::snapshot::Snapshot;
use crate::tenant::{Place, Site, Tenant};
use crate::upstream::affinity::Session;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A request's context: the one snapshot it sees, and the record of it.
pub struct Context<'r> {
    pub runtime: &'r Runtime,
    pub snapshot: Arc<Snapshot>,
    /// The tenant's whose host was called; `None` = no tenant's.
    pub place: Option<Arc<Place>>,
    /// For whom the caller acts, once that is known.
    pub tenant: Arc<Tenant>,
    pub trace: Trace,
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
        let caller = head.headers.get(TRACEPARENT);
        let trace = caller
            .and_then(Trace::parse)
            .unwrap_or(Trace::begin(own))
            .within(rng.u64(1..));
        let mut context = Self::with(runtime, id, decision, trace);
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
        Self::with(runtime, id.clone(), id, Trace::begin(own))
    }

    fn with(runtime: &'r Runtime, id: RequestId, decision: RequestId, trace: Trace) -> Self {
        runtime.metrics.in_flight().inc();
        let snapshot = runtime.snapshot();
        Self {
            runtime,
            place: None,
            tenant: snapshot.tenants.house.clone(),
            snapshot,
            trace,
            head_read: false,
            head_only: false,
            session: None,
            page: None,
            certificate: None,
            record: Record::new(id, decision),
        }
    }

    /// Whose host was called: the house's where it is no tenant's.
    pub fn at(&self) -> &Arc<Tenant> {
        let place = self.place.as_ref();
        place.map_or(&self.snapshot.tenants.house, |place| &place.tenant)
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

/// W3C Trace Context, version 00: the caller's trace with a span of ours, or a trace named after
/// the request. Its `Display` is the `traceparent` header's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    id: u128,
    span: u64,
    flags: u8,
}

impl Trace {
    fn begin(request: Uuid) -> Self {
        Self {
            id: request.as_u128(),
            span: 0,
            flags: 0,
        }
    }

    fn parse(value: &HeaderValue) -> Option<Self> {
        let text = value.to_str().ok()?;
        let mut parts = text.split('-');
        let fields = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
        let [version, id, span, flags] = fields;
        let is_hex = |text: &str| {
            text.bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        let well_formed = parts.next().is_none()
            && version == "00"
            && fields.map(str::len) == [2, 32, 16, 2]
            && fields.into_iter().all(is_hex);
        let trace = Self {
            id: u128::from_str_radix(id, 16).ok()?,
            span: u64::from_str_radix(span, 16).ok()?,
            flags: u8::from_str_radix(flags, 16).ok()?,
        };
        (well_formed && trace.id != 0 && trace.span != 0).then_some(trace)
    }

    /// The trace's id, in hexadecimal digits.
    pub fn id(&self) -> [u8; 32] {
        let mut digits = [0; 32];
        for (nth, digit) in digits.iter_mut().enumerate() {
            let four = (self.id >> (124 - 4 * nth)) as u8 & 15;
            *digit = b"0123456789abcdef"[usize::from(four)];
        }
        digits
    }

    fn within(self, span: u64) -> Self {
        Self { span, ..self }
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // By hand: every call writes one.
        let mut text = *b"00-................................-................-..";
        hex(self.id, &mut text[3..35]);
        hex(self.span.into(), &mut text[36..52]);
        hex(self.flags.into(), &mut text[53..]);
        f.write_str(str::from_utf8(&text).unwrap_or_default())
    }
}

/// The last digits of a number, as many as there is room for.
fn hex(mut number: u128, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_continued() {
        let sent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let trace = Trace::parse(&HeaderValue::from_static(sent)).unwrap();
        assert_eq!(trace.to_string(), sent);
        assert_eq!(
            trace.within(0xabc).to_string(),
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000abc-01"
        );
        for broken in [
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "garbage",
            "",
        ] {
            assert_eq!(
                Trace::parse(&HeaderValue::from_static(broken)),
                None,
                "{broken}"
            );
        }
    }

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
