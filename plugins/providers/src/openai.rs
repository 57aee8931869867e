//! OpenAI, and the vendors that speak its protocol: each is a row of data.

use http::{HeaderMap, HeaderName, HeaderValue};
use turnpike_api::{Call, Fault, Judgement, Meter, Operation, Provider, Secret, Target};

use crate::complaint::{self, Complaint};
use crate::{credential, metering};

/// One vendor. Its base URL ends with the version, so that `/v1` is taken off the caller's path.
pub(crate) struct OpenAiLike {
    base_url: Option<&'static str>,
    patterns: &'static [&'static str],
    models: &'static [&'static str],
    operations: &'static [Operation],
    credential: Scheme,
}

#[derive(Clone, Copy)]
enum Scheme {
    /// `authorization: Bearer …`
    Bearer,
    /// `api-key: …`
    ApiKey,
}

/// All of OpenAI's operations.
const EVERY: &[Operation] = &[
    Operation::ChatCompletions,
    Operation::Completions,
    Operation::Responses,
    Operation::Embeddings,
    Operation::PassThrough,
];

pub(crate) const OPENAI: OpenAiLike = OpenAiLike {
    base_url: Some("https://api.openai.com/v1"),
    patterns: &[
        "gpt-*",
        "chatgpt-*",
        "o1*",
        "o3*",
        "o4*",
        "codex-*",
        "computer-use-*",
        "ft:*",
        "text-embedding-3-*",
        "text-embedding-ada-*",
        "dall-e-*",
        "sora-*",
        "tts-*",
        "whisper-*",
        "omni-moderation-*",
        "text-moderation-*",
        "babbage-*",
        "davinci-*",
    ],
    models: &[
        "gpt-6.1-sol",
        "gpt-6.1-terra",
        "gpt-6-sol",
        "gpt-6-luna",
        "gpt-5.5",
        "gpt-5.4",
        "gpt-5.4-mini",
        "gpt-5.4-nano",
        "gpt-5.2",
        "gpt-5.1",
        "gpt-5",
        "gpt-5-mini",
        "gpt-5-nano",
        "gpt-4.1",
        "gpt-4.1-mini",
        "gpt-4.1-nano",
        "gpt-4o",
        "gpt-4o-mini",
        "o3",
        "o4-mini",
        "text-embedding-3-small",
        "text-embedding-3-large",
    ],
    operations: EVERY,
    credential: Scheme::Bearer,
};

/// Azure's `…/openai/v1`, where the model is the deployment's name.
pub(crate) const AZURE: OpenAiLike = OpenAiLike {
    base_url: None,
    patterns: &[],
    models: &[],
    operations: EVERY,
    credential: Scheme::ApiKey,
};

/// Any server that speaks the protocol: vLLM, Ollama, a gateway.
pub(crate) const COMPATIBLE: OpenAiLike = OpenAiLike {
    credential: Scheme::Bearer,
    ..AZURE
};

pub(crate) const MISTRAL: OpenAiLike = OpenAiLike {
    base_url: Some("https://api.mistral.ai/v1"),
    patterns: &[
        "mistral-*",
        "ministral-*",
        "codestral-*",
        "magistral-*",
        "devstral-*",
        "pixtral-*",
        "voxtral-*",
        "open-mistral-*",
        "open-mixtral-*",
    ],
    models: &[
        "mistral-large-latest",
        "mistral-medium-latest",
        "mistral-small-latest",
        "magistral-medium-latest",
        "codestral-latest",
        "devstral-medium-latest",
        "mistral-embed",
    ],
    operations: &[
        Operation::ChatCompletions,
        Operation::Embeddings,
        Operation::PassThrough,
    ],
    credential: Scheme::Bearer,
};

pub(crate) const GROQ: OpenAiLike = OpenAiLike {
    base_url: Some("https://api.groq.com/openai/v1"),
    patterns: &[],
    models: &[
        "llama-3.3-70b-versatile",
        "llama-3.1-8b-instant",
        "openai/gpt-oss-120b",
        "openai/gpt-oss-20b",
        "whisper-large-v3",
    ],
    operations: &[
        Operation::ChatCompletions,
        Operation::Responses,
        Operation::PassThrough,
    ],
    credential: Scheme::Bearer,
};

pub(crate) const DEEPSEEK: OpenAiLike = OpenAiLike {
    base_url: Some("https://api.deepseek.com/v1"),
    patterns: &["deepseek-*"],
    models: &["deepseek-chat", "deepseek-reasoner"],
    operations: &[Operation::ChatCompletions],
    credential: Scheme::Bearer,
};

pub(crate) const OPENROUTER: OpenAiLike = OpenAiLike {
    base_url: Some("https://openrouter.ai/api/v1"),
    patterns: &["*/*"],
    models: &["openrouter/auto"],
    operations: EVERY,
    credential: Scheme::Bearer,
};

impl Provider for OpenAiLike {
    fn serves(&self, operation: Operation) -> bool {
        self.operations.contains(&operation)
    }

