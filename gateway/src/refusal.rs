//! The one place where a refusal becomes a status, headers and a body in the caller's dialect.
//!
//! Clients and dashboards know refusals by these words: a reason keeps them. `every_reason_has_its_words` below
//! lists them.

use std::borrow::Cow;
use std::fmt::Write as _;

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderName, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use turnpike_api::{Dialect, Operation};

use crate::answer_head::answer_head;
use crate::request::limit_headers::Left;

const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");

/// Why a request was refused. Closed: a new reason makes the compiler ask for its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    AuditUnavailable,
    AuthorizationDenied,
    BindingMismatch,
    BodyTooLarge,
    BudgetSpent,
    CredentialMalformed,
    CredentialMissing,
    CredentialUnknown,
    Draining,
    InvalidBody,
    InvalidModel,
    InvalidRequest,
    LimitsUnavailable,
    MethodNotAllowed,
    ModelCooldown,
    ModelDenied,
    ModelNotFound,
    NoCredential,
    Overloaded,
    PermissionDenied,
    ProxyRequest,
    QuotaSpent,
    RateLimited,
    RequestTimeout,
    SessionExpired,
    StorageUnavailable,
    TokenRevoked,
    UnknownPath,
    UnsupportedPathForModel,
    UpstreamFailed,
    UpstreamIncomplete,
    UpstreamTimeout,
    UpstreamUnreachable,
}

/// A reason's words in the three dialects.
pub struct Words {
    pub reason: &'static str,
    pub status: u16,
    openai_type: &'static str,
    openai_code: &'static str,
    anthropic_type: &'static str,
    gemini_status: &'static str,
}

impl Reason {
    /// Every reason, for tables and tests.
    pub const ALL: [Self; 33] = [
        Self::AuditUnavailable,
        Self::AuthorizationDenied,
        Self::BindingMismatch,
        Self::BodyTooLarge,
        Self::BudgetSpent,
        Self::CredentialMalformed,
        Self::CredentialMissing,
        Self::CredentialUnknown,
        Self::Draining,
        Self::InvalidBody,
        Self::InvalidModel,
        Self::InvalidRequest,
        Self::LimitsUnavailable,
        Self::MethodNotAllowed,
        Self::ModelCooldown,
        Self::ModelDenied,
        Self::ModelNotFound,
        Self::NoCredential,
        Self::Overloaded,
        Self::PermissionDenied,
        Self::ProxyRequest,
        Self::QuotaSpent,
        Self::RateLimited,
        Self::RequestTimeout,
        Self::SessionExpired,
        Self::StorageUnavailable,
        Self::TokenRevoked,
        Self::UnknownPath,
        Self::UnsupportedPathForModel,
        Self::UpstreamFailed,
        Self::UpstreamIncomplete,
        Self::UpstreamTimeout,
        Self::UpstreamUnreachable,
    ];

