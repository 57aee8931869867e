//! One attempt, up to its judgement.

use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use memchr::memmem::Finder;
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use turnpike_api::{Clock, Dialect, Fault, Hint, Judgement, Meter, Progress};

use super::Outgoing;
use super::exchange::{Broken, Exchanged, FOR_EVER, Next, Rest, Waited, exchange, watching};
use super::heads::{self, Client};
use crate::answer_head::{DECISION, ready};
use crate::context::Context;
use crate::request::count::Count;
use crate::request::select::Lease;
use crate::request::{cors, limit_headers};
use crate::upstream::credential::Access;

/// As much of an answer as is read before it is judged: all of any error's body, and more than
/// any first event.
const JUDGED: usize = 64 * 1024;

/// How long a stream that has begun is held back for its first content. An overloaded provider
/// says so at once; one that thinks must not keep the caller without a sign of life.
const HELD_BACK: Duration = Duration::from_secs(10);

/// How long a refusal's body is read. Its status says most of it, and another credential waits.
const REFUSED_IN: Duration = Duration::from_secs(10);

/// How an attempt ended.
pub(super) enum Attempt {
    /// With an answer for the caller: a good one, or one that tells of its own fault.
    Good(Received),
    /// With one that another credential may better.
    Refused(Received, Fault, Hint),
    /// Without one.
    Broken(Broken),
    ClientGone,
    /// The gateway ends.
    Cut,
}

/// An answer, as far as it was read.
pub struct Received {
    pub status: u16,
    /// The head as the caller gets it; taken when it is sent.
    pub head: Option<Box<ResponseHeader>>,
    /// What of the body was read to judge it.
    pub held: Vec<Bytes>,
    /// The rest of it; `None` when all of it is held.
    pub rest: Option<Rest>,
    pub meter: Box<dyn Meter>,
    pub progress: Progress,
    pub event_stream: bool,
}

/// Runs the attempt. Nothing of it reaches the caller.
pub(super) async fn attempt(
    session: &mut ServerSession,
    context: &mut Context<'_>,
    lease: &Lease<'_, '_>,
    call: &Outgoing<'_>,
    deadline: Instant,
) -> Attempt {
    let began = Instant::now();
    let credential = lease.member.credential;
    let asking = pin!(credential.access(context.runtime));
    let attempt = match watching(session, &context.runtime.drain, FOR_EVER, asking).await {
        Waited::Done(Ok(access)) => with(&access, session, context, lease, call, deadline).await,
        Waited::Done(Err(error)) => Attempt::Broken(Broken::NoToken(error)),
        Waited::ClientGone => Attempt::ClientGone,
        Waited::Silent | Waited::Cut => Attempt::Cut,
    };
    let took = began.elapsed();
    if let Attempt::Good(_) | Attempt::Refused(..) = attempt {
        lease.member.credential.metrics.answered(took);
    }
    context.record.waited += took;
    attempt
}

/// The attempt with a secret at hand.
async fn with(
    access: &Access,
    session: &mut ServerSession,
    context: &Context<'_>,
    lease: &Lease<'_, '_>,
    call: &Outgoing<'_>,
    deadline: Instant,
) -> Attempt {
    let mut exchanged = exchange(session, context, lease, access, call, deadline, false).await;
    if let Exchanged::Stale(_) = exchanged {
        // Nobody's fault, and no reason to leave this credential.
        lease.member.credential.metrics.outcome("stale");
        exchanged = exchange(session, context, lease, access, call, deadline, true).await;
    }
    let attempt = match exchanged {
        Exchanged::Answered(rest) => {
            judge(session, context, lease, access, call, rest, deadline).await
        }
        Exchanged::Broken(broken) | Exchanged::Stale(broken) => Attempt::Broken(broken),
        Exchanged::ClientGone => Attempt::ClientGone,
        Exchanged::Cut => Attempt::Cut,
    };
    if let Attempt::Refused(_, Fault::Unauthorized, _) = attempt {
        lease.member.credential.distrust(access);
    }
    attempt
}

/// Reads as much of the body as the judgement needs, and judges.
async fn judge(
    session: &mut ServerSession,
    context: &Context<'_>,
    lease: &Lease<'_, '_>,
    access: &Access,
    call: &Outgoing<'_>,
    rest: Rest,
    deadline: Instant,
) -> Attempt {
    let plugin = &lease.member.credential.vendor.plugin;
    let now = || context.runtime.board.time.now();
    let headers = rest.head().filter(|head| head.status.as_u16() >= 300);
    let headers = headers.map(|head| head.headers.clone());
    let mut received = match receive(session, context, lease, call, rest) {
        Ok(received) => received,
        Err(why) => return Attempt::Broken(Broken::Cut(why)),
    };
    let held = match &headers {
        None if !received.event_stream => Held::Enough,
        None => hold(session, context, &mut received, deadline, has_content).await,
        Some(_) => {
            let until = deadline.min(Instant::now() + REFUSED_IN);
            Box::pin(hold(session, context, &mut received, until, |_| false)).await
        }
    };
    match (held, headers, received.progress) {
        (Held::ClientGone, None, _) => {
            Count::of_held(call.operation, &received).end(lease, &received);
            Attempt::ClientGone
        }
        (Held::ClientGone, Some(_), _) => Attempt::ClientGone,
        (Held::Cut, headers, _) => {
            if headers.is_none() {
                Count::of_held(call.operation, &received).end(lease, &received);
            }
            Attempt::Cut
        }
        // A refusal whose body broke off is still that refusal.
        (held @ (Held::Enough | Held::Broken(_)), Some(headers), _) => {
            let is_whole = received.rest.is_none() && matches!(held, Held::Enough);
            let body = received.held.concat();
            let judgement = plugin.judge(received.status, &headers, &body);
            let secret = access.secret.expose().as_bytes();
            show_held(&mut received, &body, is_whole, secret).await;
            match judgement {
                Judgement::Fault(fault) => {
                    let hint = plugin.hint(now(), received.status, &headers, &body);
                    Attempt::Refused(received, fault, hint)
                }
                Judgement::Good | Judgement::Caller => Attempt::Good(received),
            }
        }
        (Held::Broken(broken), None, _) => {
            Count::of_held(call.operation, &received).end(lease, &received);
            Attempt::Broken(broken)
        }
        (Held::Enough, None, Progress::Failed(fault)) => {
            let hint = received.meter.hint(now());
            Attempt::Refused(received, fault, hint)
        }
        (Held::Enough, None, _) => Attempt::Good(received),
    }
}

