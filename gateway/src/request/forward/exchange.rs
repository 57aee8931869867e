//! One exchange with a provider: the request out, up to the final head of its answer.

use std::pin::{Pin, pin};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use pingora::Error as PingoraError;
use pingora::http::RequestHeader;
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::client::HttpSession;
use pingora::protocols::http::v2::client::Http2Session;
use thiserror::Error;
use turnpike_api::Fault;

use super::{Outgoing, heads, send};
use crate::context::Context;
use crate::drain::Drain;
use crate::refusal::{Reason, Refusal};
use crate::request::count;
use crate::request::select::Lease;
use crate::runtime::Runtime;
use crate::upstream::call::CallError;
use crate::upstream::credential::Access;
use crate::upstream::{Connection, Endpoint};
use crate::within::within;

/// How an exchange ended.
pub(super) enum Exchanged {
    /// The answer's head was read.
    Answered(Rest),
    Broken(Broken),
    /// The provider had closed the idle connection that was taken from the pool.
    Stale(Broken),
    ClientGone,
    /// The gateway ends.
    Cut,
}

/// Why there was no answer. The texts reach logs, never callers.
#[derive(Debug, Error)]
pub(super) enum Broken {
    #[error("no access token: {0}")]
    NoToken(CallError),
    #[error("cannot connect: {0}")]
    Unreachable(Box<PingoraError>),
    #[error("the provider broke off before it answered: {0}")]
    Cut(String),
    #[error("the provider did not answer within {0:?}")]
    TimedOut(Duration),
    /// Nor is it to blame: the request's own time was over sooner than the provider's.
    #[error("the request's time was over {0:?} after this call was sent")]
    Late(Duration),
}

impl Broken {
    /// The provider said nothing for as long as was waited.
    pub(super) fn silent(patience: Duration, context: &Context<'_>) -> Self {
        match patience < context.snapshot.timeouts.first_byte {
            true => Self::Late(patience),
            false => Self::TimedOut(patience),
        }
    }

    /// As it stands in metrics.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Self::NoToken(_) => "no_token",
            Self::Unreachable(_) => "unreachable",
            Self::Cut(_) => "cut",
            Self::TimedOut(_) => "timed_out",
            Self::Late(_) => "late",
        }
    }

    /// What it says of the credential: a connection that broke says nothing.
    pub(super) fn fault(&self) -> Option<Fault> {
        match self {
            Self::NoToken(CallError::Refused { .. }) => Some(Fault::Unauthorized),
            // The account may be as good as ever: a token endpoint in trouble is a way that is cut.
            Self::NoToken(_) | Self::Unreachable(_) => Some(Fault::Unreachable),
            Self::TimedOut(_) => Some(Fault::Timeout),
            Self::Cut(_) | Self::Late(_) => None,
        }
    }

    /// What the caller is told.
    pub(super) fn refusal(&self, providers: &str) -> Refusal {
        let (reason, what) = match self {
            Self::NoToken(_) => (Reason::UpstreamFailed, "gives no access token"),
            Self::Unreachable(_) => (Reason::UpstreamUnreachable, "cannot be reached"),
            Self::Cut(_) => (
                Reason::UpstreamFailed,
                "closed the connection before it answered",
            ),
            Self::TimedOut(_) | Self::Late(_) => {
                (Reason::UpstreamTimeout, "did not answer in time")
            }
        };
        Refusal::new(reason, format!("the provider {providers} {what}"))
    }
}

/// A connection with an answer on it that is not read to its end.
pub struct Rest {
    session: Box<HttpSession<()>>,
    endpoint: Endpoint,
    /// All of the request was sent: if not, the connection is good for nothing more.
    sent: bool,
}

impl Rest {
    /// The answer's head.
    pub(super) fn head(&self) -> Option<&pingora::http::ResponseHeader> {
        self.session.response_header()
    }