    /// The table of refusals, row by row.
    pub fn words(self) -> Words {
        let words =
            |reason, status, openai_type, openai_code, anthropic_type, gemini_status| Words {
                reason,
                status,
                openai_type,
                openai_code,
                anthropic_type,
                gemini_status,
            };
        let caller = |reason, status| {
            words(
                reason,
                status,
                INVALID,
                reason,
                "invalid_request_error",
                "INVALID_ARGUMENT",
            )
        };
        let unauthenticated = |reason| {
            words(
                reason,
                401,
                AUTH,
                "invalid_api_key",
                "authentication_error",
                "UNAUTHENTICATED",
            )
        };
        let denied = |reason| {
            words(
                reason,
                403,
                "permission_error",
                "permission_denied",
                "permission_error",
                "PERMISSION_DENIED",
            )
        };
        let spent = |reason| {
            words(
                reason,
                403,
                "insufficient_quota",
                "insufficient_quota",
                "permission_error",
                EXHAUSTED,
            )
        };
        let limited = |reason, code| {
            words(
                reason,
                429,
                "rate_limit_error",
                code,
                "rate_limit_error",
                EXHAUSTED,
            )
        };
        let upstream = |reason, status, gemini_status| {
            words(
                reason,
                status,
                "server_error",
                reason,
                "api_error",
                gemini_status,
            )
        };
        let unavailable = |reason| {
            words(
                reason,
                503,
                "server_error",
                reason,
                "overloaded_error",
                "UNAVAILABLE",
            )
        };
        match self {
            Self::CredentialMissing => unauthenticated("credential_missing"),
            Self::CredentialMalformed => unauthenticated("credential_malformed"),
            Self::CredentialUnknown => unauthenticated("credential_unknown"),
            Self::TokenRevoked => unauthenticated("token_revoked"),
            Self::SessionExpired => unauthenticated("session_expired"),
            Self::BindingMismatch => unauthenticated("binding_mismatch"),
            Self::AuthorizationDenied => denied("authorization_denied"),
            Self::ModelDenied => denied("model_denied"),
            Self::PermissionDenied => denied("permission_denied"),
            Self::BudgetSpent => spent("budget_spent"),
            Self::QuotaSpent => spent("quota_spent"),
            Self::RateLimited => limited("rate_limited", "rate_limit_exceeded"),
            Self::ModelCooldown => limited("model_cooldown", "model_cooldown"),
            Self::NoCredential => upstream("no_credential", 503, "UNAVAILABLE"),
            Self::ModelNotFound => words(
                "model_not_found",
                404,
                INVALID,
                "model_not_found",
                "not_found_error",
                "NOT_FOUND",
            ),
            Self::InvalidBody => caller("invalid_body", 400),
            Self::InvalidModel => caller("invalid_model", 400),
            Self::InvalidRequest => caller("invalid_request", 400),
            Self::UnsupportedPathForModel => caller("unsupported_path_for_model", 400),
            Self::BodyTooLarge => words(
                "body_too_large",
                413,
                INVALID,
                "request_too_large",
                "request_too_large",
                "INVALID_ARGUMENT",
            ),
            Self::RequestTimeout => words(
                "request_timeout",
                408,
                INVALID,
                "request_timeout",
                "invalid_request_error",
                "DEADLINE_EXCEEDED",
            ),
            Self::UnknownPath => words(
                "unknown_path",
                404,
                INVALID,
                "unknown_path",
                "not_found_error",
                "NOT_FOUND",
            ),
            Self::MethodNotAllowed => caller("method_not_allowed", 405),
            Self::ProxyRequest => caller("proxy_request", 405),
            Self::UpstreamUnreachable => upstream("upstream_unreachable", 502, "UNAVAILABLE"),
            Self::UpstreamFailed => upstream("upstream_failed", 502, "UNAVAILABLE"),
            Self::UpstreamIncomplete => upstream("upstream_incomplete", 502, "UNAVAILABLE"),
            Self::UpstreamTimeout => upstream("upstream_timeout", 504, "DEADLINE_EXCEEDED"),
            Self::AuditUnavailable => unavailable("audit_unavailable"),
            Self::Overloaded => unavailable("overloaded"),
            Self::Draining => unavailable("draining"),
            Self::StorageUnavailable => unavailable("storage_unavailable"),
            Self::LimitsUnavailable => unavailable("limits_unavailable"),
        }
    }
}

const AUTH: &str = "authentication_error";
const INVALID: &str = "invalid_request_error";
const EXHAUSTED: &str = "RESOURCE_EXHAUSTED";

/// A refusal: its reason, and what a person at an agent reads.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub reason: Reason,
    pub message: Cow<'static, str>,
    /// The methods there are, for a 405.
    pub allow: Option<&'static str>,
    /// When to try again, for a [`Reason::ModelCooldown`].
    pub comeback: Option<Box<Comeback>>,
    /// The limit that fell, where one did.
    pub limit: Option<Box<Told>>,
    /// In the place of the reason's own, where the operator chose another.
    pub status: Option<u16>,
}

