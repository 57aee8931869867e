//! What the body of a refusal says, or the event that ended a stream. It is read the same for all
//! vendors: one that speaks another's protocol passes on the words of a third.

use std::time::Duration;

use serde_json::Value;

use super::{Said, times};
use crate::complaint::{self, Complaint};

pub(super) fn read(now: u64, body: &[u8], said: &mut Said) {
    let Some(root) = complaint::root(body) else {
        return;
    };
    let error = complaint::error_within(&root);
    for place in [error, &root] {
        said.state(number(&place["resets_in_seconds"]).and_then(times::seconds));
        said.state(resets_at(now, &place["resets_at"]));
        said.state(retry_after(&place["retry_after"]));
    }
    let details = error["details"].as_array();
    let details = details.map(Vec::as_slice).unwrap_or_default();
    said.state(details.iter().filter_map(retry_info).max());
    let complaint = Complaint::of(&root);
    said.whole |= complaint.is(&["usage_limit_reached"]);
    // What a day allows is not back in the seconds that the words name.
    if !details.iter().any(is_of_a_day) {
        said.infer(try_again_in(&complaint.message));
    }
}

/// Seconds or milliseconds since 1970, or RFC 3339.
fn resets_at(now: u64, value: &Value) -> Option<Duration> {
    match number(value) {
        Some(at) => times::epoch(now, at),
        None => times::rfc3339(now, value.as_str()?),
    }
}

/// Seconds, or a text with a unit.
fn retry_after(value: &Value) -> Option<Duration> {
    match value {
        Value::String(text) => times::span(text.trim()),
        other => times::seconds(other.as_f64()?),
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => times::decimal(text.trim()),
        other => other.as_f64(),
    }
}

/// `{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34.07s"}`
fn retry_info(detail: &Value) -> Option<Duration> {
    if !is_a(detail, "google.rpc.RetryInfo") {
        return None;
    }
    match &detail["retryDelay"] {
        Value::String(text) => times::span(text),
        Value::Object(parts) => {
            let part = |name| match parts.get(name) {
                None => Some(0.0),
                Some(value) => number(value),
            };
            let delay = times::seconds(part("seconds")? + part("nanos")? / 1e9);
            delay.filter(|_| !parts.is_empty())
        }
        _ => None,
    }
}

/// A violation of a quota whose name says that it is a day's.
fn is_of_a_day(detail: &Value) -> bool {
    let names_day = |violation: &Value| {
        let quota = violation["quotaId"].as_str();
        quota.is_some_and(|quota| quota.contains("PerDay"))
    };
    let violations = detail["violations"].as_array();
    is_a(detail, "google.rpc.QuotaFailure")
        && violations.is_some_and(|violations| violations.iter().any(names_day))
}

fn is_a(detail: &Value, name: &str) -> bool {
    let kind = detail["@type"].as_str();
    kind.is_some_and(|kind| kind.ends_with(name))
}

/// OpenAI's "Please try again in 1.2s", Azure's "Please retry after 20 seconds", Google's "Please
/// retry in 34.07s". The last one: what was said of the call stands before it.
fn try_again_in(message: &str) -> Option<Duration> {
    let message = message.to_ascii_lowercase();
    let after = |words: &str| Some(message.rfind(words)? + words.len());
    let at = ["try again in ", "retry after ", "retry in "]
        .into_iter()
        .filter_map(after)
        .max()?;
    times::leading_span(&message[at..]).map(|(wait, _)| wait)
}
