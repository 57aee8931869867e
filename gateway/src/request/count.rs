//! What an answer used, counted before the answer is complete: a process that is killed then has
//! counted every answer that a caller has whole.

use std::future::poll_fn;
use std::task::Poll;

use turnpike_api::{Mark, Operation, Progress, Usage};

use super::forward::Received;
use super::select::Lease;

/// Bytes of a document to a token of it, roughly.
pub(super) const BYTES_A_TOKEN: u64 = 4;

/// Bytes of a stream to a token of it: nearly every token comes in an event of its own.
const BYTES_AN_EVENT: u64 = 160;

/// What was counted of one answer.
pub(super) struct Count {
    operation: Operation,
    /// As the provider said it.
    told: Option<Usage>,
    /// How much of the body was read.
    pub(super) bytes: u64,
}

impl Count {
    pub(super) fn new(operation: Operation) -> Self {
        Self {
            operation,
            told: None,
            bytes: 0,
        }
    }

    /// Of an answer that was read to be judged, and goes no further.
    pub(super) fn of_held(operation: Operation, received: &Received) -> Self {
        let bytes = received.held.iter().map(|piece| piece.len() as u64);
        Self {
            bytes: bytes.sum(),
            ..Self::new(operation)
        }
    }

    /// Counts what the provider has said by now and was not counted yet: to be kept.
    pub(super) fn told(&mut self, lease: &Lease<'_, '_>, received: &Received) -> Option<Mark> {
        let usage = received.meter.usage()?;
        let before = self.told.unwrap_or_default();
        if self.told.is_some_and(|told| told == usage) {
            return None;
        }
        let more = beyond(usage, before);
        let first = self.told.replace(usage).is_none();
        lease.member.metrics.used(&more);
        Some(lease.spend(more, false, first.into()))
    }

    /// The answer is over, complete or not: counts what there is left to count, and estimates what
    /// the provider did not say.
    pub(super) fn end(mut self, lease: &Lease<'_, '_>, received: &Received) {
        if let Some(mark) = self.told(lease, received) {
            lease.keep(mark);
        }
        if !(200..300).contains(&received.status) || !states_usage(self.operation) {
            return;
        }
        let output = match received.event_stream {
            true => self.bytes / BYTES_AN_EVENT,
            false => self.bytes / BYTES_A_TOKEN,
        };
        let missing = match self.told {
            None => Usage {
                input: lease.expected_input(),
                output,
                ..Usage::default()
            },
            // Cut short: the provider counts what it had made, and had not said so yet.
            Some(told) if received.progress != Progress::Finished => Usage {
                output: output.saturating_sub(told.output),
                ..Usage::default()
            },
            Some(told) => return lease.member.answers.had(told.output),
        };
        if self.told.is_none() {
            lease.member.metrics.missing();
        }
        if missing != Usage::default() {
            lease.keep(lease.spend(missing, true, self.told.is_none().into()));
        }
    }
}

/// A call was sent and given up before there was an answer to it: what it asked is billed all the
/// same, as far as anybody knows.
pub(super) fn unanswered(lease: &Lease<'_, '_>, operation: Operation) {
    if states_usage(operation) {
        let asked = Usage {
            input: lease.expected_input(),
            ..Usage::default()
        };
        lease.keep(lease.spend(asked, true, 1));
    }
}

/// Keeps a count together with those of the calls that end now.
pub(super) async fn keep(lease: &Lease<'_, '_>, mark: Mark) {
    others_first().await;
    lease.keep(mark);
}

/// Lets the calls run that are ready to. Tokio's own way to yield looks for input first, which
/// costs as much as the write.
pub async fn others_first() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// What of `usage` goes beyond what was known before. Counts only grow.
fn beyond(usage: Usage, before: Usage) -> Usage {
    Usage {
        input: usage.input.saturating_sub(before.input),
        output: usage.output.saturating_sub(before.output),
        cache_read: usage.cache_read.saturating_sub(before.cache_read),
        cache_write: usage.cache_write.saturating_sub(before.cache_write),
        reasoning: usage.reasoning.saturating_sub(before.reasoning),
    }
}

/// Whether a good answer of this operation says how many tokens it took.
pub(super) fn states_usage(operation: Operation) -> bool {
    match operation {
        Operation::ChatCompletions
        | Operation::Completions
        | Operation::Responses
        | Operation::Embeddings
        | Operation::Messages
        | Operation::GenerateContent
        | Operation::StreamGenerateContent => true,
        Operation::CountMessageTokens
        | Operation::CountTokens
        | Operation::EmbedContent
        | Operation::PassThrough => false,
    }
}
