//! What a provider says went wrong, and whose fault that is.

use serde_json::Value;
use turnpike_api::{Fault, Judgement};

/// An error as any of the dialects writes it. Its words decide little: callers can have them
/// repeated, so a message counts only by how it begins.
#[derive(Debug, Default)]
pub(crate) struct Complaint {
    /// `error.code`, where it is text.
    pub(crate) code: String,
    /// `error.code`, where it is a number: most vendors put an HTTP status there.
    pub(crate) number: Option<u16>,
    /// `error.type`
    pub(crate) kind: String,
    /// `error.status` (Google).
    pub(crate) status: String,
    /// `error.message`
    pub(crate) message: String,
    /// `error.details[].reason` (Google).
    pub(crate) reasons: Vec<String>,
    /// OpenRouter says that the caller's words were flagged, not the key.
    pub(crate) flagged: bool,
}

impl Complaint {
    /// Reads an answer's body or an event's data; empty where it is none of the known forms.
    pub(crate) fn read(body: &[u8]) -> Self {
        root(body).map_or_else(Self::default, |root| Self::of(&root))
    }

    /// What the top-level `error` of an event complains of, if it has one: one further down is part
    /// of the answer.
    pub(crate) fn within(data: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(data).ok()?;
        (!value["error"].is_null()).then(|| Self::of(&value))
    }

    pub(crate) fn of(root: &Value) -> Self {
        let error = error_within(root);
        let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
        let details = error["details"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        Self {
            code: text("code"),
            number: error["code"].as_u64().and_then(|code| code.try_into().ok()),
            kind: text("type"),
            status: text("status"),
            // ChatGPT writes nothing but a `detail`.
            message: [error, &error["message"], &error["detail"]]
                .into_iter()
                .find_map(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            reasons: details
                .iter()
                .filter_map(|detail| detail["reason"].as_str().map(str::to_owned))
                .collect(),
            flagged: error["metadata"]["flagged_input"].is_string(),
        }
    }

    /// Whether its code or type is one of `names`.
    pub(crate) fn is(&self, names: &[&str]) -> bool {
        names.contains(&self.code.as_str()) || names.contains(&self.kind.as_str())
    }

    /// Whose fault it is when there is no status to go by: within a stream.
    pub(crate) fn judge_in_stream(&self) -> Judgement {
        for word in [&self.code, &self.kind, &self.status] {
            if let Some(judgement) = judge_word(word) {
                return judgement;
            }
        }
        match self.number {
            Some(status @ 400..=599) => judge_status(status),
            _ => Judgement::Fault(Fault::ServerError),
        }
    }
}

/// An answer's body or an event's data. Gemini's stream without `alt=sse` is an array, and so are
/// its errors.
pub(crate) fn root(body: &[u8]) -> Option<Value> {
    match serde_json::from_slice(body).ok()? {
        Value::Array(items) => items.into_iter().next(),
        value => Some(value),
    }
}

/// The part that has the error's members. Mistral writes them without a wrapper; so does the
/// Responses API in its stream, within `response` when the whole response failed.
pub(crate) fn error_within(root: &Value) -> &Value {
    [&root["error"], &root["response"]["error"]]
        .into_iter()
        .find(|error| !error.is_null())
        .unwrap_or(root)
}

/// By the words OpenAI, Anthropic and Google use.
fn judge_word(word: &str) -> Option<Judgement> {
    let fault = match word {
        "rate_limit_error"
        | "rate_limit_exceeded"
        | "usage_limit_reached"
        | "RESOURCE_EXHAUSTED" => Fault::RateLimited,
        "insufficient_quota"
        | "billing_hard_limit_reached"
        | "billing_not_active"
        | "billing_error"
        | "usage_not_included" => Fault::PaymentRequired,
        "authentication_error" | "invalid_api_key" | "UNAUTHENTICATED" => Fault::Unauthorized,
        "permission_error" | "PERMISSION_DENIED" => Fault::Forbidden,
        "model_not_found" | "NOT_FOUND" => Fault::ModelNotFound,
        "overloaded_error" | "server_is_overloaded" | "slow_down" | "UNAVAILABLE" => {
            Fault::Overloaded
        }
        "timeout_error" | "DEADLINE_EXCEEDED" => Fault::Timeout,
        "api_error" | "server_error" | "INTERNAL" => Fault::ServerError,
        "invalid_request_error"
        | "invalid_prompt"
        | "context_length_exceeded"
        | "content_filter"
        | "request_too_large"
        | "INVALID_ARGUMENT" => {
            return Some(Judgement::Caller);
        }
        _ => return None,
    };
    Some(Judgement::Fault(fault))
}

/// By the status alone.
pub(crate) fn judge_status(status: u16) -> Judgement {
    Judgement::Fault(match status {
        200..=299 => return Judgement::Good,
        401 => Fault::Unauthorized,
        402 => Fault::PaymentRequired,
        403 => Fault::Forbidden,
        408 | 504 => Fault::Timeout,
        429 => Fault::RateLimited,
        503 | 529 => Fault::Overloaded,
        400..=499 => return Judgement::Caller,
        // No LLM API redirects, and the gateway follows none.
        _ => Fault::ServerError,
    })
}

/// By the status, unless `refine` knows better from an error's body.
pub(crate) fn judge(
    status: u16,
    body: &[u8],
    refine: impl FnOnce(u16, &Complaint) -> Option<Judgement>,
) -> Judgement {
    if !(400..500).contains(&status) {
        return judge_status(status);
    }
    refine(status, &Complaint::read(body)).unwrap_or_else(|| judge_status(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_within_a_stream() {
        for (data, expected) in [
            (
                r#"{"type":"error","error":{"type":"overloaded_error"}}"#,
                Fault::Overloaded,
            ),
            (
                r#"{"error":{"message":"x","type":"server_error","code":null}}"#,
                Fault::ServerError,
            ),
            (
                r#"{"error":{"code":429,"message":"x"}}"#,
                Fault::RateLimited,
            ),
            (
                r#"{"error":{"code":503,"status":"UNAVAILABLE"}}"#,
                Fault::Overloaded,
            ),
            (
                r#"{"type":"error","code":"rate_limit_exceeded"}"#,
                Fault::RateLimited,
            ),
            (
                r#"{"response":{"error":{"code":"insufficient_quota"}}}"#,
                Fault::PaymentRequired,
            ),
            (r#"{"error":"out of memory"}"#, Fault::ServerError),
            ("no json", Fault::ServerError),
        ] {
            let judgement = Complaint::read(data.as_bytes()).judge_in_stream();
            assert_eq!(judgement, Judgement::Fault(expected), "{data}");
        }
        let caller = br#"{"error":{"type":"invalid_request_error","message":"too long"}}"#;
        assert_eq!(Complaint::read(caller).judge_in_stream(), Judgement::Caller);
    }
}