    /// Waits for the next piece of the body while watching the caller.
    pub async fn next(
        &mut self,
        session: &mut ServerSession,
        drain: &Drain,
        patience: Duration,
    ) -> Next {
        match watching(session, drain, patience, pin!(self.read())).await {
            Waited::Done(Ok(Some(piece))) => Next::Piece(piece),
            Waited::Done(Ok(None)) => Next::End,
            Waited::Done(Err(error)) => Next::BrokeOff(error),
            Waited::Silent => Next::Silent,
            Waited::ClientGone => Next::ClientGone,
            Waited::Cut => Next::Cut,
        }
    }

    async fn read(&mut self) -> pingora::Result<Option<Bytes>> {
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
        match &mut *self.session {
            HttpSession::H2(h2) => matches!(h2.check_response_end_or_error(), Ok(true)),
            h1 => h1.response_done(),
        }
    }

    /// Keeps the connection for another request, if this one was sent and its answer read whole.
    pub fn release(self, runtime: &Runtime) {
        if self.sent {
            runtime.connections.keep(*self.session, &self.endpoint);
        }
    }

    /// Tells the provider that nobody listens any more.
    pub async fn abandon(mut self) {
        // Dropping an HTTP/1 session closes its connection; an HTTP/2 stream has to be reset.
        if let HttpSession::H2(_) = *self.session {
            self.session.shutdown().await;
        }
    }
}

/// What comes next of an answer's body.
pub enum Next {
    Piece(Bytes),
    End,
    /// The provider closed or reset before the end.
    BrokeOff(Box<PingoraError>),
    /// The provider said nothing for as long as was waited.
    Silent,
    ClientGone,
    /// The gateway ends.
    Cut,
}

/// What came of a wait.
pub(super) enum Waited<T> {
    Done(T),
    /// It took longer than one was ready to wait.
    Silent,
    ClientGone,
    /// The gateway ends.
    Cut,
}

/// A wait looks so often whether the gateway ends. To be woken by that would cost every piece of every
/// answer something; this costs those who wait for long.
const LOOK: Duration = Duration::from_secs(2);

/// Nothing else ends the wait.
pub(super) const FOR_EVER: Duration = Duration::MAX;

/// Waits for `work`, for so long, while watching the caller.
pub(super) async fn watching<T>(
    session: &mut ServerSession,
    drain: &Drain,
    patience: Duration,
    mut work: Pin<&mut impl Future<Output = T>>,
) -> Waited<T> {
    let mut left = patience;
    loop {
        if drain.is_cut() {
            return Waited::Cut;
        }
        let look = left.min(LOOK);
        tokio::select! {
            biased;
            done = within(look, work.as_mut()) => {
                if let Some(done) = done {
                    return Waited::Done(done);
                }
            }
            _ = session.read_body_or_idle(true) => return Waited::ClientGone,
        }
        left -= look;
        if left.is_zero() {
            return Waited::Silent;
        }
    }
}

