//! Anthropic.

use http::{HeaderMap, HeaderName, HeaderValue};
use turnpike_api::{
    Account, Call, Fault, Hint, Judgement, Meter, Operation, Provider, Scheme, Secret, Target,
};

use crate::complaint::{self, Complaint};
use crate::hint::{self, Refusal};
use crate::openai::with_query;
use crate::{credential, metering};

/// How Anthropic's OAuth access tokens begin, configured as keys too.
const OAUTH_PREFIX: &str = "sk-ant-oat";

/// What calls with an OAuth access token must ask for, beside what the caller asks for.
const OAUTH_BETA: (HeaderName, HeaderValue) = (
    HeaderName::from_static("anthropic-beta"),
    HeaderValue::from_static("oauth-2025-04-20"),
);

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

    fn credential_headers(
        &self,
        secret: &Secret,
        scheme: Scheme,
        _: &Account,
    ) -> Option<Vec<(HeaderName, HeaderValue)>> {
        if scheme == Scheme::Key && !secret.expose().starts_with(OAUTH_PREFIX) {
            return credential::bare("x-api-key", secret);
        }
        let mut headers = credential::bearer(secret)?;
        headers.push(OAUTH_BETA);
        Some(headers)
    }

    fn model_list(&self) -> Option<&'static str> {
        Some("/v1/models?limit=1000")
    }

    fn default_headers(&self) -> &'static [(&'static str, &'static str)] {
        &[("anthropic-version", "2023-06-01")]
    }

    fn judge(&self, status: u16, _: &HeaderMap, body: &[u8]) -> Judgement {
        complaint::judge(status, body, refine)
    }

    fn hint(&self, now: u64, status: u16, headers: &HeaderMap, body: &[u8]) -> Hint {
        let judged = self.judge(status, headers, body);
        let refusal = Refusal {
            now,
            status,
            headers,
            body,
        };
        hint::of_answer(judged, refusal, hint::anthropic_windows)
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
    fn access_tokens_are_bearer_tokens_and_ask_for_it() {
        for (secret, scheme, expected) in [
            ("sk-ant-api03-x", Scheme::Key, &["x-api-key"][..]),
            (
                "sk-ant-oat01-x",
                Scheme::Key,
                &["authorization", "anthropic-beta"],
            ),
            (
                "anything",
                Scheme::Bearer,
                &["authorization", "anthropic-beta"],
            ),
        ] {
            let headers = Claude
                .credential_headers(&Secret::new(secret), scheme, &Account::default())
                .unwrap();
            let names: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, expected, "{secret}");
        }
    }
}
