//! What the vendors would say: bodies, streams and errors in their true shapes.

mod anthropic;
mod gemini;
mod media;
mod openai;
mod responses;
mod route;
mod stored;
mod vectors;

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;

use crate::ids::Ids;
use crate::totals::Totals;

pub(crate) use route::{Kind, Route};

/// Whose shapes a path speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    OpenAi,
    Anthropic,
    Gemini,
}

impl Dialect {
    /// The code this vendor uses: only Anthropic has 529.
    pub(crate) fn status(self, code: u16) -> u16 {
        if code == 529 && self != Self::Anthropic {
            503
        } else {
            code
        }
    }
}

/// The input tokens that every answer claims for a request body of this length.
pub fn input_tokens(body_len: usize) -> u64 {
    (body_len as u64 / 4).max(1)
}

/// The dialect's own body for an error status.
pub fn error_body(dialect: Dialect, code: u16) -> Bytes {
    error_of(dialect, code, Ids(0), None)
}

/// Gemini's 429, whose only hint when to come back is `RetryInfo` in the body.
pub fn gemini_quota_error(retry_after: Duration) -> Bytes {
    gemini::quota_error(retry_after)
}

fn error_of(dialect: Dialect, code: u16, ids: Ids, retry_after: Option<u64>) -> Bytes {
    match dialect {
        Dialect::OpenAi => openai::error(code),
        Dialect::Anthropic => anthropic::error(code, ids),
        Dialect::Gemini => gemini::error(code, retry_after),
    }
}

/// Errors inside a stream that began well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    Failed,
    Overloaded,
}

/// What a call asks for.
pub(crate) struct Ask {
    pub(crate) route: Route,
    pub(crate) ids: Ids,
    /// Content events, and output tokens.
    pub(crate) events: usize,
    pub(crate) body: Bytes,
}

pub(crate) enum Answer {
    Whole {
        content_type: &'static str,
        body: Bytes,
        told: Totals,
    },
    Stream(Plan),
}

impl Answer {
    pub(crate) fn json(body: String, told: Totals) -> Self {
        Self::Whole {
            content_type: "application/json",
            body: body.into(),
            told,
        }
    }
}

/// A stream's events.
pub(crate) struct Plan {
    pub(crate) content_type: &'static str,
    pub(crate) events: Vec<Event>,
    /// Index of the first event that says all went well.
    pub(crate) terminal: usize,
}

pub(crate) struct Event {
    pub(crate) bytes: Bytes,
    pub(crate) told: Totals,
}

impl Event {
    pub(crate) fn new(bytes: String) -> Self {
        Self::telling(bytes, Totals::NONE)
    }

    pub(crate) fn telling(bytes: String, told: Totals) -> Self {
        Self {
            bytes: bytes.into(),
            told,
        }
    }
}

/// The fields that matter to every JSON route of a dialect.
#[derive(Deserialize, Default)]
struct Wish {
    model: Option<String>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
}

#[derive(Deserialize, Default)]
struct StreamOptions {
    include_usage: Option<bool>,
}

impl Wish {
    fn of(body: &[u8]) -> Result<Self, u16> {
        serde_json::from_slice(body).map_err(|_| 400)
    }

    fn model(&self) -> &str {
        self.model.as_deref().unwrap_or("fake-model")
    }

    fn includes_usage(&self) -> bool {
        self.stream_options
            .as_ref()
            .and_then(|options| options.include_usage)
            .unwrap_or(false)
    }
}

impl Ask {
    /// The answer, or the status of the error it deserves.
    pub(crate) fn answer(&self) -> Result<Answer, u16> {
        match &self.route.kind {
            Kind::Root => Ok(Answer::json("{\"status\":\"ok\"}".to_owned(), Totals::NONE)),
            Kind::Unknown => Err(404),
            Kind::Chat => openai::chat(self),
            Kind::Completions => openai::completions(self),
            Kind::Responses => responses::responses(self),
            Kind::Embeddings => vectors::embeddings(self),
            Kind::Moderations => vectors::moderations(self),
            Kind::Images => media::images(self),
            Kind::Speech => media::speech(self),
            Kind::Transcriptions => media::transcriptions(self),
            Kind::Upload => Ok(stored::upload(self)),
            Kind::Files => Ok(stored::list()),
            Kind::File(id) => Ok(stored::file(id, &self.route.method)),
            Kind::FileContent => Ok(stored::content()),
            Kind::Messages { model } => anthropic::messages(self, model.as_deref()),
            Kind::CountTokens => Ok(self.count_tokens()),
            Kind::Models => Ok(self.models()),
            Kind::Model(id) => Ok(self.model(id)),
            Kind::Generate(generate) => gemini::generate(self, generate),
            Kind::EmbedContent => gemini::embed(),
            Kind::BatchEmbedContents => gemini::batch_embed(self),
        }
    }

    /// The body of an error status.
    pub(crate) fn error_body(&self, code: u16, retry_after: Option<u64>) -> Bytes {
        let body = error_of(self.route.dialect, code, self.ids, retry_after);
        match &self.route.kind {
            Kind::Generate(generate) => gemini::error_in(generate, body),
            _ => body,
        }
    }

    /// The event for trouble after `sent` events.
    pub(crate) fn error_event(&self, sent: usize, trouble: Trouble) -> Bytes {
        match &self.route.kind {
            Kind::Responses => responses::error_event(sent, trouble),
            Kind::Messages { .. } => anthropic::error_event(trouble, self.ids),
            Kind::Generate(generate) => gemini::error_event(generate, sent, trouble),
            _ => openai::error_event(trouble),
        }
    }

    fn count_tokens(&self) -> Answer {
        let tokens = self.input();
        let body = match self.route.dialect {
            Dialect::OpenAi | Dialect::Anthropic => format!("{{\"input_tokens\":{tokens}}}"),
            Dialect::Gemini => format!(
                "{{\"totalTokens\":{tokens},\"promptTokensDetails\":\
                 [{{\"modality\":\"TEXT\",\"tokenCount\":{tokens}}}]}}"
            ),
        };
        Answer::json(body, Totals::NONE)
    }

    fn models(&self) -> Answer {
        let body = match self.route.dialect {
            Dialect::OpenAi => openai::models(),
            Dialect::Anthropic => anthropic::models(),
            Dialect::Gemini => gemini::models(),
        };
        Answer::json(body, Totals::NONE)
    }

    fn model(&self, id: &str) -> Answer {
        let body = match self.route.dialect {
            Dialect::OpenAi => openai::model(id),
            Dialect::Anthropic => anthropic::model(id),
            Dialect::Gemini => gemini::model(id),
        };
        Answer::json(body, Totals::NONE)
    }

    fn input(&self) -> u64 {
        input_tokens(self.body.len())
    }

    fn output(&self) -> u64 {
        self.events as u64
    }

    fn told(&self) -> Totals {
        Totals::one(self.input(), self.output())
    }

    fn streams(&self, wish: &Wish) -> bool {
        !self.route.never_streams && wish.stream.unwrap_or(false)
    }

    /// The answer's pieces of text, one a content event.
    fn pieces(&self) -> impl Iterator<Item = &'static str> + use<> {
        const PIECES: [&str; 6] = ["Hello", " from", " the", " fake", " provider", "."];
        (0..self.events).map(|n| PIECES.get(n).copied().unwrap_or(" more"))
    }

    fn text(&self) -> String {
        self.pieces().collect()
    }
}

#[cfg(test)]
mod tests;