/// What is told of a limit that fell. Amounts are as the configuration writes them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Told {
    pub name: String,
    pub scope: &'static str,
    pub measure: &'static str,
    pub window: &'static str,
    pub limit: serde_json::Number,
    pub remaining: serde_json::Number,
    /// RFC 3339; `None` = it does not begin anew.
    pub reset_time: Option<String>,
    /// Milliseconds until it is worth trying again.
    #[serde(skip)]
    pub wait: u64,
    /// For the headers in which clients look for it; none where the limit is not the caller's.
    #[serde(skip)]
    pub left: Option<Left>,
}

/// When a model that nobody can serve now is back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comeback {
    pub model: String,
    /// Whose credential it is that is back first.
    pub provider: String,
    /// RFC 3339, in whole seconds.
    pub time: String,
    /// From now, rounded up.
    pub seconds: u64,
    millis: u64,
}

/// A longer `Retry-After` makes agents hang without a word to their user.
const LONGEST_RETRY_AFTER: u64 = 60;

impl Comeback {
    /// `back` and `now` are milliseconds since 1970.
    pub fn new(model: String, provider: &str, back: u64, now: u64) -> Self {
        let millis = back.saturating_sub(now).max(1);
        let second = i64::try_from(back.div_ceil(1000)).unwrap_or(i64::MAX);
        // No quota begins anew beyond the calendar's end.
        let time = Timestamp::from_second(second).unwrap_or(Timestamp::MAX);
        Self {
            model,
            provider: provider.to_owned(),
            time: time.to_string(),
            seconds: millis.div_ceil(1000),
            millis,
        }
    }
}

