//! One attempt, up to its judgement.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use pingora::Error as PingoraError;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::client::HttpSession;
use pingora::protocols::http::v1::client::HttpSession as Http1;
use pingora::protocols::http::v2::client::Http2Session;
use pingora::time::timeout;
use thiserror::Error;
use turnpike_api::{Judgement, Meter, Progress};

use super::{Outgoing, heads, send};
use crate::context::Context;
use crate::refusal::{Reason, Refusal};
use crate::request::select::Lease;
use crate::runtime::Runtime;
use crate::upstream::Endpoint;

/// As much of an answer as is read before it is judged: all of any error's body, and more than
/// any first event.
const JUDGED: usize = 64 * 1024;

/// How an attempt ended.
pub(super) enum Attempt {
    /// With an answer.
    Judged(Received, Judgement),
    /// Without one.
    Broken(Broken),
    ClientGone,
}

/// Why there was no answer. The texts reach logs, never callers.
#[derive(Debug, Error)]
pub(super) enum Broken {
    #[error("cannot connect: {0}")]
    Unreachable(Box<PingoraError>),
    #[error("the provider broke off before it answered: {0}")]
    Cut(String),
    #[error("the provider did not answer within {0:?}")]
    TimedOut(Duration),
}

impl Broken {
    /// As it stands in metrics.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Cut(_) => "cut",
            Self::TimedOut(_) => "timed_out",
        }
    }

    /// What the caller is told.
    pub(super) fn refusal(&self, providers: &str) -> Refusal {
        match self {
            Self::Unreachable(_) => Refusal::new(
                Reason::UpstreamUnreachable,
                format!("the provider {providers} cannot be reached"),
            ),
            Self::Cut(_) => Refusal::new(
                Reason::UpstreamFailed,
                format!("the provider {providers} closed the connection before it answered"),
            ),
            Self::TimedOut(_) => Refusal::new(
                Reason::UpstreamTimeout,
                format!("the provider {providers} did not answer in time"),
            ),
        }
    }
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

/// A connection with an answer on it that is not read to its end.
pub struct Rest {
    pub session: HttpSession<()>,
    pub endpoint: Endpoint,
}

impl Rest {
    /// The next piece of the body; `None` at its end.
    pub async fn read(&mut self) -> pingora::Result<Option<Bytes>> {
        loop {
            match self.session.read_response_body().await? {
                // An empty DATA frame says nothing.
                Some(piece) if piece.is_empty() => {}
                piece => return Ok(piece),
            }
        }
    }

    /// Whether the piece read last was the end of the body.
    pub fn is_done(&mut self) -> bool {
        match &mut self.session {
            HttpSession::H2(h2) => matches!(h2.check_response_end_or_error(), Ok(true)),
            h1 => h1.response_done(),
        }
    }

    /// Keeps the connection for another request, if its answer was read to the end.
    pub async fn release(self, runtime: &Runtime) {
        runtime
            .connector
            .release_http_session(self.session, &self.endpoint, idle_timeout(&self.endpoint))
            .await;
    }

    /// Tells the provider that nobody listens any more.
    pub async fn abandon(mut self) {
        // Dropping an HTTP/1 session closes its connection; an HTTP/2 stream has to be reset.
        if let HttpSession::H2(_) = self.session {
            self.session.shutdown().await;
        }
    }
}

fn idle_timeout(endpoint: &Endpoint) -> Option<Duration> {
    pingora::upstreams::peer::Peer::idle_timeout(endpoint)
}

/// Waits for `work` while watching the caller; `None` when it left.
pub async fn watching<T>(session: &mut ServerSession, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = work => Some(done),
        _ = session.read_body_or_idle(true) => None,
    }
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
    let mut exchanged = exchange(session, context, lease, call, deadline).await;
    if let Exchanged::BrokenOnReused(_) = exchanged {
        // The provider closed an idle connection as we took it from the pool: nobody's fault,
        // and no reason to leave this credential.
        exchanged = exchange(session, context, lease, call, deadline).await;
    }
    let attempt = match exchanged {
        Exchanged::Answered(rest) => judge(session, context, lease, call, rest, deadline).await,
        Exchanged::Broken(broken) | Exchanged::BrokenOnReused(broken) => Attempt::Broken(broken),
        Exchanged::ClientGone => Attempt::ClientGone,
    };
    context.record.waited += began.elapsed();
    attempt
}

