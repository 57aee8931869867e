//! OpenAI, and the vendors that speak its protocol: each is a row of data.

use http::{HeaderMap, HeaderName, HeaderValue};
use turnpike_api::{
    Account, Call, Fault, Hint, Judgement, Meter, Operation, Provider, Scheme, Secret, Target,
};

use crate::complaint::{self, Complaint};
use crate::hint::{self, Refusal};
use crate::{credential, metering};

/// One vendor. Its base URL ends with the version, so that `/v1` is taken off the caller's path.
pub(crate) struct OpenAiLike {
    base_url: Option<&'static str>,
    patterns: &'static [&'static str],
    models: &'static [&'static str],
    operations: &'static [Operation],
    key: KeyIn,
    /// The header that names the account.
    account_id: Option<&'static str>,
    model_list: Option<&'static str>,
    /// Streams state their usage only when the body asks. The others state it anyway, and may
    /// refuse a key they do not know.
    usage_on_request: bool,
}

/// Where a key stands. Access tokens are bearer tokens everywhere.
#[derive(Clone, Copy)]
enum KeyIn {
    /// `authorization: Bearer …`
    Authorization,
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
    key: KeyIn::Authorization,
    account_id: None,
    model_list: Some("/models"),
    usage_on_request: true,
};

/// ChatGPT's backend, which serves Codex to the accounts of persons. It wants to know which one:
/// somebody may have several with one login. It lists its models in a form of its own.
pub(crate) const CODEX: OpenAiLike = OpenAiLike {
    base_url: Some("https://chatgpt.com/backend-api/codex"),
    patterns: &["gpt-5*", "gpt-6*", "*codex*"],
    models: &[
        "gpt-5.6-sol",
        "gpt-5.6-terra",
        "gpt-5.6-luna",
        "gpt-5.5",
        "gpt-5.4",
        "gpt-5.4-mini",
    ],
    operations: &[Operation::Responses],
    account_id: Some("chatgpt-account-id"),
    model_list: None,
    ..OPENAI
};

/// Azure's `…/openai/v1`, where the model is the deployment's name.
pub(crate) const AZURE: OpenAiLike = OpenAiLike {
    base_url: None,
    patterns: &[],
    models: &[],
    key: KeyIn::ApiKey,
    ..OPENAI
};

/// Any server that speaks the protocol: vLLM, Ollama, a gateway.
pub(crate) const COMPATIBLE: OpenAiLike = OpenAiLike {
    key: KeyIn::Authorization,
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
    usage_on_request: false,
    ..OPENAI
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
    ..OPENAI
};

pub(crate) const DEEPSEEK: OpenAiLike = OpenAiLike {
    base_url: Some("https://api.deepseek.com/v1"),
    patterns: &["deepseek-*"],
    models: &["deepseek-chat", "deepseek-reasoner"],
    operations: &[Operation::ChatCompletions],
    ..OPENAI
};

pub(crate) const OPENROUTER: OpenAiLike = OpenAiLike {
    base_url: Some("https://openrouter.ai/api/v1"),
    patterns: &["*/*"],
    models: &["openrouter/auto"],
    // It lists them to everybody: that tells nothing of a key.
    model_list: None,
    ..OPENAI
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

    fn credential_headers(
        &self,
        secret: &Secret,
        scheme: Scheme,
        account: &Account,
    ) -> Option<Vec<(HeaderName, HeaderValue)>> {
        let headers = match (scheme, self.key) {
            (Scheme::Bearer, _) | (Scheme::Key, KeyIn::Authorization) => credential::bearer(secret),
            (Scheme::Key, KeyIn::ApiKey) => credential::bare("api-key", secret),
        };
        match self.account_id {
            Some(name) => credential::with_account(headers, name, account.id.as_deref()),
            None => headers,
        }
    }

    fn model_list(&self) -> Option<&'static str> {
        self.model_list
    }

    fn tells_usage_on_request(&self) -> bool {
        self.usage_on_request
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
        hint::of_answer(judged, refusal, hint::openai_windows)
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
        // ChatGPT's: the account's plan has no Codex.
        "usage_not_included",
    ];
    // Mistral's word and Azure's beside OpenAI's.
    const NO_MODEL: &[&str] = &["model_not_found", "invalid_model", "DeploymentNotFound"];
    let fault = match status {
        400 | 403 | 429 if complaint.is(NO_CREDIT) => Fault::PaymentRequired,
        400 if complaint.is(&["invalid_api_key"]) => Fault::Unauthorized,
        // DeepSeek has no code for it.
        400 if complaint.message.starts_with("Model Not Exist") => Fault::ModelNotFound,
        400 if not_in_plan(&complaint.message) => Fault::ModelNotFound,
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

/// ChatGPT's "The 'x' model is not supported when using Codex with a ChatGPT account.": another
/// account's plan may have it.
fn not_in_plan(message: &str) -> bool {
    message.starts_with("The '")
        && message.ends_with("' model is not supported when using Codex with a ChatGPT account.")
}

#[cfg(test)]
mod tests;
