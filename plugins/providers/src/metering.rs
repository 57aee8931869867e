//! The meters: usage and the end of an answer, read as it passes.

use turnpike_api::{Judgement, Meter, Operation, Progress, Usage};

use crate::answer_scan::AnswerScan;
use crate::complaint::Complaint;
use crate::counts::{self, AnthropicCounts, ReadUsage};
use crate::event_stream::{Event, Splitter};
use crate::stream_events::{read_chat, read_gemini, read_media, read_messages, read_responses};

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
    pub(crate) fn finish(&mut self) {
        self.end(Progress::Finished);
    }

    /// An error the caller caused is the answer to its call, complete in itself: no other
    /// credential would do better, and this one did well.
    pub(crate) fn fail(&mut self, complaint: &Complaint) {
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

    pub(crate) fn count(&mut self, usage: Option<Usage>) {
        self.usage = usage.or(self.usage);
    }
}
