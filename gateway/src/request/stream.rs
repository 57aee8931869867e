//! The answer, chunk by chunk: to the caller as it comes, past the meter.

use std::pin::{Pin, pin};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pingora::protocols::http::ServerSession;
use turnpike_api::{Clock, Mark, Operation, Progress};
use turnpike_providers::SaidModel;

use super::count::{self, Count};
use super::forward::{Answer, Next, Received};
use super::select::{Lease, Outcome};
use super::usage_chunk::WithoutUsage;
use super::{Connection, Stop};
use crate::context::Context;
use crate::drain::Drain;
use crate::record::Ending;
use crate::refusal::{Reason, Refusal, is_bodiless};

/// How the passing of an answer ended.
enum Passed {
    Whole,
    ClientGone,
    /// The provider broke off, or stopped short of what completes an answer.
    Short(Refusal),
    /// The gateway ends.
    Cut,
}

/// Passes a committed answer on.
pub async fn stream(
    session: &mut ServerSession,
    context: &mut Context<'_>,
    answer: Answer<'_, '_>,
) -> Result<Connection, Stop> {
    let Answer {
        lease,
        mut received,
        operation,
        hides_usage,
        deadline,
    } = answer;
    let mut passing = Passing {
        operation,
        deadline,
        lease: lease.as_ref(),
        count: Count::new(operation),
        hiding: (hides_usage && received.event_stream).then(WithoutUsage::default),
        first: received.event_stream,
        first_after: None,
        between_events: true,
        said: context
            .recording
            .is_some()
            .then(|| SaidModel::of(operation)),
    };
    let passed = passing.pass(session, context, &mut received).await;
    let usage = received.meter.usage();
    let price = lease.as_ref().and_then(|lease| lease.member.price);
    context.record.usage = usage;
    context.record.cost = price.zip(usage).map(|(price, usage)| price.of(&usage));
    let Passing {
        count,
        between_events,
        first_after,
        said,
        ..
    } = passing;
    context.record.first_chunk = first_after;
    context.attempt_says(said.and_then(SaidModel::name));
    if let Some(lease) = lease {
        count.end(&lease, &received);
        let now = context.runtime.board.time.now();
        lease.settle(outcome(&passed, &received, now), context);
    }

    let status = received.status;
    match (passed, received.rest) {
        (Passed::Whole, rest) => {
            if let Some(rest) = rest {
                rest.release(context.runtime);
            }
            context.record.ending = Ending::Answered { status };
            Ok(Connection::Keep)
        }
        (Passed::ClientGone, rest) => {
            if let Some(rest) = rest {
                rest.abandon().await;
            }
            Err(Stop::ClientGone)
        }
        (passed @ (Passed::Short(_) | Passed::Cut), rest) => {
            if let Some(rest) = rest {
                rest.abandon().await;
            }
            let refusal = match passed {
                Passed::Short(refusal) => refusal,
                _ => shut_down(),
            };
            context.record.ending = Ending::Incomplete {
                status,
                reason: refusal.reason,
            };
            let drain = &context.runtime.drain;
            let said = received.event_stream
                && say_so(session, drain, operation, between_events, &refusal).await;
            Ok(if said {
                Connection::Keep
            } else {
                Connection::Cut
            })
        }
    }
}

fn outcome(passed: &Passed, received: &Received, now: u64) -> Outcome {
    match (passed, received.progress) {
        (Passed::ClientGone, _) => Outcome::ClientGone,
        (Passed::Short(_), _) => Outcome::Broken("incomplete"),
        (Passed::Cut, _) => Outcome::Broken("cut_here"),
        (Passed::Whole, Progress::Failed(fault)) => Outcome::Fault(fault, received.meter.hint(now)),
        (Passed::Whole, _) => Outcome::Good,
    }
}

