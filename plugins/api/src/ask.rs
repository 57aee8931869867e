use std::sync::Arc;

/// The protocol a caller speaks, which decides the shape of every answer it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// OpenAI's REST API: chat, completions, responses, embeddings and what is passed through.
    OpenAi,
    /// Anthropic's Messages API.
    Anthropic,
    /// Google's Generative Language API.
    Gemini,
}

impl Dialect {
    /// As it stands in logs and metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
        }
    }
}

/// What is asked of a provider.
///
/// The path decides it, once; authorization, routing and the provider all read this value, never
/// the path again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `POST /v1/chat/completions`
    ChatCompletions,
    /// `POST /v1/completions`
    Completions,
    /// `POST /v1/responses`
    Responses,
    /// `POST /v1/embeddings`
    Embeddings,
    /// `POST /v1/messages`
    Messages,
    /// `POST /v1/messages/count_tokens`
    CountMessageTokens,
    /// `POST /v1beta/models/{model}:generateContent`
    GenerateContent,
    /// `POST /v1beta/models/{model}:streamGenerateContent`
    StreamGenerateContent,
    /// `POST /v1beta/models/{model}:countTokens`
    CountTokens,
    /// `POST /v1beta/models/{model}:embedContent` and `:batchEmbedContents`
    EmbedContent,
    /// OpenAI's images, audio, files and moderations: forwarded as they are.
    PassThrough,
}

impl Operation {
    /// Every operation, for tables and tests.
    pub const ALL: [Self; 11] = [
        Self::ChatCompletions,
        Self::Completions,
        Self::Responses,
        Self::Embeddings,
        Self::Messages,
        Self::CountMessageTokens,
        Self::GenerateContent,
        Self::StreamGenerateContent,
        Self::CountTokens,
        Self::EmbedContent,
        Self::PassThrough,
    ];

    /// The dialect whose operation it is.
    pub fn dialect(self) -> Dialect {
        match self {
            Self::ChatCompletions
            | Self::Completions
            | Self::Responses
            | Self::Embeddings
            | Self::PassThrough => Dialect::OpenAi,
            Self::Messages | Self::CountMessageTokens => Dialect::Anthropic,
            Self::GenerateContent
            | Self::StreamGenerateContent
            | Self::CountTokens
            | Self::EmbedContent => Dialect::Gemini,
        }
    }

    /// Whether a model answers with a text, whole or in pieces.
    pub fn answers_with_text(self) -> bool {
        match self {
            Self::ChatCompletions
            | Self::Completions
            | Self::Responses
            | Self::Messages
            | Self::GenerateContent
            | Self::StreamGenerateContent => true,
            Self::Embeddings
            | Self::CountMessageTokens
            | Self::CountTokens
            | Self::EmbedContent
            | Self::PassThrough => false,
        }
    }

    /// As it stands in logs and metric labels; the names of OpenTelemetry's GenAI conventions
    /// where they have one.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat",
            Self::Completions => "text_completion",
            Self::Responses => "responses",
            Self::Embeddings => "embeddings",
            Self::Messages => "messages",
            Self::CountMessageTokens => "count_message_tokens",
            Self::GenerateContent => "generate_content",
            Self::StreamGenerateContent => "stream_generate_content",
            Self::CountTokens => "count_tokens",
            Self::EmbedContent => "embed_content",
            Self::PassThrough => "pass_through",
        }
    }
}

/// What the caller asks, as far as the gateway reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// From the path.
    pub operation: Operation,
    /// As the caller wrote it, prefix and alias unresolved. Empty only for
    /// [`Operation::PassThrough`] calls that name none (files).
    pub model: Arc<str>,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// The caller's own bound on output tokens, where it gave one.
    pub max_tokens: Option<u64>,
    /// Size of the request's body in bytes.
    pub body_len: usize,
}