enum Exchanged {
    /// The answer's head was read.
    Answered(Rest),
    Broken(Broken),
    /// Before any byte of an answer, on a connection that had served before.
    BrokenOnReused(Broken),
    ClientGone,
}

/// Sends the request and reads the answer's head.
async fn exchange(
    session: &mut ServerSession,
    context: &Context<'_>,
    lease: &Lease<'_, '_>,
    call: &Outgoing<'_>,
    deadline: Instant,
) -> Exchanged {
    let endpoint = &lease.member.credential.endpoint;
    let patience = context
        .snapshot
        .timeouts
        .first_byte
        .min(deadline.saturating_duration_since(Instant::now()));
    let body = call.body_for(lease.member);
    let connected = match watching(
        session,
        context.runtime.connector.get_http_session(endpoint),
    )
    .await
    {
        Some(connected) => connected,
        None => return Exchanged::ClientGone,
    };
    let (upstream, reused) = match connected {
        Ok(connected) => connected,
        Err(error) => return Exchanged::Broken(Broken::Unreachable(error)),
    };
    let client = &session.req_header().headers;
    let prepared = match upstream {
        HttpSession::H1(h1) => {
            Prepared::H1(h1, heads::http1(call, lease, client, context, body.len()))
        }
        HttpSession::H2(h2) => match heads::http2(call, lease, client, context, body.len()) {
            Some(head) => Prepared::H2(h2, head),
            None => {
                return Exchanged::Broken(Broken::Cut(
                    "a header cannot be sent over HTTP/2".to_owned(),
                ));
            }
        },
        HttpSession::Custom(()) => {
            return Exchanged::Broken(Broken::Cut("no such protocol is configured".to_owned()));
        }
    };
    let talking = talk(prepared, endpoint, body);
    match watching(session, timeout(patience, talking)).await {
        None => Exchanged::ClientGone,
        Some(Ok(Ok(session))) => Exchanged::Answered(Rest {
            session,
            endpoint: endpoint.clone(),
        }),
        Some(Ok(Err(error))) if reused => Exchanged::BrokenOnReused(Broken::Cut(error)),
        Some(Ok(Err(error))) => Exchanged::Broken(Broken::Cut(error)),
        Some(Err(_)) => Exchanged::Broken(Broken::TimedOut(patience)),
    }
}

/// A connection, and the head to send on it.
enum Prepared {
    H1(Http1, BytesMut),
    H2(Http2Session, Box<RequestHeader>),
}

/// Sends the request and reads up to the answer's final head.
async fn talk(
    prepared: Prepared,
    endpoint: &Endpoint,
    body: Bytes,
) -> Result<HttpSession<()>, String> {
    match prepared {
        Prepared::H1(h1, head) => {
            let h1 = send::http1(h1, endpoint, head, body)
                .await
                .map_err(|error| error.to_string())?;
            final_head(HttpSession::H1(h1)).await
        }
        Prepared::H2(mut h2, head) => {
            let answered = match h2.write_request_header(head, body.is_empty()) {
                Ok(()) if body.is_empty() => h2.read_response_header().await,
                Ok(()) => send::http2_body_and_answer(&mut h2, body).await,
                Err(error) => Err(error),
            };
            answered
                .map(|()| HttpSession::H2(h2))
                .map_err(|error| error.to_string())
        }
    }
}

/// Reads heads until one is final: 1xx answers are of this hop and mean nothing to the caller.
async fn final_head(mut session: HttpSession<()>) -> Result<HttpSession<()>, String> {
    loop {
        session
            .read_response_header()
            .await
            .map_err(|error| error.to_string())?;
        match session.response_header().map(|head| head.status) {
            Some(status) if status.as_u16() == 101 => {
                return Err("it switched protocols unasked".to_owned());
            }
            Some(status) if status.is_informational() => {}
            Some(_) => return Ok(session),
            None => return Err("its answer has no head".to_owned()),
        }
    }
}

