//! W3C Trace Context, level 1 (and of later versions what it says of them): which trace a request is part of.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Of what is known of a `traceparent`.
const LENGTH: usize = 55;

/// The trace is recorded by those whose flag this is.
const SAMPLED: u8 = 1;

/// The trace's id was drawn by lot (level 2); it is still so further on.
const RANDOM: u8 = 2;

/// The caller's trace with a span of ours, or a trace named after the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    id: u128,
    /// The caller's span; 0 = the trace begins here.
    parent: u64,
    span: u64,
    flags: u8,
}

/// A trace's id, in hexadecimal digits.
pub struct TraceId([u8; 32]);

impl TraceId {
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl TraceContext {
    /// The caller's, where it sent one that is well formed; a new one otherwise. `request` names it,
    /// `span` is the gateway's own.
    pub fn of(headers: &HeaderMap, request: Uuid, span: u64) -> Self {
        let mut sent = headers.get_all(TRACEPARENT).iter();
        // Of two, either could be anybody's.
        let caller = sent.next().filter(|_| sent.next().is_none());
        let caller = caller.and_then(Self::parse);
        caller.map_or(Self::begin(request, span), |caller| Self {
            parent: caller.span,
            span,
            ..caller
        })
    }

    /// A trace of the request alone.
    pub fn begin(request: Uuid, span: u64) -> Self {
        Self {
            id: request.as_u128(),
            parent: 0,
            span,
            flags: 0,
        }
    }

    fn parse(value: &HeaderValue) -> Option<Self> {
        let (known, more) = value.to_str().ok()?.split_at_checked(LENGTH)?;
        let mut parts = known.split('-');
        let fields = [parts.next()?, parts.next()?, parts.next()?, parts.next()?];
        let [version, id, span, flags] = fields;
        let is_hex = |text: &str| {
            text.bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        // A later version begins as this one does, and may go on. There is no version ff.
        let ends_well = match version {
            "00" => more.is_empty(),
            "ff" => false,
            _ => more.is_empty() || more.starts_with('-'),
        };
        let well_formed = parts.next().is_none()
            && ends_well
            && fields.map(str::len) == [2, 32, 16, 2]
            && fields.into_iter().all(is_hex);
        let trace = Self {
            id: u128::from_str_radix(id, 16).ok()?,
            parent: 0,
            span: u64::from_str_radix(span, 16).ok()?,
            // Others mean nothing yet, and are not to be passed on.
            flags: u8::from_str_radix(flags, 16).ok()? & (SAMPLED | RANDOM),
        };
        (well_formed && trace.id != 0 && trace.span != 0).then_some(trace)
    }

    /// The trace's id.
    pub fn id(&self) -> u128 {
        self.id
    }

    /// The trace's id, in hexadecimal digits.
    pub fn digits(&self) -> TraceId {
        let mut digits = [0; 32];
        hex(&self.id.to_be_bytes(), &mut digits);
        TraceId(digits)
    }

    /// The `traceparent` header's value. By hand: every call writes one.
    pub fn traceparent(&self) -> [u8; LENGTH] {
        let mut text = *b"00-................................-................-..";
        hex(&self.id.to_be_bytes(), &mut text[3..35]);
        hex(&self.span.to_be_bytes(), &mut text[36..52]);
        hex(&[self.flags], &mut text[53..]);
        text
    }

    /// The gateway's span.
    pub fn span(&self) -> u64 {
        self.span
    }

    /// The caller's span, where the trace is the caller's.
    pub fn parent(&self) -> Option<u64> {
        (self.parent != 0).then_some(self.parent)
    }

    /// Those that are passed on.
    pub fn flags(&self) -> u8 {
        self.flags
    }

    /// Whether who sent it, or the gateway since, records the trace.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The same, recorded or not.
    pub fn sampled(self, sampled: bool) -> Self {
        let flags = (self.flags & !SAMPLED) | (u8::from(sampled) * SAMPLED);
        Self { flags, ..self }
    }

    /// The same trace, within another span of the gateway's.
    pub fn within(self, span: u64) -> Self {
        Self { span, ..self }
    }
}

/// The bytes of a number, in hexadecimal digits.
fn hex(bytes: &[u8], digits: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

/// What others have noted of the trace, where all of it is well formed.
pub fn state(headers: &HeaderMap) -> Option<String> {
    let mut state = String::new();
    for value in headers.get_all(TRACESTATE) {
        for member in value.to_str().ok()?.split(',') {
            let member = member.trim_matches([' ', '\t']);
            if member.is_empty() {
                continue;
            }
            let (key, value) = member.split_once('=')?;
            if !is_key(key) || !is_value(value) {
                return None;
            }
            if !state.is_empty() {
                state.push(',');
            }
            state.push_str(member);
        }
    }
    let fits = state.len() <= 512 && state.split(',').count() <= 32;
    (fits && !state.is_empty()).then_some(state)
}

/// `simple` or `tenant@system`.
fn is_key(key: &str) -> bool {
    let part = |part: &str, most: usize, may_begin_with_digit: bool| {
        let mut letters = part.bytes();
        let first = letters.next().unwrap_or_default();
        let begins = first.is_ascii_lowercase() || may_begin_with_digit && first.is_ascii_digit();
        let goes_on = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-*/".contains(&b);
        begins && part.len() <= most && letters.all(goes_on)
    };
    match key.split_once('@') {
        None => part(key, 256, false),
        Some((tenant, system)) => part(tenant, 241, true) && part(system, 14, false),
    }
}

fn is_value(value: &str) -> bool {
    let plain = |b: u8| (b' '..=b'~').contains(&b) && b != b'=';
    (1..=256).contains(&value.len()) && value.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn text(trace: TraceContext) -> String {
        String::from_utf8(trace.traceparent().to_vec()).unwrap()
    }

    fn of(sent: &[&'static str]) -> TraceContext {
        let mut headers = HeaderMap::new();
        for value in sent {
            headers.append(TRACEPARENT, HeaderValue::from_static(value));
        }
        TraceContext::of(&headers, Uuid::from_u128(7), 0xabc)
    }

    #[test]
    fn a_trace_is_continued() {
        let trace = of(&[SENT]);
        assert_eq!(trace.parent(), Some(0x00f0_67aa_0ba9_02b7));
        assert!(trace.is_sampled());
        assert_eq!(
            text(trace),
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000abc-01"
        );
        assert_eq!(trace.digits().as_str(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(text(trace.sampled(false).within(1)).split_at(53).1, "00");
    }

    #[test]
    fn or_begun() {
        for broken in [
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "0F-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "garbage",
            "",
        ] {
            assert_eq!(
                of(&[broken]),
                TraceContext::begin(Uuid::from_u128(7), 0xabc),
                "{broken}"
            );
        }
        assert_eq!(of(&[SENT, SENT]).id(), 7, "of two, neither");
        assert_eq!(of(&[]).parent(), None);
    }

    #[test]
    fn later_versions_are_read_as_far_as_they_are_known() {
        for later in [
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "fe-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes-\u{7e}",
        ] {
            assert_eq!(of(&[later]), of(&[SENT]), "{later}");
            assert!(text(of(&[later])).starts_with("00-4bf9"));
        }
    }

    #[test]
    fn flags_that_mean_nothing_yet_end_here() {
        let trace = of(&["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-fe"]);
        assert!(text(trace).ends_with("-02"));
        assert!(!trace.is_sampled());
    }

    #[test]
    fn what_others_noted_is_taken_whole_or_not_at_all() {
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(TRACESTATE, HeaderValue::from_str(value).unwrap());
            }
            state(&headers)
        };
        assert_eq!(
            of(&["a=1, b@c=x y ,,", "0t@sys=/"]).as_deref(),
            Some("a=1,b@c=x y,0t@sys=/")
        );
        let long = format!("a={}", "x".repeat(257));
        let many = vec!["a=1"; 33].join(",");
        for broken in [
            "", " , ", "a", "A=1", "a=", "a=b=c", "1a=x", "a@b@c=1", "ä=1", &long, &many,
        ] {
            assert_eq!(of(&[broken]), None, "{broken}");
        }
    }
}
