//! What the events of each dialect's stream say of its usage and its end.
//!
//! Nearly every event is a delta that says neither. Those are told by a search for a few keys; only
//! the events that have one are parsed. A key in its quotes cannot stand within a JSON string,
//! where they would be escaped.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Deserialize;
use turnpike_api::Usage;

use crate::complaint::Complaint;
use crate::counts::{self, GeminiCounts, OpenAiCounts};
use crate::event_stream::Event;
use crate::metering::Standing;

/// What Gemini's counts take at most.
const MAX_COUNTS: usize = 4 << 10;

type Key = LazyLock<Finder<'static>>;

static USAGE: Key = LazyLock::new(|| Finder::new(b"\"usage\""));
static ERROR: Key = LazyLock::new(|| Finder::new(b"\"error\""));
static USAGE_METADATA: Key = LazyLock::new(|| Finder::new(b"\"usageMetadata\""));
static FINISH_REASON: Key = LazyLock::new(|| Finder::new(b"\"finishReason\""));
static BLOCK_REASON: Key = LazyLock::new(|| Finder::new(b"\"blockReason\""));

/// OpenAI's chat and text completions.
pub(crate) fn read_chat(event: &Event<'_>, standing: &mut Standing) {
    if event.data == b"[DONE]" {
        return standing.finish();
    }
    if let Some(object) = objects_of(&USAGE, event.data).next() {
        standing.count(counts::openai(object));
    }
    if value_of(&ERROR, event.data).is_some_and(|value| !value.starts_with(b"null"))
        && let Some(complaint) = Complaint::within(event.data)
    {
        standing.fail(&complaint, event.data);
    }
}

/// OpenAI's images and transcriptions: the last event is the one with the usage.
pub(crate) fn read_media(event: &Event<'_>, standing: &mut Standing) {
    read_chat(event, standing);
    if standing.usage.is_some() {
        standing.finish();
    }
}

/// OpenAI's Responses. Its last event repeats the tools, whose schemas may have any key: it is
/// parsed by structure.
pub(crate) fn read_responses(event: &Event<'_>, standing: &mut Standing) {
    match kind_of(event) {
        b"response.completed" | b"response.incomplete" => {
            standing.count(response_usage(event));
            standing.finish();
        }
        b"response.failed" => {
            standing.count(response_usage(event));
            standing.fail(&Complaint::read(event.data), event.data);
        }
        b"error" => standing.fail(&Complaint::read(event.data), event.data),
        _ if event.data == b"[DONE]" => standing.finish(),
        _ => {}
    }
}

fn response_usage(event: &Event<'_>) -> Option<Usage> {
    #[derive(Deserialize)]
    struct Done {
        response: Response,
    }
    #[derive(Deserialize)]
    struct Response {
        usage: Option<OpenAiCounts>,
    }
    if !event.whole {
        return counts::openai(objects_of(&USAGE, event.data).last()?);
    }
    counts::leading::<Done>(event.data)?.response.usage?.usage()
}

/// Anthropic's Messages.
pub(crate) fn read_messages(event: &Event<'_>, standing: &mut Standing) {
    match kind_of(event) {
        b"message_start" | b"message_delta" => {
            let counts = objects_of(&USAGE, event.data)
                .next()
                .and_then(counts::leading);
            standing.counts.merge(counts.unwrap_or_default());
            standing.count(standing.counts.usage());
        }
        b"message_stop" => standing.finish(),
        b"error" => standing.fail(&Complaint::read(event.data), event.data),
        _ => {}
    }
}

/// Gemini. Each chunk may count anew, those after the last word too.
pub(crate) fn read_gemini(event: &Event<'_>, standing: &mut Standing) {
    let data = event.data;
    count_gemini(event, standing);
    if starts_with_key(data, b"\"error\"") {
        return standing.fail(&Complaint::read(data), data);
    }
    // A blocked prompt has no candidates.
    let is_last = FINISH_REASON.find(data).is_some()
        || (!starts_with_key(data, b"\"candidates\"") && BLOCK_REASON.find(data).is_some());
    if is_last && gemini_ends(event) {
        standing.finish();
    }
}

fn count_gemini(event: &Event<'_>, standing: &mut Standing) {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Chunk {
        usage_metadata: GeminiCounts,
    }
    let mut objects = objects_of(&USAGE_METADATA, event.data);
    let Some(first) = objects.next() else { return };
    let last = objects.last();
    standing.unread.clear();
    if last.is_some() && event.whole {
        // The arguments of a function call are JSON within the chunk, and may have any key.
        let chunk = counts::leading::<Chunk>(event.data);
        standing.count(chunk.and_then(|chunk| chunk.usage_metadata.usage()));
    } else {
        let object = last.unwrap_or(first);
        standing
            .unread
            .extend_from_slice(&object[..object.len().min(MAX_COUNTS)]);
    }
}

/// Whether the chunk gives a reason for the answer's end, by structure: see [`count_gemini`].
fn gemini_ends(event: &Event<'_>) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Chunk {
        #[serde(default)]
        candidates: Vec<Candidate>,
        prompt_feedback: Option<PromptFeedback>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Candidate {
        finish_reason: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct PromptFeedback {
        block_reason: Option<String>,
    }
    if !event.whole {
        return true;
    }
    counts::leading::<Chunk>(event.data).is_some_and(|chunk| {
        let finished = |candidate: &Candidate| match candidate.finish_reason.as_deref() {
            None | Some("FINISH_REASON_UNSPECIFIED") => false,
            Some(_) => true,
        };
        chunk.candidates.iter().any(finished)
            || chunk
                .prompt_feedback
                .is_some_and(|feedback| feedback.block_reason.is_some())
    })
}

/// An event's name, or the `type` in its data where the server gives no names.
pub(crate) fn kind_of<'e>(event: &Event<'e>) -> &'e [u8] {
    #[derive(Deserialize)]
    struct Typed<'t> {
        #[serde(borrow)]
        r#type: &'t str,
    }
    if !event.name.is_empty() {
        return event.name;
    }
    serde_json::from_slice::<Typed<'_>>(event.data).map_or(b"", |typed| typed.r#type.as_bytes())
}

fn starts_with_key(data: &[u8], key: &[u8]) -> bool {
    data.trim_ascii_start()
        .strip_prefix(b"{")
        .is_some_and(|members| members.trim_ascii_start().starts_with(key))
}

/// The bytes from the value of the first `key` on.
fn value_of<'d>(key: &Finder<'_>, data: &'d [u8]) -> Option<&'d [u8]> {
    value_at(data, key.find(data)? + key.needle().len())
}

/// The bytes from each value of `key` on that is an object. Many servers send a null in every
/// chunk but the last.
fn objects_of<'d>(key: &Finder<'static>, data: &'d [u8]) -> impl Iterator<Item = &'d [u8]> {
    key.find_iter(data)
        .filter_map(|at| value_at(data, at + key.needle().len()))
        .filter(|value| value.starts_with(b"{"))
}

/// After a key: its value, if a colon says that it is one.
fn value_at(data: &[u8], after_key: usize) -> Option<&[u8]> {
    let rest = data[after_key..].trim_ascii_start().strip_prefix(b":")?;
    Some(rest.trim_ascii_start())
}