/// Sends the request and reads the answer's head.
pub(super) async fn exchange(
    session: &mut ServerSession,
    context: &Context<'_>,
    lease: &Lease<'_, '_>,
    access: &Access,
    call: &Outgoing<'_>,
    deadline: Instant,
    fresh: bool,
) -> Exchanged {
    let endpoint = &lease.member.credential.endpoint;
    let left = deadline.saturating_duration_since(Instant::now());
    let patience = context.snapshot.timeouts.first_byte.min(left);
    let body = call.body_for(&lease.member);
    let connecting = context.runtime.connections.get(endpoint, fresh);
    let drain = &context.runtime.drain;
    let (connection, reused) = match watching(session, drain, left, pin!(connecting)).await {
        Waited::Done(Ok(connected)) => connected,
        Waited::Done(Err(error)) => return Exchanged::Broken(Broken::Unreachable(error)),
        Waited::Silent => return Exchanged::Broken(Broken::Late(left)),
        Waited::ClientGone => return Exchanged::ClientGone,
        Waited::Cut => return Exchanged::Cut,
    };
    let client = &session.req_header().headers;
    let prepared = match connection {
        Connection::H1(stream) => {
            let head = heads::http1(call, lease, access, client, context, body.len());
            Prepared::H1(stream, head)
        }
        Connection::H2(h2) => {
            match heads::http2(call, lease, access, client, context, body.len()) {
                Some(head) => Prepared::H2(h2, head),
                None => {
                    let why = "a header cannot be sent over HTTP/2".to_owned();
                    return Exchanged::Broken(Broken::Cut(why));
                }
            }
        }
    };
    lease.sent();
    let talking = pin!(talk(prepared, endpoint, body));
    match watching(session, drain, patience, talking).await {
        Waited::Done(Ok(rest)) => Exchanged::Answered(rest),
        Waited::Done(Err(lost)) if reused && lost.stale => Exchanged::Stale(Broken::Cut(lost.why)),
        Waited::Done(Err(lost)) => Exchanged::Broken(Broken::Cut(lost.why)),
        Waited::Silent => {
            count::unanswered(lease, call.operation);
            Exchanged::Broken(Broken::silent(patience, context))
        }
        Waited::ClientGone => {
            count::unanswered(lease, call.operation);
            Exchanged::ClientGone
        }
        Waited::Cut => {
            count::unanswered(lease, call.operation);
            Exchanged::Cut
        }
    }
}

/// A connection, and the head to send on it.
enum Prepared {
    H1(Stream, BytesMut),
    H2(Box<Http2Session>, Box<RequestHeader>),
}

/// An exchange that broke off.
struct Lost {
    why: String,
    /// As a connection breaks off that the other side had closed: before any answer.
    stale: bool,
}

impl Lost {
    fn before_an_answer(error: &PingoraError) -> Self {
        let mut retry = error.retry;
        retry.decide_reuse(true);
        Self {
            why: error.to_string(),
            stale: retry.retry(),
        }
    }

    fn answering(why: impl ToString) -> Self {
        Self {
            why: why.to_string(),
            stale: false,
        }
    }
}

/// Sends the request and reads up to the answer's final head.
async fn talk(prepared: Prepared, endpoint: &Endpoint, body: Bytes) -> Result<Rest, Lost> {
    let (session, sent) = match prepared {
        Prepared::H1(stream, head) => {
            let (h1, sent) = send::http1(stream, endpoint, head, body)
                .await
                .map_err(|error| Lost {
                    why: error.to_string(),
                    stale: true,
                })?;
            let mut session = Box::new(HttpSession::H1(h1));
            final_head(&mut session).await?;
            (session, sent)
        }
        Prepared::H2(mut h2, head) => {
            let answered = match h2.write_request_header(head, body.is_empty()) {
                Ok(()) if body.is_empty() => h2.read_response_header().await,
                Ok(()) => send::http2_body_and_answer(&mut h2, body).await,
                Err(error) => Err(error),
            };
            answered.map_err(|error| Lost::before_an_answer(&error))?;
            // A stream is one request's own; what is left unsent does not harm the connection.
            (Box::new(HttpSession::H2(*h2)), true)
        }
    };
    Ok(Rest {
        session,
        endpoint: endpoint.clone(),
        sent,
    })
}

/// Reads heads until one is final: 1xx answers are of this hop and mean nothing to the caller.
async fn final_head(session: &mut HttpSession<()>) -> Result<(), Lost> {
    session
        .read_response_header()
        .await
        .map_err(|error| Lost::before_an_answer(&error))?;
    loop {
        match session.response_header().map(|head| head.status) {
            Some(status) if status.as_u16() == 101 => {
                return Err(Lost::answering("it switched protocols unasked"));
            }
            Some(status) if status.is_informational() => {}
            Some(_) => return Ok(()),
            None => return Err(Lost::answering("its answer has no head")),
        }
        session
            .read_response_header()
            .await
            .map_err(Lost::answering)?;
    }
}
