//! The names of attributes: those of OpenTelemetry's conventions (HTTP, and generative AI as of
//! semantic-conventions-genai), and `turnpike.` for what is the gateway's own.

use http::{Method, Version};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use turnpike_api::Operation;

pub(super) const ERROR_TYPE: &str = "error.type";
pub(super) const METHOD: &str = "http.request.method";
pub(super) const STATUS: &str = "http.response.status_code";
pub(super) const ROUTE: &str = "http.route";
pub(super) const PROTOCOL_VERSION: &str = "network.protocol.version";
pub(super) const SERVER_ADDRESS: &str = "server.address";
pub(super) const SERVER_PORT: &str = "server.port";
pub(super) const OPERATION: &str = "gen_ai.operation.name";
pub(super) const PROVIDER: &str = "gen_ai.provider.name";
pub(super) const REQUEST_MODEL: &str = "gen_ai.request.model";
pub(super) const REQUEST_STREAM: &str = "gen_ai.request.stream";
pub(super) const RESPONSE_MODEL: &str = "gen_ai.response.model";
pub(super) const FIRST_CHUNK_AFTER: &str = "gen_ai.response.time_to_first_chunk";
pub(super) const INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
pub(super) const OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
pub(super) const CACHE_READ_TOKENS: &str = "gen_ai.usage.cache_read.input_tokens";
pub(super) const CACHE_WRITE_TOKENS: &str = "gen_ai.usage.cache_creation.input_tokens";
pub(super) const REASONING_TOKENS: &str = "gen_ai.usage.reasoning.output_tokens";
pub(super) const REQUEST_ID: &str = "turnpike.request.id";
pub(super) const DECISION_ID: &str = "turnpike.decision.id";
pub(super) const TENANT: &str = "turnpike.tenant";
pub(super) const ATTEMPT: &str = "turnpike.attempt";
pub(super) const OWN_PROVIDER: &str = "turnpike.provider";
pub(super) const CREDENTIAL: &str = "turnpike.credential.id";

/// As many bytes of a text are told: callers choose some of them.
const LONGEST: usize = 512;

/// The attributes of a span, in the order they are put.
#[derive(Default)]
pub(super) struct Attributes(pub(super) Vec<KeyValue>);

impl Attributes {
    pub(super) fn text(&mut self, name: &str, value: &str) {
        let mut ends = (0..=value.len().min(LONGEST)).rev();
        let end = ends.find(|end| value.is_char_boundary(*end));
        let value = value[..end.unwrap_or(0)].to_owned();
        self.put(name, Value::StringValue(value));
    }

    pub(super) fn maybe(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(name, value);
        }
    }

    pub(super) fn number(&mut self, name: &str, value: u64) {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        self.put(name, Value::IntValue(value));
    }

    pub(super) fn seconds(&mut self, name: &str, value: std::time::Duration) {
        self.put(name, Value::DoubleValue(value.as_secs_f64()));
    }

    pub(super) fn truth(&mut self, name: &str, value: bool) {
        self.put(name, Value::BoolValue(value));
    }

    fn put(&mut self, name: &str, value: Value) {
        self.0.push(KeyValue {
            key: name.to_owned(),
            value: Some(AnyValue { value: Some(value) }),
            ..KeyValue::default()
        });
    }
}

/// What the conventions call it; where they have no name, ours.
pub(super) fn operation_name(operation: Operation) -> &'static str {
    match operation {
        Operation::ChatCompletions | Operation::Responses | Operation::Messages => "chat",
        Operation::Completions => "text_completion",
        Operation::Embeddings | Operation::EmbedContent => "embeddings",
        Operation::GenerateContent | Operation::StreamGenerateContent => "generate_content",
        Operation::CountMessageTokens | Operation::CountTokens => "count_tokens",
        Operation::PassThrough => operation.as_str(),
    }
}

/// The path that it is asked for by; that of what is passed through has many.
pub(super) fn route(operation: Operation) -> Option<&'static str> {
    match operation {
        Operation::ChatCompletions => Some("/v1/chat/completions"),
        Operation::Completions => Some("/v1/completions"),
        Operation::Responses => Some("/v1/responses"),
        Operation::Embeddings => Some("/v1/embeddings"),
        Operation::Messages => Some("/v1/messages"),
        Operation::CountMessageTokens => Some("/v1/messages/count_tokens"),
        Operation::GenerateContent => Some("/v1beta/models/{model}:generateContent"),
        Operation::StreamGenerateContent => Some("/v1beta/models/{model}:streamGenerateContent"),
        Operation::CountTokens => Some("/v1beta/models/{model}:countTokens"),
        Operation::EmbedContent => Some("/v1beta/models/{model}:embedContent"),
        Operation::PassThrough => None,
    }
}

/// What the conventions call who speaks this protocol; `name` is what the operator does.
pub(super) fn provider_name<'p>(kind: &'p str, name: &'p str) -> &'p str {
    match kind {
        "openai" | "codex" => "openai",
        "claude" => "anthropic",
        "gemini" => "gcp.gemini",
        "vertex" => "gcp.vertex_ai",
        "azure-openai" => "azure.ai.openai",
        "mistral" => "mistral_ai",
        // It could be anybody's.
        "openai-compatible" => name,
        kind => kind,
    }
}

/// The methods that the conventions know.
pub(super) fn method_name(method: &Method) -> &str {
    match *method {
        Method::GET
        | Method::HEAD
        | Method::POST
        | Method::PUT
        | Method::DELETE
        | Method::OPTIONS
        | Method::PATCH
        | Method::CONNECT
        | Method::TRACE => method.as_str(),
        _ => "_OTHER",
    }
}

pub(super) fn version_name(version: Version) -> Option<&'static str> {
    match version {
        Version::HTTP_10 => Some("1.0"),
        Version::HTTP_11 => Some("1.1"),
        Version::HTTP_2 => Some("2"),
        _ => None,
    }
}