impl Refusal {
    pub fn new(reason: Reason, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            reason,
            message: message.into(),
            allow: None,
            comeback: None,
            limit: None,
            status: None,
        }
    }

    pub fn status(&self) -> u16 {
        self.status.unwrap_or(self.reason.words().status)
    }

    /// The body, in the caller's dialect.
    pub fn body(&self, dialect: Dialect, request_id: &str) -> Bytes {
        let body = match dialect {
            Dialect::Anthropic => {
                let mut body = self.anthropic();
                body["request_id"] = json!(request_id);
                body
            }
            Dialect::OpenAi => json!({ "error": self.openai() }),
            Dialect::Gemini => json!({ "error": self.gemini() }),
        };
        body.to_string().into()
    }

    /// The head that goes with a body of `len` bytes.
    pub fn head(&self, dialect: Dialect, request_id: &HeaderValue, len: usize) -> Parts {
        let plain = HeaderValue::from_static;
        let status = StatusCode::from_u16(self.status());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut head = answer_head(status, request_id, dialect, 0);
        if let Some(left) = self.limit.as_deref().and_then(|limit| limit.left) {
            left.tell(&mut head.headers, dialect);
        }
        let mut insert = |name: HeaderName, value: HeaderValue| {
            head.headers.insert(name, value);
        };
        insert(header::CONTENT_TYPE, plain("application/json"));
        insert(header::CONTENT_LENGTH, len.into());
        if matches!(self.reason, Reason::BudgetSpent | Reason::QuotaSpent) {
            // It is not back soon: whoever is told to try again would try in vain, and in silence.
            insert(SHOULD_RETRY, plain("false"));
            return head;
        }
        match status.as_u16() {
            // Claude Code repeats a bare 401 in silence for 40 s; this makes agents show the text.
            401 => {
                insert(header::WWW_AUTHENTICATE, plain("Bearer"));
                insert(SHOULD_RETRY, plain("false"));
            }
            403 => insert(SHOULD_RETRY, plain("false")),
            405 => insert(header::ALLOW, plain(self.allow.unwrap_or("GET, POST"))),
            503 => insert(header::RETRY_AFTER, plain("1")),
            429 => {
                let comeback = self.comeback.as_deref().map(|comeback| comeback.millis);
                let limit = self.limit.as_deref().map(|limit| limit.wait);
                let millis = comeback.or(limit).unwrap_or(1000);
                let millis = millis.min(LONGEST_RETRY_AFTER * 1000);
                insert(header::RETRY_AFTER, millis.div_ceil(1000).into());
                insert(RETRY_AFTER_MS, millis.into());
            }
            _ => {}
        }
        head
    }

    /// The event that ends a stream which has begun and cannot be completed.
    pub fn event(&self, operation: Operation) -> Bytes {
        let (name, data) = match (operation, operation.dialect()) {
            (Operation::Responses, _) => (
                Some("error"),
                json!({
                    "type": "error",
                    "code": self.reason.words().openai_code,
                    "message": self.message,
                    "param": null,
                    "sequence_number": 0,
                }),
            ),
            (_, Dialect::Anthropic) => (Some("error"), self.anthropic()),
            (_, Dialect::OpenAi) => (None, json!({ "error": self.openai() })),
            (_, Dialect::Gemini) => (None, json!({ "error": self.gemini() })),
        };
        let mut event = String::with_capacity(256);
        if let Some(name) = name {
            let _ = writeln!(event, "event: {name}");
        }
        let _ = write!(event, "data: {data}\n\n");
        event.into()
    }

    fn openai(&self) -> serde_json::Value {
        let words = self.reason.words();
        let param =
            matches!(self.reason, Reason::ModelNotFound | Reason::InvalidModel).then_some("model");
        let mut error = json!({
            "message": self.message,
            "type": words.openai_type,
            "param": param,
            "code": words.openai_code,
        });
        self.add_comeback(&mut error);
        error
    }

    /// The same fields in all dialects: their clients ignore what they do not know.
    fn add_comeback(&self, error: &mut serde_json::Value) {
        if let Some(limit) = &self.limit {
            error["limit"] = json!(limit);
        }
        if let Some(comeback) = &self.comeback {
            error["model"] = json!(comeback.model);
            error["provider"] = json!(comeback.provider);
            error["reset_time"] = json!(comeback.time);
            error["reset_seconds"] = json!(comeback.seconds);
        }
    }

    fn anthropic(&self) -> serde_json::Value {
        let words = self.reason.words();
        let mut error = json!({ "type": words.anthropic_type, "message": self.message });
        if self.comeback.is_some() || self.limit.is_some() {
            error["code"] = json!(words.openai_code);
        }
        self.add_comeback(&mut error);
        json!({ "type": "error", "error": error })
    }

    fn gemini(&self) -> serde_json::Value {
        let words = self.reason.words();
        let mut error = json!({
            "code": self.status(),
            "message": self.message,
            "status": words.gemini_status,
        });
        let limited = self.limit.as_deref();
        let limited = limited.filter(|_| self.reason == Reason::RateLimited);
        let comeback = self.comeback.as_deref().map(|comeback| comeback.seconds);
        let seconds = comeback.or(limited.map(|limit| limit.wait.div_ceil(1000)));
        if let Some(seconds) = seconds {
            // Where Google's clients look for it.
            error["details"] = json!([
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": words.openai_code,
                    "domain": "turnpike",
                },
                {
                    "@type": "type.googleapis.com/google.rpc.RetryInfo",
                    "retryDelay": format!("{}s", seconds.min(LONGEST_RETRY_AFTER)),
                },
            ]);
        }
        self.add_comeback(&mut error);
        error
    }
}

/// What to say of a request whose head could not even be read.
pub fn unreadable_head(too_slow: bool) -> Refusal {
    if too_slow {
        Refusal::new(
            Reason::RequestTimeout,
            "the request's head did not arrive in time",
        )
    } else {
        Refusal::new(
            Reason::InvalidRequest,
            "the request is not well-formed HTTP: its request line or a header cannot be read",
        )
    }
}

