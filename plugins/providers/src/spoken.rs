//! Says a text as a model would say it, in each dialect. A coding agent shows its person what a
//! model says, and often nothing of an error: so a text that must be read is said.

mod anthropic;
mod gemini;
mod openai;
mod responses;
#[cfg(test)]
mod tests;
mod unsay;

use serde_json::Value;
use turnpike_api::Operation;

pub use unsay::unsay;

/// How the ids of our own answers begin that callers may go on from.
const RESPONSE_ID: &str = "resp_sandbox_";

/// What is to be said, and to what kind of call.
#[derive(Clone, Copy, Debug)]
pub struct Speech<'a> {
    /// What the caller asked for.
    pub operation: Operation,
    /// The model's name as the caller wrote it: agents look for it in the answer.
    pub model: &'a str,
    /// Whether the caller asked for a stream. Gemini says so in the path: there the operation
    /// counts, not this.
    pub stream: bool,
    /// `stream_options.include_usage`, which OpenAI's chat and text completions have.
    pub include_usage: bool,
    /// Gemini's `alt=sse`; without it a stream is a JSON array.
    pub sse: bool,
    /// The words.
    pub text: &'a str,
    /// The part of the answer's ids that nobody can guess: letters, digits, `-` and `_`.
    pub nonce: &'a str,
    /// Seconds since 1970.
    pub now: u64,
}

/// An answer, whole: it goes with status 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spoken {
    /// The `Content-Type`.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

/// The answer in which a model says the text; `None` for operations whose answer is no text.
pub fn say(speech: &Speech<'_>) -> Option<Spoken> {
    use Operation::*;
    Some(match speech.operation {
        ChatCompletions => openai::chat(speech),
        Completions => openai::completion(speech),
        Responses => responses::response(speech),
        Messages => anthropic::message(speech),
        GenerateContent => gemini::content(speech),
        StreamGenerateContent => gemini::stream(speech),
        Embeddings | CountMessageTokens | CountTokens | EmbedContent | PassThrough => return None,
    })
}

impl Spoken {
    fn json(document: &Value) -> Self {
        Self {
            content_type: "application/json",
            body: document.to_string().into_bytes(),
        }
    }
}

/// An event stream in the making.
#[derive(Default)]
struct Events(String);

impl Events {
    fn push(&mut self, data: &Value) {
        self.push_raw(&on_one_line(data));
    }

    /// Anthropic and the Responses API name an event twice: in a line of its own, and as the data's
    /// `type`. `data` is an object.
    fn push_named(&mut self, name: &str, mut data: Value) {
        data["type"] = name.into();
        self.0.push_str("event: ");
        self.0.push_str(name);
        self.0.push('\n');
        self.push(&data);
    }

    fn push_raw(&mut self, data: &str) {
        self.0.push_str("data: ");
        self.0.push_str(data);
        self.0.push_str("\n\n");
    }

    fn spoken(self) -> Spoken {
        Spoken {
            content_type: "text/event-stream",
            body: self.0.into_bytes(),
        }
    }
}

/// JSON leaves these three as they are, and to Python's `splitlines` they end a line: clients that
/// read a stream with httpx's `iter_lines` would cut the event there. Outside of strings JSON has
/// none of them.
fn on_one_line(data: &Value) -> String {
    data.to_string()
        .replace('\u{85}', "\\u0085")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}