/// Reads as much of the body as the judgement needs, and judges.
async fn judge(
    session: &mut ServerSession,
    context: &Context<'_>,
    lease: &Lease<'_, '_>,
    call: &Outgoing<'_>,
    rest: Rest,
    deadline: Instant,
) -> Attempt {
    let Some(provider) = rest.session.response_header() else {
        return Attempt::Broken(Broken::Cut("its answer has no head".to_owned()));
    };
    let status = provider.status.as_u16();
    let client = session.req_header();
    let (h1, version) = (!session.is_http2(), client.version);
    let head = match heads::for_client(
        provider,
        h1,
        version,
        call.operation.dialect(),
        context.record.id.header(),
    ) {
        Ok(head) => head,
        Err(error) => return Attempt::Broken(Broken::Cut(error.to_string())),
    };
    let event_stream = provider.headers.get(CONTENT_TYPE).is_some_and(|kind| {
        kind.as_bytes()
            .to_ascii_lowercase()
            .starts_with(b"text/event-stream")
    });
    let plugin = &lease.member.credential.vendor.plugin;
    let provider_headers = if status < 300 {
        None
    } else {
        Some(provider.headers.clone())
    };
    let mut received = Received {
        status,
        head: Some(head),
        held: Vec::new(),
        rest: Some(rest),
        meter: plugin.meter(call.operation, event_stream),
        progress: Progress::Undecided,
        event_stream,
    };
    let Some(headers) = provider_headers else {
        if !event_stream {
            return Attempt::Judged(received, Judgement::Good);
        }
        return match hold(session, context, &mut received, deadline, |held| {
            held.progress != Progress::Undecided
        })
        .await
        {
            Held::ClientGone => Attempt::ClientGone,
            Held::Broken(broken) => Attempt::Broken(broken),
            Held::Enough => match received.progress {
                Progress::Failed(fault) => Attempt::Judged(received, Judgement::Fault(fault)),
                _ => Attempt::Judged(received, Judgement::Good),
            },
        };
    };
    match hold(session, context, &mut received, deadline, |_| false).await {
        Held::ClientGone => Attempt::ClientGone,
        // A refusal whose body broke off is still that refusal.
        Held::Enough | Held::Broken(_) => {
            let body = received.held.concat();
            let judgement = plugin.judge(status, &headers, &body);
            held_whole(&mut received, body, lease);
            Attempt::Judged(received, judgement)
        }
    }
}

/// Makes one body of a refusal that is held whole, with our own credential blotted out should the
/// provider have quoted it.
fn held_whole(received: &mut Received, body: Vec<u8>, lease: &Lease<'_, '_>) {
    if received.rest.is_some() {
        return;
    }
    let secret = lease.member.credential.secret.expose().as_bytes();
    let mut scrubbed = Vec::with_capacity(body.len());
    let mut from = 0;
    for at in memchr::memmem::find_iter(&body, secret) {
        scrubbed.extend_from_slice(&body[from..at]);
        scrubbed.extend_from_slice(b"***");
        from = at + secret.len();
    }
    scrubbed.extend_from_slice(&body[from..]);
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
    while let Some(rest) = &mut received.rest {
        let patience = context
            .snapshot
            .timeouts
            .first_byte
            .min(deadline.saturating_duration_since(Instant::now()));
        let piece = match watching(session, timeout(patience, rest.read())).await {
            None => return Held::ClientGone,
            Some(Err(_)) => return broken_off(received, Broken::TimedOut(patience)),
            Some(Ok(Err(error))) => return broken_off(received, Broken::Cut(error.to_string())),
            Some(Ok(Ok(piece))) => piece,
        };
        let Some(piece) = piece else {
            if let Some(rest) = received.rest.take() {
                rest.release(context.runtime).await;
            }
            return Held::Enough;
        };
        size += piece.len();
        received.progress = received.meter.read(&piece);
        received.held.push(piece);
        if enough(received) || size >= JUDGED {
            return Held::Enough;
        }
    }
    Held::Enough
}

fn broken_off(received: &mut Received, broken: Broken) -> Held {
    received.rest = None;
    Held::Broken(broken)
}