/// Whether a status may carry a body at all.
pub fn is_bodiless(status: u16) -> bool {
    matches!(status, 100..=199 | 204 | 304)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_words() {
        let table: Vec<String> = Reason::ALL
            .iter()
            .map(|reason| {
                let w = reason.words();
                format!(
                    "{} {} {}/{} {} {}",
                    w.reason,
                    w.status,
                    w.openai_type,
                    w.openai_code,
                    w.anthropic_type,
                    w.gemini_status
                )
            })
            .collect();
        assert_eq!(
            table,
            [
                "audit_unavailable 503 server_error/audit_unavailable overloaded_error UNAVAILABLE",
                "authorization_denied 403 permission_error/permission_denied permission_error PERMISSION_DENIED",
                "binding_mismatch 401 authentication_error/invalid_api_key authentication_error UNAUTHENTICATED",
                "body_too_large 413 invalid_request_error/request_too_large request_too_large INVALID_ARGUMENT",
                "budget_spent 403 insufficient_quota/insufficient_quota permission_error RESOURCE_EXHAUSTED",
                "credential_malformed 401 authentication_error/invalid_api_key authentication_error UNAUTHENTICATED",
                "credential_missing 401 authentication_error/invalid_api_key authentication_error UNAUTHENTICATED",
                "credential_unknown 401 authentication_error/invalid_api_key authentication_error UNAUTHENTICATED",
                "draining 503 server_error/draining overloaded_error UNAVAILABLE",
                "invalid_body 400 invalid_request_error/invalid_body invalid_request_error INVALID_ARGUMENT",
                "invalid_model 400 invalid_request_error/invalid_model invalid_request_error INVALID_ARGUMENT",
                "invalid_request 400 invalid_request_error/invalid_request invalid_request_error INVALID_ARGUMENT",
                "limits_unavailable 503 server_error/limits_unavailable overloaded_error UNAVAILABLE",
                "method_not_allowed 405 invalid_request_error/method_not_allowed invalid_request_error INVALID_ARGUMENT",
                "model_cooldown 429 rate_limit_error/model_cooldown rate_limit_error RESOURCE_EXHAUSTED",
                "model_denied 403 permission_error/permission_denied permission_error PERMISSION_DENIED",
                "model_not_found 404 invalid_request_error/model_not_found not_found_error NOT_FOUND",
                "no_credential 503 server_error/no_credential api_error UNAVAILABLE",
                "overloaded 503 server_error/overloaded overloaded_error UNAVAILABLE",
                "permission_denied 403 permission_error/permission_denied permission_error PERMISSION_DENIED",
                "proxy_request 405 invalid_request_error/proxy_request invalid_request_error INVALID_ARGUMENT",
                "quota_spent 403 insufficient_quota/insufficient_quota permission_error RESOURCE_EXHAUSTED",
                "rate_limited 429 rate_limit_error/rate_limit_exceeded rate_limit_error RESOURCE_EXHAUSTED",
                "request_timeout 408 invalid_request_error/request_timeout invalid_request_error DEADLINE_EXCEEDED",
                "session_expired 401 authentication_error/invalid_api_key authentication_error UNAUTHENTICATED",
                "storage_unavailable 503 server_error/storage_unavailable overloaded_error UNAVAILABLE",
                "token_revoked 401 authentication_error/invalid_api_key authentication_error UNAUTHENTICATED",
                "unknown_path 404 invalid_request_error/unknown_path not_found_error NOT_FOUND",
                "unsupported_path_for_model 400 invalid_request_error/unsupported_path_for_model invalid_request_error INVALID_ARGUMENT",
                "upstream_failed 502 server_error/upstream_failed api_error UNAVAILABLE",
                "upstream_incomplete 502 server_error/upstream_incomplete api_error UNAVAILABLE",
                "upstream_timeout 504 server_error/upstream_timeout api_error DEADLINE_EXCEEDED",
                "upstream_unreachable 502 server_error/upstream_unreachable api_error UNAVAILABLE",
            ]
        );
    }

    #[test]
    fn the_dialects_shapes() {
        let refusal = Refusal::new(Reason::ModelNotFound, "no \"x\"");
        let body = |dialect| -> serde_json::Value {
            serde_json::from_slice(&refusal.body(dialect, "req-1")).unwrap()
        };
        assert_eq!(
            body(Dialect::OpenAi),
            json!({"error": {"message": "no \"x\"", "type": "invalid_request_error", "param": "model", "code": "model_not_found"}})
        );
        assert_eq!(
            body(Dialect::Anthropic),
            json!({"type": "error", "error": {"type": "not_found_error", "message": "no \"x\""}, "request_id": "req-1"})
        );
        assert_eq!(
            body(Dialect::Gemini),
            json!({"error": {"code": 404, "message": "no \"x\"", "status": "NOT_FOUND"}})
        );
    }
}