/// An answer on its way to the caller.
struct Passing<'l, 'p, 'm> {
    operation: Operation,
    deadline: Instant,
    /// `None` when what is passed on is a refusal.
    lease: Option<&'l Lease<'p, 'm>>,
    count: Count,
    /// What takes out the chunk that the caller did not ask for.
    hiding: Option<WithoutUsage>,
    /// The first piece of a stream has not gone yet.
    first: bool,
    /// When it went, from the request's head.
    first_after: Option<Duration>,
    /// What has gone ends with a whole event.
    between_events: bool,
    /// The model that the answer names, where its trace is recorded.
    said: Option<SaidModel>,
}

impl Passing<'_, '_, '_> {
    /// Writes the head, what is held, and the rest as it comes.
    async fn pass(
        &mut self,
        session: &mut ServerSession,
        context: &Context<'_>,
        received: &mut Received,
    ) -> Passed {
        let idle = context.snapshot.timeouts.idle;
        let drain = &context.runtime.drain;
        if let Some(head) = received.head.take()
            && let Err(ended) = taken(drain, pin!(session.write_response_header(head))).await
        {
            return ended;
        }
        if is_bodiless(received.status) {
            return finish(session, drain).await;
        }
        for piece in std::mem::take(&mut received.held) {
            self.listen(&piece);
            self.count.bytes += piece.len() as u64;
            let complete = received.progress == Progress::Finished;
            let counted = self.count_if(complete, received);
            self.keep(counted).await;
            if let Err(ended) = self.write(session, context, piece, false).await {
                return ended;
            }
        }
        while let Some(rest) = &mut received.rest {
            let patience = idle.min(self.deadline.saturating_duration_since(Instant::now()));
            let stopped = match rest.next(session, drain, patience).await {
                Next::Piece(piece) => Ok(piece),
                Next::End => break,
                Next::ClientGone => return Passed::ClientGone,
                Next::BrokeOff(_) => Err(Passed::Short(broke_off())),
                Next::Silent => Err(Passed::Short(silent(patience))),
                Next::Cut => Err(Passed::Cut),
            };
            let piece = match stopped {
                Ok(piece) => piece,
                Err(stopped) => return self.stop(session, context, received, stopped).await,
            };
            received.progress = received.meter.read(&piece);
            self.listen(&piece);
            // The end goes out with the last piece when it is known by then: one send, not two.
            let end = rest.is_done() && self.is_complete(received);
            self.count.bytes += piece.len() as u64;
            let complete = end || received.progress == Progress::Finished;
            let counted = self.count_if(complete, received);
            self.keep(counted).await;
            if let Err(ended) = self.write(session, context, piece, end).await {
                return ended;
            }
            if end {
                return Passed::Whole;
            }
        }
        if let Err(ended) = self.write_rest(session, context).await {
            return ended;
        }
        match self.is_complete(received) {
            true => finish(session, drain).await,
            false => Passed::Short(incomplete()),
        }
    }

    /// No more comes of the answer, so or in another way. A stream that has said its end is whole all the
    /// same: its caller may have stopped reading there, and an error behind it would belie it.
    async fn stop(
        &mut self,
        session: &mut ServerSession,
        context: &Context<'_>,
        received: &mut Received,
        stopped: Passed,
    ) -> Passed {
        if let Err(ended) = self.write_rest(session, context).await {
            return ended;
        }
        if !(received.event_stream && self.between_events && has_ended(received.progress)) {
            return stopped;
        }
        if let Some(rest) = received.rest.take() {
            // It is not read to its end: the connection is good for nothing more.
            rest.abandon().await;
        }
        finish(session, &context.runtime.drain).await
    }

    /// What was held back of the stream's end.
    async fn write_rest(
        &mut self,
        session: &mut ServerSession,
        context: &Context<'_>,
    ) -> Result<(), Passed> {
        let rest = self.hiding.take();
        let rest = rest.map(|mut hiding| hiding.pass(Bytes::new(), true));
        match rest.filter(|rest| !rest.is_empty()) {
            Some(rest) => self.write(session, context, rest, false).await,
            None => Ok(()),
        }
    }

    fn listen(&mut self, piece: &[u8]) {
        if let Some(said) = &mut self.said {
            said.read(piece);
        }
    }

    fn count_if(&mut self, complete: bool, received: &Received) -> Option<Mark> {
        let lease = self.lease.filter(|_| complete)?;
        self.count.told(lease, received)
    }

    /// What completes an answer goes to the caller after it was counted and written down.
    async fn keep(&self, counted: Option<Mark>) {
        if let (Some(lease), Some(mark)) = (self.lease, counted) {
            count::keep(lease, mark).await;
        }
    }

    async fn write(
        &mut self,
        session: &mut ServerSession,
        context: &Context<'_>,
        piece: Bytes,
        end: bool,
    ) -> Result<(), Passed> {
        let drain = &context.runtime.drain;
        let piece = match &mut self.hiding {
            Some(hiding) => hiding.pass(piece, end),
            None => piece,
        };
        if piece.is_empty() {
            return match end {
                true => taken(drain, pin!(session.finish_body())).await,
                false => Ok(()),
            };
        }
        if std::mem::take(&mut self.first) {
            let after = context.record.started.elapsed();
            self.first_after = Some(after);
            if let Some(lease) = self.lease {
                lease.member.metrics.first_chunk(self.operation, after);
            }
        }
        self.between_events = piece.ends_with(b"\n\n") || piece.ends_with(b"\r\n\r\n");
        taken(drain, pin!(session.write_response_body(piece, end))).await
    }

    /// Whether an answer whose bytes have all been read is all there. A stream has to say so
    /// itself: its provider may have died and its connection been closed in good order.
    fn is_complete(&self, received: &Received) -> bool {
        let good = (200..300).contains(&received.status);
        let must_say = match self.operation {
            // Without `alt=sse` it is an array, streamed all the same.
            Operation::StreamGenerateContent => good,
            Operation::PassThrough => false,
            _ => good && received.event_stream,
        };
        !must_say || has_ended(received.progress)
    }
}

