//! The request's body: bounded in size and time, and charged to the budget of all bodies held.

use std::pin::pin;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use pingora::protocols::http::ServerSession;
use pingora::{Error as PingoraError, ErrorType};

use super::{Stop, draining};
use crate::context::Context;
use crate::refusal::{Reason, Refusal};
use crate::runtime::Runtime;
use crate::within::within;

/// A body, charged to the process's budget for as long as it is held.
pub struct Body<'r> {
    pub bytes: Bytes,
    _charge: Charge<'r>,
}

/// What a request's body may take.
#[derive(Clone, Copy)]
pub struct Share {
    /// Bytes of this one.
    most: u64,
    /// Bytes of all that are held, this one included.
    of_all: u64,
}

impl Share {
    /// Of a caller who is known: what `server.limits` say.
    pub fn of_known(context: &Context<'_>) -> Self {
        Self {
            most: context.snapshot.limits.max_body,
            of_all: context.snapshot.limits.max_buffered,
        }
    }

    /// Of whoever comes: the better part of the memory stays to those who are known.
    pub fn of_a_stranger(context: &Context<'_>) -> Self {
        let known = Self::of_known(context);
        Self {
            of_all: known.of_all / 4,
            ..known
        }
    }

    /// With a smaller body.
    pub fn up_to(self, most: u64) -> Self {
        Self {
            most: self.most.min(most),
            ..self
        }
    }
}

/// Reads the whole body.
pub async fn receive<'r>(
    session: &mut ServerSession,
    context: &Context<'r>,
    share: Share,
) -> Result<Body<'r>, Stop> {
    let (limits, most) = (&context.snapshot.limits, share.most);
    let headers = &session.req_header().headers;
    refuse_unreadable(headers)?;
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|len| len > most) {
        return Err(too_large(most).into());
    }
    let expects_continue = headers
        .get(EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    if expects_continue {
        let asked_for = session.write_continue_response().await;
        asked_for.map_err(|_| Stop::ClientGone)?;
    }
    let collecting = pin!(collect(session, context, announced, share));
    tokio::select! {
        biased;
        body = within(limits.body_timeout, collecting) => {
            body.unwrap_or_else(|| Err(too_late().into()))
        }
        () = context.runtime.drain.until_cut() => Err(draining().into()),
    }
}

fn too_late() -> Refusal {
    Refusal::new(
        Reason::RequestTimeout,
        "the request's body did not arrive in time",
    )
}

/// Refuses a body whose bytes, or whose end, could be understood in more than one way.
fn refuse_unreadable(headers: &HeaderMap) -> Result<(), Refusal> {
    let encoding = headers.get(CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| encoding != "identity") {
        return Err(invalid(
            "compressed request bodies are not served: send it without Content-Encoding",
        ));
    }
    if !is_plainly_framed(headers) {
        return Err(invalid(
            "the request's Transfer-Encoding is not understood: only `chunked`, given once, is",
        ));
    }
    Ok(())
}

/// Whether a proxy in front could not have read another transfer coding, and so another end of the
/// body, out of the same head. Pingora looks at the last coding only.
fn is_plainly_framed(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    }
}

async fn collect<'r>(
    session: &mut ServerSession,
    context: &Context<'r>,
    announced: Option<u64>,
    Share { most, of_all }: Share,
) -> Result<Body<'r>, Stop> {
    let mut charge = Charge {
        runtime: context.runtime,
        bytes: 0,
    };
    let mut pieces = Pieces::default();
    while let Some(piece) = read_piece(session).await? {
        if charge.bytes + piece.len() as u64 > most {
            return Err(too_large(most).into());
        }
        charge.add(piece.len() as u64, of_all)?;
        pieces.add(piece, announced.unwrap_or(0).min(most));
        // Most bodies come in one piece, after which there is nothing to look for.
        if session.is_body_done() {
            break;
        }
    }
    let bytes = pieces.joined();
    if announced.is_some_and(|len| len != bytes.len() as u64) {
        return Err(invalid("the request's body ended before its Content-Length").into());
    }
    Ok(Body {
        bytes,
        _charge: charge,
    })
}

/// Pingora's names for bodies whose chunks are not well-formed.
const MALFORMED: [&str; 2] = ["InvalidChunk", "InvalidTrailerEnd"];

async fn read_piece(session: &mut ServerSession) -> Result<Option<Bytes>, Stop> {
    let read = session.read_request_body().await;
    read.map_err(|error| {
        // Pingora counts a body that it could not read as done and would take what follows for
        // the next request: bytes whose place nobody knows must not become one.
        session.set_keepalive(None);
        unreadable(&error)
    })
}

fn unreadable(error: &PingoraError) -> Stop {
    if MALFORMED.contains(&error.etype.as_str()) {
        invalid("the request's body is not well-formed chunked encoding").into()
    } else if error.etype == ErrorType::ConnectionClosed {
        // Who closed only its sending half is still there to be told.
        invalid("the request's body ended before it was whole").into()
    } else {
        Stop::ClientGone
    }
}

/// The pieces of a body. Most bodies come in one, and are not copied.
#[derive(Default)]
struct Pieces {
    first: Bytes,
    rest: BytesMut,
}

impl Pieces {
    fn add(&mut self, piece: Bytes, expected: u64) {
        if self.first.is_empty() {
            self.first = piece;
            return;
        }
        if self.rest.is_empty() {
            self.rest.reserve(expected as usize);
            self.rest.extend_from_slice(&self.first);
        }
        self.rest.extend_from_slice(&piece);
    }

    fn joined(self) -> Bytes {
        match self.rest.is_empty() {
            true => self.first,
            false => self.rest.freeze(),
        }
    }
}

fn invalid(message: &'static str) -> Refusal {
    Refusal::new(Reason::InvalidBody, message)
}

fn too_large(max_body: u64) -> Refusal {
    Refusal::new(
        Reason::BodyTooLarge,
        format!("the request's body is larger than the {max_body} bytes allowed here"),
    )
}

/// A part of `server.limits.max_buffered`, given back when dropped.
struct Charge<'r> {
    runtime: &'r Runtime,
    bytes: u64,
}

impl Charge<'_> {
    fn add(&mut self, bytes: u64, max_buffered: u64) -> Result<(), Refusal> {
        let before = self.runtime.buffered.fetch_add(bytes, Ordering::Relaxed);
        self.runtime.metrics.buffered().add(bytes.cast_signed());
        self.bytes += bytes;
        if before + bytes > max_buffered {
            return Err(Refusal::new(
                Reason::Overloaded,
                "the gateway holds as many request bodies as it may: try again shortly",
            ));
        }
        Ok(())
    }
}

impl Drop for Charge<'_> {
    fn drop(&mut self) {
        let bytes = self.bytes;
        self.runtime.buffered.fetch_sub(bytes, Ordering::Relaxed);
        self.runtime.metrics.buffered().sub(bytes.cast_signed());
    }
}
