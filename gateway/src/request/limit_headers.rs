//! What an answer tells its caller of the caller's own limits (F35): of requests and of tokens, the
//! one with the least left. The provider's own are of the credential behind the pool, and stay here.

use bytes::{BufMut, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use turnpike_api::{Dialect, Limit, Measure, Window};

use super::select::Lease;
use crate::upstream::roll::time;

/// The names of limit, remaining and reset.
type Names = [HeaderName; 3];

const OPENAI_REQUESTS: Names = [
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
];
const OPENAI_TOKENS: Names = [
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
];
const ANTHROPIC_REQUESTS: Names = [
    HeaderName::from_static("anthropic-ratelimit-requests-limit"),
    HeaderName::from_static("anthropic-ratelimit-requests-remaining"),
    HeaderName::from_static("anthropic-ratelimit-requests-reset"),
];
const ANTHROPIC_TOKENS: Names = [
    HeaderName::from_static("anthropic-ratelimit-tokens-limit"),
    HeaderName::from_static("anthropic-ratelimit-tokens-remaining"),
    HeaderName::from_static("anthropic-ratelimit-tokens-reset"),
];

/// What is left of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    pub measure: Measure,
    pub most: u64,
    pub remaining: u64,
    /// When there is something again, by the store's time; `None` = never.
    pub resets_at: Option<u64>,
    /// By the same.
    pub now: u64,
}

impl Left {
    /// Of a limit, in the period that ends so.
    pub fn new(limit: &Limit, remaining: u64, period_end: Option<u64>, now: u64) -> Self {
        Self {
            measure: limit.measure,
            most: limit.most,
            remaining,
            resets_at: match limit.window {
                // It makes room all the time.
                Window::Running | Window::Sliding(_) => Some(now + 1000),
                Window::Calendar(..) => period_end,
                Window::Total => None,
            },
            now,
        }
    }

    /// Tells a caller of this dialect, which has names for requests and for tokens alone.
    pub fn tell(&self, headers: &mut HeaderMap, dialect: Dialect) {
        let Some([most, remaining, reset]) = names(self.measure, dialect) else {
            return;
        };
        // The three of them share one piece of memory.
        let mut text = BytesMut::with_capacity(96);
        let mut put = |name, text: &mut BytesMut| {
            if let Ok(value) = HeaderValue::from_maybe_shared(text.split().freeze()) {
                headers.insert(name, value);
            }
        };
        number(self.most, &mut text);
        put(most, &mut text);
        number(self.remaining, &mut text);
        put(remaining, &mut text);
        if let Some(at) = self.resets_at {
            match dialect {
                Dialect::Anthropic => text.put_slice(time(at).as_bytes()),
                Dialect::OpenAi | Dialect::Gemini => {
                    duration(at.saturating_sub(self.now), &mut text);
                }
            }
            put(reset, &mut text);
        }
    }
}

fn names(measure: Measure, dialect: Dialect) -> Option<Names> {
    match (measure, dialect) {
        (Measure::Requests, Dialect::Anthropic) => Some(ANTHROPIC_REQUESTS),
        (Measure::Requests, Dialect::OpenAi | Dialect::Gemini) => Some(OPENAI_REQUESTS),
        (Measure::Tokens, Dialect::Anthropic) => Some(ANTHROPIC_TOKENS),
        (Measure::Tokens, Dialect::OpenAi | Dialect::Gemini) => Some(OPENAI_TOKENS),
        (Measure::InputTokens | Measure::OutputTokens | Measure::Usd | Measure::Concurrency, _) => {
            None
        }
    }
}

/// Tells the caller what is left of its limits; `now` is the store's time.
pub fn mark(headers: &mut HeaderMap, lease: &Lease<'_, '_>, dialect: Dialect, now: u64) {
    for measure in [Measure::Requests, Measure::Tokens] {
        let of_measure = lease.limits().filter(|(limit, _)| limit.measure == measure);
        let tightest = of_measure.min_by_key(|(_, account)| account.remaining());
        if let Some((limit, account)) = tightest {
            let end = Some(account.period().end);
            Left::new(limit, account.remaining(), end, now).tell(headers, dialect);
        }
    }
}

fn number(number: u64, text: &mut BytesMut) {
    text.put_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// As OpenAI writes them: `1s`, `6m0s`, `2h0m5s`.
fn duration(millis: u64, text: &mut BytesMut) {
    let seconds = millis.div_ceil(1000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut put = |count: u64, unit: u8| {
        number(count, text);
        text.put_u8(unit);
    };
    if hours > 0 {
        put(hours, b'h');
    }
    if hours > 0 || minutes > 0 {
        put(minutes, b'm');
    }
    put(seconds, b's');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_openai_writes_them() {
        for (millis, expected) in [
            (0, "0s"),
            (1, "1s"),
            (59_000, "59s"),
            (360_000, "6m0s"),
            (7_205_000, "2h0m5s"),
        ] {
            let mut text = BytesMut::new();
            duration(millis, &mut text);
            assert_eq!(text, expected);
        }
    }
}