/// Whether a stream has said its end, be it good or bad.
fn has_ended(progress: Progress) -> bool {
    matches!(progress, Progress::Finished | Progress::Failed(_))
}

/// Ends a stream that cannot be completed with its dialect's error event. Other answers have no
/// way to say it but to be cut.
async fn say_so(
    session: &mut ServerSession,
    drain: &Drain,
    operation: Operation,
    between_events: bool,
    refusal: &Refusal,
) -> bool {
    let mut event = Vec::new();
    if !between_events {
        event.extend_from_slice(b"\n\n");
    }
    event.extend_from_slice(&refusal.event(operation));
    let saying = session.write_response_body(event.into(), true);
    taken(drain, pin!(saying)).await.is_ok()
}

async fn finish(session: &mut ServerSession, drain: &Drain) -> Passed {
    match taken(drain, pin!(session.finish_body())).await {
        Ok(()) => Passed::Whole,
        Err(ended) => ended,
    }
}

/// Waits until the caller has taken what is written; at the gateway's end it is not waited for.
async fn taken(
    drain: &Drain,
    writing: Pin<&mut impl Future<Output = pingora::Result<()>>>,
) -> Result<(), Passed> {
    match drain.taken(writing).await {
        Some(Ok(())) => Ok(()),
        Some(Err(_)) => Err(Passed::ClientGone),
        None => Err(Passed::Cut),
    }
}

fn silent(patience: Duration) -> Refusal {
    let seconds = patience.as_secs();
    Refusal::new(
        Reason::UpstreamTimeout,
        format!("the provider said nothing for {seconds} s; the answer is not complete"),
    )
}

fn shut_down() -> Refusal {
    Refusal::new(
        Reason::Draining,
        "the gateway shut down; the answer is not complete",
    )
}

fn broke_off() -> Refusal {
    Refusal::new(
        Reason::UpstreamFailed,
        "the provider broke off; the answer is not complete",
    )
}

fn incomplete() -> Refusal {
    Refusal::new(
        Reason::UpstreamIncomplete,
        "the provider stopped before the end; the answer is not complete",
    )
}