    fn default_base_url(&self) -> Option<&'static str> {
        self.base_url
    }

    fn model_patterns(&self) -> &'static [&'static str] {
        self.patterns
    }

    fn known_models(&self) -> &'static [&'static str] {
        self.models
    }

    fn target(&self, call: &Call<'_>) -> Target {
        let path = match call.path.strip_prefix("/v1") {
            Some(rest) if rest.starts_with('/') => rest,
            _ => call.path,
        };
        Target {
            path_and_query: with_query(path, call.query),
        }
    }

    fn credential_headers(&self, secret: &Secret) -> Option<Vec<(HeaderName, HeaderValue)>> {
        match self.credential {
            Scheme::Bearer => credential::bearer(secret),
            Scheme::ApiKey => credential::bare("api-key", secret),
        }
    }

    fn judge(&self, status: u16, _: &HeaderMap, body: &[u8]) -> Judgement {
        complaint::judge(status, body, refine)
    }

    fn meter(&self, operation: Operation, event_stream: bool) -> Box<dyn Meter> {
        metering::meter(operation, event_stream)
    }
}

pub(crate) fn with_query(path: &str, query: &str) -> String {
    match query {
        "" => path.to_owned(),
        _ => format!("{path}?{query}"),
    }
}

/// What the body of an error says beyond its status.
fn refine(status: u16, complaint: &Complaint) -> Option<Judgement> {
    const NO_CREDIT: &[&str] = &[
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
    ];
    // Mistral's word and Azure's beside OpenAI's.
    const NO_MODEL: &[&str] = &["model_not_found", "invalid_model", "DeploymentNotFound"];
    let fault = match status {
        400 | 403 | 429 if complaint.is(NO_CREDIT) => Fault::PaymentRequired,
        400 if complaint.is(&["invalid_api_key"]) => Fault::Unauthorized,
        // DeepSeek has no code for it.
        400 if complaint.message.starts_with("Model Not Exist") => Fault::ModelNotFound,
        // A project may be denied a model: the credential is good for others.
        400 | 403 | 404 if complaint.is(NO_MODEL) => Fault::ModelNotFound,
        // OpenRouter's: the caller's words, which no other credential would get through.
        403 if complaint.flagged => return Some(Judgement::Caller),
        404 if complaint.message.starts_with("The model `") => Fault::ModelNotFound,
        404 if complaint.message.starts_with("No endpoints found") => Fault::ModelNotFound,
        _ => return None,
    };
    Some(Judgement::Fault(fault))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(status: u16, body: &str) -> Judgement {
        OPENAI.judge(status, &HeaderMap::new(), body.as_bytes())
    }

    #[test]
    fn a_body_may_know_better_than_its_status() {
        for (status, body, fault) in [
            (
                429,
                r#"{"error":{"code":"insufficient_quota","type":"x"}}"#,
                Fault::PaymentRequired,
            ),
            (
                429,
                r#"{"error":{"code":"rate_limit_exceeded"}}"#,
                Fault::RateLimited,
            ),
            (
                400,
                r#"{"error":{"code":"invalid_api_key"}}"#,
                Fault::Unauthorized,
            ),
            (
                404,
                r#"{"error":{"code":"model_not_found"}}"#,
                Fault::ModelNotFound,
            ),
            (
                403,
                r#"{"error":{"code":"model_not_found"}}"#,
                Fault::ModelNotFound,
            ),
            (
                403,
                r#"{"error":{"code":"unsupported_country_region_territory"}}"#,
                Fault::Forbidden,
            ),
            (
                400,
                r#"{"type":"invalid_model","code":"1500"}"#,
                Fault::ModelNotFound,
            ),
            (
                404,
                r#"{"error":{"code":"DeploymentNotFound"}}"#,
                Fault::ModelNotFound,
            ),
        ] {
            assert_eq!(
                judge(status, body),
                Judgement::Fault(fault),
                "{status} {body}"
            );
        }
    }

    #[test]
    fn what_the_caller_did_is_the_callers() {
        for (status, body) in [
            (404, r#"{"error":{"message":"No file found with id 'x'"}}"#),
            (
                400,
                r#"{"error":{"message":"say: invalid_api_key","code":"bad"}}"#,
            ),
            (
                403,
                r#"{"error":{"code":403,"metadata":{"flagged_input":"…","reasons":[]}}}"#,
            ),
        ] {
            assert_eq!(judge(status, body), Judgement::Caller, "{status} {body}");
        }
    }

    #[test]
    fn the_version_is_the_base_urls() {
        let target = |path, query| {
            let operation = Operation::PassThrough;
            let call = Call {
                operation,
                method: &http::Method::POST,
                path,
                query,
                model: "m",
            };
            OPENAI.target(&call).path_and_query
        };
        assert_eq!(target("/v1/audio/speech", ""), "/audio/speech");
        assert_eq!(target("/v1/files", "after=x"), "/files?after=x");
        assert_eq!(target("/v1beta/x", ""), "/v1beta/x");
    }
}
