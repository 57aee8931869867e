//! What a refusal looks like, by the table in `gateway/src/refusal.rs`.

use turnpike_api::Dialect;

use crate::harness::{Answer, House, until};

/// A row of the table: reason, status, OpenAI's type and code, Anthropic's type, Gemini's status.
type Row = (
    &'static str,
    u16,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

const INVALID: &str = "invalid_request_error";

const TABLE: &[Row] = &[
    (
        "credential_missing",
        401,
        "authentication_error",
        "invalid_api_key",
        "authentication_error",
        "UNAUTHENTICATED",
    ),
    (
        "credential_malformed",
        401,
        "authentication_error",
        "invalid_api_key",
        "authentication_error",
        "UNAUTHENTICATED",
    ),
    (
        "credential_unknown",
        401,
        "authentication_error",
        "invalid_api_key",
        "authentication_error",
        "UNAUTHENTICATED",
    ),
    (
        "authorization_denied",
        403,
        "permission_error",
        "permission_denied",
        "permission_error",
        "PERMISSION_DENIED",
    ),
    (
        "model_denied",
        403,
        "permission_error",
        "permission_denied",
        "permission_error",
        "PERMISSION_DENIED",
    ),
    (
        "model_not_found",
        404,
        INVALID,
        "model_not_found",
        "not_found_error",
        "NOT_FOUND",
    ),
    (
        "invalid_body",
        400,
        INVALID,
        "invalid_body",
        INVALID,
        "INVALID_ARGUMENT",
    ),
    (
        "invalid_model",
        400,
        INVALID,
        "invalid_model",
        INVALID,
        "INVALID_ARGUMENT",
    ),
    (
        "invalid_request",
        400,
        INVALID,
        "invalid_request",
        INVALID,
        "INVALID_ARGUMENT",
    ),
    (
        "unsupported_path_for_model",
        400,
        INVALID,
        "unsupported_path_for_model",
        INVALID,
        "INVALID_ARGUMENT",
    ),
    (
        "body_too_large",
        413,
        INVALID,
        "request_too_large",
        "request_too_large",
        "INVALID_ARGUMENT",
    ),
    (
        "request_timeout",
        408,
        INVALID,
        "request_timeout",
        INVALID,
        "DEADLINE_EXCEEDED",
    ),
    (
        "unknown_path",
        404,
        INVALID,
        "unknown_path",
        "not_found_error",
        "NOT_FOUND",
    ),
    (
        "method_not_allowed",
        405,
        INVALID,
        "method_not_allowed",
        INVALID,
        "INVALID_ARGUMENT",
    ),
    (
        "proxy_request",
        405,
        INVALID,
        "proxy_request",
        INVALID,
        "INVALID_ARGUMENT",
    ),
    (
        "overloaded",
        503,
        "server_error",
        "overloaded",
        "overloaded_error",
        "UNAVAILABLE",
    ),
    (
        "model_cooldown",
        429,
        "rate_limit_error",
        "model_cooldown",
        "rate_limit_error",
        "RESOURCE_EXHAUSTED",
    ),
    (
        "no_credential",
        503,
        "server_error",
        "no_credential",
        "api_error",
        "UNAVAILABLE",
    ),
];

/// Asserts status, headers and the dialect's shape, and that the message says `says`.
#[track_caller]
pub fn assert_refused(answer: &Answer, dialect: Dialect, reason: &str, says: &str, case: &str) {
    let row = TABLE
        .iter()
        .find(|row| row.0 == reason)
        .expect("a row of the table");
    assert_eq!(answer.status, row.1, "{case}: {}", answer.text());
    let message = assert_shape(answer, dialect, row, case);
    assert!(
        message.contains(says),
        "{case}: {message:?} does not say {says:?}"
    );
    assert_headers(answer, dialect, case);
}

#[track_caller]
fn assert_shape(answer: &Answer, dialect: Dialect, row: &Row, case: &str) -> String {
    let body = answer.json();
    let error = &body["error"];
    let words = |names: &[&str]| {
        names
            .iter()
            .map(|name| error[*name].clone())
            .collect::<Vec<_>>()
    };
    match dialect {
        Dialect::OpenAi => {
            assert_eq!(words(&["type", "code"]), [row.2, row.3], "{case}");
            assert!(error.get("param").is_some(), "{case}: no param");
        }
        Dialect::Anthropic => {
            assert_eq!(
                (&body["type"], &error["type"]),
                (&"error".into(), &row.4.into()),
                "{case}"
            );
            assert_eq!(
                body["request_id"],
                answer.header("request-id").unwrap(),
                "{case}"
            );
        }
        Dialect::Gemini => {
            assert_eq!(
                (&error["code"], &error["status"]),
                (&row.1.into(), &row.5.into()),
                "{case}"
            );
        }
    }
    error["message"]
        .as_str()
        .unwrap_or_else(|| panic!("{case}: no message: {body}"))
        .to_owned()
}

#[track_caller]
fn assert_headers(answer: &Answer, dialect: Dialect, case: &str) {
    let status = answer.status;
    assert_eq!(
        answer.header("content-type"),
        Some("application/json"),
        "{case}"
    );
    let id = answer
        .header("x-request-id")
        .unwrap_or_else(|| panic!("{case}: no x-request-id"));
    assert!(!id.is_empty(), "{case}");
    assert_eq!(
        answer.header("request-id").is_some(),
        dialect == Dialect::Anthropic,
        "{case}"
    );
    let never_again = matches!(status, 401 | 403).then_some("false");
    assert_eq!(answer.header("x-should-retry"), never_again, "{case}");
    assert_eq!(
        answer.header("www-authenticate").is_some(),
        status == 401,
        "{case}"
    );
    assert_eq!(answer.header("allow").is_some(), status == 405, "{case}");
    let number = |name| answer.header(name).map(|n| n.parse::<u32>().unwrap());
    let pause = number("retry-after");
    assert_eq!(pause.is_some(), matches!(status, 429 | 503), "{case}");
    assert!((1..=60).contains(&pause.unwrap_or(1)), "{case}");
    let precise = number("retry-after-ms");
    assert_eq!(precise.is_some(), status == 429, "{case}");
    assert!((1..=60_000).contains(&precise.unwrap_or(1)), "{case}");
}

/// How many requests were refused for `reason`.
pub fn counted(house: &House, reason: &str) -> f64 {
    let label = format!("reason=\"{reason}\"");
    let text = house.metrics();
    let of_reason = text
        .lines()
        .filter(|line| line.starts_with("turnpike_requests_total{") && line.contains(&label));
    of_reason
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum()
}

/// Waits until `count` requests were refused for `reason`.
pub async fn until_counted(house: &House, reason: &str, count: f64) {
    until(|| counted(house, reason) >= count).await;
    assert_eq!(counted(house, reason), count, "{reason}");
}
