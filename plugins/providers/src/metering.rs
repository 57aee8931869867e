//! The meters: usage and the end of an answer, read as it passes.
//!
//! Nearly every chunk of a stream is a delta that says neither. Those are told by a search for a
//! few keys; only the events that have one are parsed. A key in its quotes cannot stand within a
//! JSON string, where they would be escaped.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::Deserialize;
use turnpike_api::{Judgement, Meter, Operation, Progress, Usage};

use crate::answer_scan::AnswerScan;
use crate::complaint::Complaint;
use crate::counts::{self, AnthropicCounts, GeminiCounts, OpenAiCounts, ReadUsage};
use crate::event_stream::{Event, Splitter};

/// What Gemini's counts take at most.
const MAX_COUNTS: usize = 4 << 10;

type Key = LazyLock<Finder<'static>>;

static USAGE: Key = LazyLock::new(|| Finder::new(b"\"usage\""));
static ERROR: Key = LazyLock::new(|| Finder::new(b"\"error\""));
static USAGE_METADATA: Key = LazyLock::new(|| Finder::new(b"\"usageMetadata\""));
static FINISH_REASON: Key = LazyLock::new(|| Finder::new(b"\"finishReason\""));
static BLOCK_REASON: Key = LazyLock::new(|| Finder::new(b"\"blockReason\""));

/// The meter for an answer to `operation`.
pub(crate) fn meter(operation: Operation, event_stream: bool) -> Box<dyn Meter> {
    use Operation::*;
    match (operation, event_stream) {
        (ChatCompletions | Completions | Embeddings, true) => stream(read_chat),
        (Responses, true) => stream(read_responses),
        (PassThrough, true) => stream(read_media),
        (Messages | CountMessageTokens, true) => stream(read_messages),
        (GenerateContent | StreamGenerateContent | CountTokens | EmbedContent, true) => {
            stream(read_gemini)
        }
        (ChatCompletions | Completions | Responses | Embeddings | PassThrough, false) => {
            document(b"usage\"", counts::openai)
        }
        (Messages | CountMessageTokens, false) => document(b"usage\"", counts::anthropic),
        (GenerateContent | StreamGenerateContent | CountTokens | EmbedContent, false) => {
            document(b"usageMetadata\"", counts::gemini)
        }
    }
}

/// Reads one event into the standing.
type ReadEvent = fn(&Event<'_>, &mut Standing);

fn stream(read_event: ReadEvent) -> Box<dyn Meter> {
    Box::new(StreamMeter {
        splitter: Splitter::default(),
        standing: Standing::default(),
        read_event,
    })
}

fn document(key: &'static [u8], read_usage: ReadUsage) -> Box<dyn Meter> {
    let scan = AnswerScan::new(key);
    Box::new(DocumentMeter {
        scan,
        read_usage,
        usage: None,
        progress: Progress::Undecided,
    })
}

/// Meters an event stream.
struct StreamMeter {
    splitter: Splitter,
    standing: Standing,
    read_event: ReadEvent,
}

impl Meter for StreamMeter {
    fn read(&mut self, piece: &[u8]) -> Progress {
        let Self {
            splitter,
            standing,
            read_event,
        } = self;
        splitter.feed(piece, |event| {
            if standing.progress == Progress::Undecided {
                standing.progress = Progress::Open;
            }
            read_event(&event, standing);
        });
        standing.progress
    }

    fn usage(&self) -> Option<Usage> {
        counts::gemini(&self.standing.unread).or(self.standing.usage)
    }
}

/// Meters an answer that is one JSON document.
struct DocumentMeter {
    scan: AnswerScan,
    read_usage: ReadUsage,
    usage: Option<Usage>,
    progress: Progress,
}

impl Meter for DocumentMeter {
    fn read(&mut self, piece: &[u8]) -> Progress {
        if piece.is_empty() || self.progress == Progress::Finished {
            return self.progress;
        }
        self.scan.feed(piece, |object| {
            self.usage = (self.read_usage)(object).or(self.usage)
        });
        self.progress = if self.scan.is_over() {
            Progress::Finished
        } else {
            Progress::Open
        };
        self.progress
    }

    fn usage(&self) -> Option<Usage> {
        self.usage
    }
}

/// How a stream stands.
struct Standing {
    progress: Progress,
    usage: Option<Usage>,
    /// Anthropic's counts, which come in two events.
    counts: AnthropicCounts,
    /// Gemini's counts, which come in every chunk: the last ones, to be parsed when asked for.
    unread: Vec<u8>,
}

impl Default for Standing {
    fn default() -> Self {
        Self {
            progress: Progress::Undecided,
            usage: None,
            counts: AnthropicCounts::default(),
            unread: Vec::new(),
        }
    }
}

impl Standing {
    fn finish(&mut self) {
        self.end(Progress::Finished);
    }

    /// An error the caller caused is the answer to its call, complete in itself: no other
    /// credential would do better, and this one did well.
    fn fail(&mut self, complaint: &Complaint) {
        match complaint.judge_in_stream() {
            Judgement::Fault(fault) => self.end(Progress::Failed(fault)),
            Judgement::Caller | Judgement::Good => self.finish(),
        }
    }

    /// The first end stands.
    fn end(&mut self, end: Progress) {
        if self.progress == Progress::Open {
            self.progress = end;
        }
    }

    fn count(&mut self, usage: Option<Usage>) {
        self.usage = usage.or(self.usage);
    }
}

/// OpenAI's chat and text completions.
fn read_chat(event: &Event<'_>, standing: &mut Standing) {
    if event.data == b"[DONE]" {
        return standing.finish();
    }
    if let Some(object) = objects_of(&USAGE, event.data).next() {
        standing.count(counts::openai(object));
    }
    if value_of(&ERROR, event.data).is_some_and(|value| !value.starts_with(b"null"))
        && let Some(complaint) = Complaint::within(event.data)
    {
        standing.fail(&complaint);
    }
}

/// OpenAI's images and transcriptions: the last event is the one with the usage.
fn read_media(event: &Event<'_>, standing: &mut Standing) {
    read_chat(event, standing);
    if standing.usage.is_some() {
        standing.finish();
    }
}

/// OpenAI's Responses. Its last event repeats the tools, whose schemas may have any key: it is
/// parsed by structure.
fn read_responses(event: &Event<'_>, standing: &mut Standing) {
    match kind_of(event) {
        b"response.completed" | b"response.incomplete" => {
            standing.count(response_usage(event));
            standing.finish();
        }
        b"response.failed" => {
            standing.count(response_usage(event));
            standing.fail(&Complaint::read(event.data));
        }
        b"error" => standing.fail(&Complaint::read(event.data)),
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
fn read_messages(event: &Event<'_>, standing: &mut Standing) {
    match kind_of(event) {
        b"message_start" | b"message_delta" => {
            let counts = objects_of(&USAGE, event.data)
                .next()
                .and_then(counts::leading);
            standing.counts.merge(counts.unwrap_or_default());
            standing.count(standing.counts.usage());
        }
        b"message_stop" => standing.finish(),
        b"error" => standing.fail(&Complaint::read(event.data)),
        _ => {}
    }
}

/// Gemini. Each chunk may count anew, those after the last word too.
fn read_gemini(event: &Event<'_>, standing: &mut Standing) {
    let data = event.data;
    count_gemini(event, standing);
    if starts_with_key(data, b"\"error\"") {
        return standing.fail(&Complaint::read(data));
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
fn kind_of<'e>(event: &Event<'e>) -> &'e [u8] {
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
