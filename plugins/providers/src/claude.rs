//! Anthropic.

use http::{HeaderMap, HeaderName, HeaderValue};
use turnpike_api::{Call, Fault, Judgement, Meter, Operation, Provider, Secret, Target};

use crate::complaint::{self, Complaint};
use crate::openai::with_query;
use crate::{credential, metering};

/// How Anthropic's OAuth access tokens begin. They go in `authorization`, and want
/// `anthropic-beta: oauth-2025-04-20`, which the operator adds to the credential's headers.
const OAUTH_PREFIX: &str = "sk-ant-oat";

pub(crate) struct Claude;

impl Provider for Claude {
    fn serves(&self, operation: Operation) -> bool {
        matches!(
            operation,
            Operation::Messages | Operation::CountMessageTokens
        )
    }

    fn default_base_url(&self) -> Option<&'static str> {
        Some("https://api.anthropic.com")
    }

    fn model_patterns(&self) -> &'static [&'static str] {
        &["claude-*"]
    }

    fn known_models(&self) -> &'static [&'static str] {
        &[
            "claude-fable-5-2",
            "claude-opus-5-5",
            "claude-sonnet-5-5",
            "claude-haiku-5-5",
            "claude-opus-5",
            "claude-sonnet-5",
            "claude-opus-4-8",
            "claude-sonnet-4-6",
            "claude-sonnet-4-5",
            "claude-haiku-4-5",
        ]
    }

    fn target(&self, call: &Call<'_>) -> Target {
        Target {
            path_and_query: with_query(call.path, call.query),
        }
    }

    fn credential_headers(&self, secret: &Secret) -> Option<Vec<(HeaderName, HeaderValue)>> {
        if secret.expose().starts_with(OAUTH_PREFIX) {
            return credential::bearer(secret);
        }
        credential::bare("x-api-key", secret)
    }

    fn default_headers(&self) -> &'static [(&'static str, &'static str)] {
        &[("anthropic-version", "2023-06-01")]
    }

    fn judge(&self, status: u16, _: &HeaderMap, body: &[u8]) -> Judgement {
        complaint::judge(status, body, refine)
    }

    fn meter(&self, operation: Operation, event_stream: bool) -> Box<dyn Meter> {
        metering::meter(operation, event_stream)
    }
}

/// What the body of an error says beyond its status.
fn refine(status: u16, complaint: &Complaint) -> Option<Judgement> {
    let says = |words| complaint.message.starts_with(words);
    let fault = match status {
        400 if says("Your credit balance is too low") => Fault::PaymentRequired,
        400 if says("You have reached your specified API usage limits") => Fault::PaymentRequired,
        400 if says("This organization has been disabled") => Fault::Forbidden,
        404 if complaint.kind == "not_found_error" && says("model:") => Fault::ModelNotFound,
        _ => return None,
    };
    Some(Judgement::Fault(fault))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judges_by_the_body_too() {
        let judge = |status, kind: &str, message: &str| {
            let error = serde_json::json!({"type": kind, "message": message});
            let body = serde_json::json!({"type": "error", "error": error}).to_string();
            Claude.judge(status, &HeaderMap::new(), body.as_bytes())
        };
        let low = "Your credit balance is too low to access the Anthropic API.";
        let fault = |fault| Judgement::Fault(fault);
        assert_eq!(
            judge(400, "invalid_request_error", low),
            fault(Fault::PaymentRequired)
        );
        assert_eq!(
            judge(404, "not_found_error", "model: claude-9"),
            fault(Fault::ModelNotFound)
        );
        assert_eq!(
            judge(404, "not_found_error", "Not Found"),
            Judgement::Caller
        );
        assert_eq!(
            judge(529, "overloaded_error", "Overloaded"),
            fault(Fault::Overloaded)
        );
        // Repeated words of the caller's are not the vendor's.
        let echo = format!("messages.0: {low}");
        assert_eq!(
            judge(400, "invalid_request_error", &echo),
            Judgement::Caller
        );
    }

    #[test]
    fn oauth_tokens_are_bearer_tokens() {
        let name = |secret| {
            Claude.credential_headers(&Secret::new(secret)).unwrap()[0]
                .0
                .clone()
        };
        assert_eq!(name("sk-ant-oat01-x"), "authorization");
        assert_eq!(name("sk-ant-api03-x"), "x-api-key");
    }
}
