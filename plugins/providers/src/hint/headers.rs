//! What the headers of a refusal say.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};

use super::{Said, times};

/// `Retry-After`, in seconds or as a date, and OpenAI's `retry-after-ms`.
pub(super) fn retry_after(now: u64, headers: &HeaderMap, said: &mut Said) {
    for text in all(headers, "retry-after") {
        let seconds = times::decimal(text).and_then(times::seconds);
        said.state(seconds.or_else(|| times::http_date(now, text)));
    }
    for text in all(headers, "retry-after-ms") {
        said.state(times::decimal(text).and_then(|millis| times::seconds(millis / 1e3)));
    }
}

/// A vendor that has no such headers.
pub(crate) fn no_windows(_: u64, _: &HeaderMap, _: &mut Said) {}

/// OpenAI's: the windows of which nothing remains, and how long until they are full.
pub(crate) fn openai_windows(_: u64, headers: &HeaderMap, said: &mut Said) {
    for [remaining, reset] in [
        [
            "x-ratelimit-remaining-requests",
            "x-ratelimit-reset-requests",
        ],
        ["x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"],
    ] {
        if used_up(headers, remaining) {
            said.infer(first(headers, reset).and_then(times::span));
        }
    }
}

/// Anthropic's: a subscription's unified windows, and a key's own, as OpenAI's but with the time
/// at which they are full.
pub(crate) fn anthropic_windows(now: u64, headers: &HeaderMap, said: &mut Said) {
    unified_windows(now, headers, said);
    for window in ["requests", "tokens", "input-tokens", "output-tokens"] {
        let of = |what| format!("anthropic-ratelimit-{window}-{what}");
        if used_up(headers, &of("remaining")) {
            let reset = first(headers, &of("reset"));
            said.infer(reset.and_then(|text| times::rfc3339(now, text)));
        }
    }
}

/// A subscription is refused while any of its windows is rejected, so that the last one to reset
/// counts. `-unified-reset` is that of one window, the representative one: it counts where the
/// rejected one does not say.
fn unified_windows(now: u64, headers: &HeaderMap, said: &mut Said) {
    let status = first(headers, "anthropic-ratelimit-unified-status");
    let rejected = rejected_windows(headers);
    // A subscription may pay for more than its windows have: then they do not count.
    if !status.map_or(!rejected.is_empty(), is_rejected) {
        return;
    }
    let claim = first(headers, "anthropic-ratelimit-unified-representative-claim");
    let is_models = |window: &&str| window.contains('_');
    let (models, accounts): (Vec<_>, Vec<_>) = rejected.into_iter().partition(is_models);
    let whole = match (accounts.as_slice(), models.as_slice()) {
        ([], []) => {
            claim.is_none_or(|claim| ["five_hour", "seven_day", "overage"].contains(&claim))
        }
        (accounts, _) => !accounts.is_empty(),
    };
    let reset = |name: &str| at(now, first(headers, name)?);
    let of_window = |window: &str| reset(&format!("anthropic-ratelimit-unified-{window}-reset"));
    let rejected = if whole { accounts } else { models };
    let last = rejected.into_iter().filter_map(of_window).max();
    said.state(
        last.or_else(|| of_window(window_of(claim?)?))
            .or_else(|| reset("anthropic-ratelimit-unified-reset")),
    );
    said.whole |= whole;
}

/// The windows by their names in headers: the account's `5h` and `7d`, a model's `7d_opus`. Not
/// `overage`, which many accounts have switched off: that stands in every answer.
fn rejected_windows(headers: &HeaderMap) -> Vec<&str> {
    let windows = headers.iter().filter_map(|(name, value)| {
        let window = name
            .as_str()
            .strip_prefix("anthropic-ratelimit-unified-")?
            .strip_suffix("-status")?;
        let names_length = window.starts_with(|c: char| c.is_ascii_digit());
        (names_length && text(value).is_some_and(is_rejected)).then_some(window)
    });
    windows.collect()
}

fn is_rejected(status: &str) -> bool {
    status.eq_ignore_ascii_case("rejected")
}

/// How headers name the window that a claim names.
fn window_of(claim: &str) -> Option<&'static str> {
    match claim {
        "five_hour" => Some("5h"),
        "seven_day" => Some("7d"),
        _ => None,
    }
}

/// Seconds since 1970, or RFC 3339.
fn at(now: u64, text: &str) -> Option<Duration> {
    match times::decimal(text) {
        Some(number) => times::epoch(now, number),
        None => times::rfc3339(now, text),
    }
}

fn used_up(headers: &HeaderMap, remaining: &str) -> bool {
    first(headers, remaining)
        .and_then(times::decimal)
        .is_some_and(|remaining| remaining == 0.0)
}

fn first<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    all(headers, name).next()
}

fn all<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = &'h str> {
    let values = headers.get_all(name).into_iter();
    values.filter_map(text)
}

/// Go writes `µs`, which is beyond what headers show as text.
fn text(value: &HeaderValue) -> Option<&str> {
    std::str::from_utf8(value.as_bytes()).ok().map(str::trim)
}