fn has_content(received: &Received) -> bool {
    received.progress != Progress::Undecided
}

/// The answer with nothing of its body read yet.
fn receive(
    session: &ServerSession,
    context: &Context<'_>,
    lease: &Lease<'_, '_>,
    call: &Outgoing<'_>,
    rest: Rest,
) -> Result<Received, String> {
    let provider = rest.head().ok_or("its answer has no head")?;
    let client = Client {
        is_h1: !session.is_http2(),
        version: session.req_header().version,
        dialect: call.operation.dialect(),
    };
    let mut head = heads::for_client(provider, client, context.record.id.header());
    mark(&mut head.headers, context, lease, client.dialect);
    let head = ready(head);
    let event_stream = provider
        .headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.as_bytes().get(..EVENT_STREAM.len()))
        .is_some_and(|kind| kind.eq_ignore_ascii_case(EVENT_STREAM));
    let plugin = &lease.member.credential.vendor.plugin;
    Ok(Received {
        status: provider.status.as_u16(),
        head: Some(head),
        held: Vec::new(),
        rest: Some(rest),
        meter: plugin.meter(call.operation, event_stream),
        progress: Progress::Undecided,
        event_stream,
    })
}

/// Puts what is ours among the headers.
fn mark(headers: &mut HeaderMap, context: &Context<'_>, lease: &Lease<'_, '_>, dialect: Dialect) {
    headers.insert(DECISION, context.record.decision.header().clone());
    let now = context.runtime.limits.now();
    limit_headers::mark(headers, lease, dialect, now);
    cors::mark(headers, context);
}

const EVENT_STREAM: &[u8] = b"text/event-stream";

/// Makes one body of what is held of a refusal, with our own credential blotted out should the
/// provider have quoted it.
async fn show_held(received: &mut Received, body: &[u8], is_whole: bool, secret: &[u8]) {
    // A made-up key of a few letters stands in every text, and is no secret.
    let finder = (secret.len() >= 8).then(|| Finder::new(secret));
    let mut scrubbed = Vec::with_capacity(body.len());
    let mut from = 0;
    for at in finder.iter().flat_map(|finder| finder.find_iter(body)) {
        scrubbed.extend_from_slice(&body[from..at]);
        scrubbed.extend_from_slice(b"***");
        from = at + secret.len();
    }
    scrubbed.extend_from_slice(&body[from..]);
    if !is_whole {
        // The end of what is held could quote the credential, in part.
        scrubbed.truncate(scrubbed.len().saturating_sub(secret.len()));
    }
    if let Some(rest) = received.rest.take() {
        // No honest error is longer than what is held, and the rest could quote it, too.
        rest.abandon().await;
    }
    if let Some(head) = &mut received.head {
        head.remove_header(&http::header::TRANSFER_ENCODING);
        // A number always stands in a header.
        let _ = head.set_content_length(scrubbed.len());
    }
    received.held = vec![scrubbed.into()];
}

enum Held {
    Enough,
    Broken(Broken),
    ClientGone,
    Cut,
}

/// Reads pieces of the body until `enough`, its end, or [`JUDGED`] bytes. An answer read to its
/// end gives its connection back.
async fn hold(
    session: &mut ServerSession,
    context: &Context<'_>,
    received: &mut Received,
    deadline: Instant,
    enough: impl Fn(&Received) -> bool,
) -> Held {
    let mut size = 0;
    let mut held_until: Option<Instant> = None;
    while let Some(rest) = &mut received.rest {
        let until = held_until.map_or(deadline, |until| until.min(deadline));
        let patience = context
            .snapshot
            .timeouts
            .first_byte
            .min(until.saturating_duration_since(Instant::now()));
        let drain = &context.runtime.drain;
        let piece = match rest.next(session, drain, patience).await {
            Next::Piece(piece) => piece,
            Next::End => {
                if let Some(rest) = received.rest.take() {
                    rest.release(context.runtime);
                }
                return Held::Enough;
            }
            Next::ClientGone => return Held::ClientGone,
            Next::Cut => return Held::Cut,
            Next::Silent if held_until.is_some_and(|until| until < deadline) => {
                return Held::Enough;
            }
            Next::Silent => {
                received.rest = None;
                return Held::Broken(Broken::silent(patience, context));
            }
            Next::BrokeOff(error) => {
                received.rest = None;
                return Held::Broken(Broken::Cut(error.to_string()));
            }
        };
        size += piece.len();
        if received.event_stream && received.status < 300 && !piece.is_empty() {
            let longest = HELD_BACK.min(context.snapshot.timeouts.idle);
            held_until.get_or_insert_with(|| Instant::now() + longest);
        }
        received.progress = received.meter.read(&piece);
        received.held.push(piece);
        if enough(received) || size >= JUDGED {
            return Held::Enough;
        }
    }
    Held::Enough
}
