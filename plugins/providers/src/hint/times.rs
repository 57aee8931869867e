//! Times as vendors write them, each as the wait until it. `None` is what is no time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What is longer is this long: nobody waits for it.
const LONGEST: f64 = u32::MAX as f64;

/// Epoch times above this are milliseconds. It is the year 5138 in seconds, 1973 in milliseconds.
const MILLISECONDS_ABOVE: f64 = 1e11;

/// A number of seconds.
pub(super) fn seconds(seconds: f64) -> Option<Duration> {
    // The lesser of "not a number" and another is the other.
    if !seconds.is_finite() {
        return None;
    }
    Duration::try_from_secs_f64(seconds.min(LONGEST)).ok()
}

/// Digits, perhaps with a fraction: neither signs nor exponents nor words.
pub(super) fn decimal(text: &str) -> Option<f64> {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    if plain { text.parse().ok() } else { None }
}

/// Seconds or milliseconds since 1970. Zero is what is written where no time is known.
pub(super) fn epoch(now: u64, at: f64) -> Option<Duration> {
    if !at.is_finite() || at <= 0.0 {
        return None;
    }
    let millis = if at > MILLISECONDS_ABOVE {
        at
    } else {
        at * 1e3
    };
    seconds((millis - now as f64).max(0.0) / 1e3)
}

/// A date as HTTP writes it.
pub(super) fn http_date(now: u64, text: &str) -> Option<Duration> {
    until(now, httpdate::parse_http_date(text).ok()?)
}

/// RFC 3339, in UTC.
pub(super) fn rfc3339(now: u64, text: &str) -> Option<Duration> {
    until(now, humantime::parse_rfc3339(text).ok()?)
}

fn until(now: u64, then: SystemTime) -> Option<Duration> {
    let then = then.duration_since(UNIX_EPOCH).ok()?;
    let wait = then.saturating_sub(Duration::from_millis(now));
    seconds(wait.as_secs_f64())
}

/// Go's way, `1h2m3.5s`; a number without a unit is seconds.
pub(super) fn span(text: &str) -> Option<Duration> {
    if let Some(number) = decimal(text) {
        return seconds(number);
    }
    match leading_span(text)? {
        (wait, "") => Some(wait),
        _ => None,
    }
}

/// The time a text begins with, `6m0s` or `20 seconds`, and what comes after it.
pub(super) fn leading_span(text: &str) -> Option<(Duration, &str)> {
    let mut total = None;
    let mut rest = text;
    while let Some((part, after)) = leading_part(rest) {
        total = Some(total.unwrap_or(0.0) + part);
        rest = after;
    }
    Some((seconds(total?)?, rest))
}

/// One number with its unit, in seconds.
fn leading_part(text: &str) -> Option<(f64, &str)> {
    let text = text.trim_start_matches(' ');
    let (number, rest) = split_while(text, |c| c.is_ascii_digit() || c == '.');
    let (unit, rest) = split_while(rest.trim_start_matches(' '), char::is_alphabetic);
    let scale = match unit {
        "d" | "day" | "days" => 86_400.0,
        "h" | "hour" | "hours" => 3_600.0,
        "m" | "min" | "minute" | "minutes" => 60.0,
        "s" | "sec" | "second" | "seconds" => 1.0,
        "ms" | "millisecond" | "milliseconds" => 1e-3,
        "us" | "µs" | "μs" => 1e-6,
        "ns" => 1e-9,
        _ => return None,
    };
    Some((decimal(number)? * scale, rest))
}

fn split_while(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}
