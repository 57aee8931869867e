//! The meters: usage, beginning and end of an answer, read as it passes.

use turnpike_api::{Hint, Judgement, Meter, Operation, Progress, Usage};

use crate::answer_scan::AnswerScan;
use crate::complaint::Complaint;
use crate::counts::{self, AnthropicCounts, ReadUsage};
use crate::event_stream::{Event, Splitter};
use crate::hint;
use crate::openings::{
    IsOpening, opens_chat, opens_gemini, opens_media, opens_message, opens_response,
};
use crate::stream_events::{read_chat, read_gemini, read_media, read_messages, read_responses};

/// The largest event that is kept for what it says of when to come back.
const MAX_REFUSAL: usize = 64 << 10;

/// The meter for an answer to `operation`.
pub(crate) fn meter(operation: Operation, event_stream: bool) -> Box<dyn Meter> {
    use Operation::*;
    match (operation, event_stream) {
        (ChatCompletions | Completions | Embeddings, true) => stream(read_chat, opens_chat),
        (Responses, true) => stream(read_responses, opens_response),
        (PassThrough, true) => stream(read_media, opens_media),
        (Messages | CountMessageTokens, true) => stream(read_messages, opens_message),
        (GenerateContent | StreamGenerateContent | CountTokens | EmbedContent, true) => {
            stream(read_gemini, opens_gemini)
        }
        (ChatCompletions | Completions | Responses | Embeddings | PassThrough, false) => {
            document(b"usage\"", counts::read_openai)
        }
        (Messages | CountMessageTokens, false) => document(b"usage\"", counts::read_anthropic),
        (GenerateContent | StreamGenerateContent | CountTokens | EmbedContent, false) => {
            document(b"usageMetadata\"", counts::read_gemini)
        }
    }
}

/// Reads one event into the standing.
type ReadEvent = fn(&Event<'_>, &mut Standing);

fn stream(read_event: ReadEvent, is_opening: IsOpening) -> Box<dyn Meter> {
    Box::new(StreamMeter {
        splitter: Splitter::default(),
        standing: Standing::default(),
        read_event,
        is_opening,
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
    is_opening: IsOpening,
}

impl Meter for StreamMeter {
    fn read(&mut self, piece: &[u8]) -> Progress {
        let Self {
            splitter,
            standing,
            read_event,
            is_opening,
        } = self;
        splitter.feed(piece, |event| {
            read_event(&event, standing);
            // Without data it is no event by the standard: some servers keep the line warm so.
            if standing.progress == Progress::Undecided
                && !event.data.is_empty()
                && !is_opening(&event)
            {
                standing.progress = Progress::Open;
            }
        });
        standing.progress
    }

    fn usage(&self) -> Option<Usage> {
        counts::gemini(&self.standing.unread).or(self.standing.usage)
    }

    fn hint(&self, now: u64) -> Hint {
        match self.standing.progress {
            Progress::Failed(fault) => hint::of_event(fault, now, &self.standing.refusal),
            Progress::Undecided | Progress::Open | Progress::Finished => Hint::default(),
        }
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
        self.scan.feed(piece, |bytes| {
            let (usage, len) = (self.read_usage)(bytes)?;
            self.usage = Some(usage);
            Some(len)
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
pub(crate) struct Standing {
    progress: Progress,
    pub(crate) usage: Option<Usage>,
    /// Anthropic's counts, which come in two events.
    pub(crate) counts: AnthropicCounts,
    /// Gemini's counts, which come in every chunk: the last ones, to be parsed when asked for.
    pub(crate) unread: Vec<u8>,
    /// The data of the event it failed with.
    refusal: Vec<u8>,
}

impl Default for Standing {
    fn default() -> Self {
        Self {
            progress: Progress::Undecided,
            usage: None,
            counts: AnthropicCounts::default(),
            unread: Vec::new(),
            refusal: Vec::new(),
        }
    }
}

impl Standing {
    pub(crate) fn finish(&mut self) {
        self.end(Progress::Finished);
    }

    /// An error the caller caused is the answer to its call, complete in itself: no other
    /// credential would do better, and this one did well.
    pub(crate) fn fail(&mut self, complaint: &Complaint, data: &[u8]) {
        match complaint.judge_in_stream() {
            Judgement::Fault(fault) => {
                if self.end(Progress::Failed(fault)) && data.len() <= MAX_REFUSAL {
                    self.refusal = data.to_vec();
                }
            }
            Judgement::Caller | Judgement::Good => self.finish(),
        }
    }

    /// The first end stands: whether this was it.
    fn end(&mut self, end: Progress) -> bool {
        let first = matches!(self.progress, Progress::Undecided | Progress::Open);
        if first {
            self.progress = end;
        }
        first
    }

    pub(crate) fn count(&mut self, usage: Option<Usage>) {
        self.usage = usage.or(self.usage);
    }
}
