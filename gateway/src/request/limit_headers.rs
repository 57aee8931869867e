//! What an answer tells its caller of the caller's own limits (F35): of requests and of tokens, the
//! one with the least left. The provider's own are of the credential behind the pool, and stay here.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use turnpike_api::{Dialect, Limit, Measure, Window};
use turnpike_limits::Account;

use super::admit::Admission;
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

/// Tells the caller what is left of its limits; `now` is the store's time.
pub fn mark(headers: &mut HeaderMap, admission: &Admission<'_>, dialect: Dialect, now: u64) {
    let Some(reservation) = admission.reservation() else {
        return;
    };
    for (measure, openai, anthropic) in [
        (Measure::Requests, OPENAI_REQUESTS, ANTHROPIC_REQUESTS),
        (Measure::Tokens, OPENAI_TOKENS, ANTHROPIC_TOKENS),
    ] {
        let of_measure = reservation
            .limits()
            .filter(|(limit, _)| limit.measure == measure);
        let tightest = of_measure.min_by_key(|(_, account)| account.remaining());
        if let Some((limit, account)) = tightest {
            let names = match dialect {
                Dialect::Anthropic => anthropic,
                Dialect::OpenAi | Dialect::Gemini => openai,
            };
            let [most, remaining, reset] = names;
            let values = values(limit, account, dialect, now);
            headers.insert(most, values.0);
            headers.insert(remaining, values.1);
            if let Some(value) = values.2 {
                headers.insert(reset, value);
            }
        }
    }
}

/// Limit, remaining and reset; the last is none where it never begins anew.
fn values(
    limit: &Limit,
    account: &Account,
    dialect: Dialect,
    now: u64,
) -> (HeaderValue, HeaderValue, Option<HeaderValue>) {
    let end = match limit.window {
        // It makes room all the time.
        Window::Running | Window::Sliding(_) => Some(now + 1000),
        Window::Calendar(..) => Some(account.period().end),
        Window::Total => None,
    };
    let reset = end.map(|end| match dialect {
        Dialect::Anthropic => time(end).into(),
        Dialect::OpenAi | Dialect::Gemini => duration(end.saturating_sub(now)),
    });
    let reset = reset.and_then(|reset| HeaderValue::from_maybe_shared(reset).ok());
    (limit.most.into(), account.remaining().into(), reset)
}

/// As OpenAI writes them: `1s`, `6m0s`, `2h0m5s`.
fn duration(millis: u64) -> Bytes {
    let seconds = millis.div_ceil(1000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut text = BytesMut::with_capacity(32);
    let mut put = |count: u64, unit: u8| {
        text.put_slice(itoa::Buffer::new().format(count).as_bytes());
        text.put_u8(unit);
    };
    if hours > 0 {
        put(hours, b'h');
    }
    if hours > 0 || minutes > 0 {
        put(minutes, b'm');
    }
    put(seconds, b's');
    text.freeze()
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
            assert_eq!(duration(millis), expected);
        }
    }
}
