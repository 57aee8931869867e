//! Answers of the gateway's own, written whole.

use std::pin::{Pin, pin};

use http::response::Parts;
use http::{HeaderValue, StatusCode, header};
use pingora::protocols::http::ServerSession;
use pingora::{Error as PingoraError, ErrorType};
use turnpike_api::{Clock, Dialect};

use super::{Connection, Stop, cors};
use crate::answer_head::{DECISION, answer_head, ready};
use crate::audit::calls;
use crate::context::Context;
use crate::decisions::Decision;
use crate::record::Ending;
use crate::refusal::Refusal;

/// Answers with a whole body of our own.
pub async fn respond(
    session: &mut ServerSession,
    context: &mut Context<'_>,
    status: u16,
    content_type: HeaderValue,
    body: bytes::Bytes,
) -> Result<Connection, Stop> {
    let head = response_head(status, content_type, body.len(), context.record.id.header());
    let connection = whole(session, context, head, body).await?;
    context.record.ending = Ending::Answered { status };
    Ok(connection)
}

fn response_head(status: u16, content_type: HeaderValue, len: usize, id: &HeaderValue) -> Parts {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut head = answer_head(status, id, Dialect::OpenAi, 0);
    head.headers.insert(header::CONTENT_TYPE, content_type);
    head.headers.insert(header::CONTENT_LENGTH, len.into());
    head
}

/// Tells the caller why, in its dialect.
pub async fn refuse(
    session: &mut ServerSession,
    context: &mut Context<'_>,
    dialect: Dialect,
    refusal: Refusal,
) -> Connection {
    let status = refusal.status();
    context.record.ending = Ending::Refused {
        status,
        reason: refusal.reason,
    };
    if matches!(status, 401 | 402 | 403 | 429 | 503) {
        let at = context.runtime.board.time.now();
        let decision = Decision::of(&refusal, context, at);
        context.runtime.decisions.remember(decision);
    }
    let asked = context.head_read.then(|| session.req_header());
    calls::refused(asked, &refusal, context);
    let body = refusal.body(dialect, context.record.id.as_str());
    let mut head = refusal.head(dialect, context.record.id.header(), body.len());
    let decision = context.record.decision.header().clone();
    head.headers.insert(DECISION, decision);
    let written = whole(session, context, head, body).await;
    written.unwrap_or(Connection::Cut)
}

/// Answers as a page says, its headers included.
pub async fn respond_as(
    session: &mut ServerSession,
    context: &mut Context<'_>,
    page: Parts,
    body: bytes::Bytes,
) -> Result<Connection, Stop> {
    let status = page.status.as_u16();
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    let kind = page.headers.get(header::CONTENT_TYPE).cloned();
    let kind = kind.unwrap_or(plain);
    let mut head = response_head(status, kind, body.len(), context.record.id.header());
    let ours = [
        header::CONTENT_TYPE,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
    ];
    for (name, value) in &page.headers {
        if !ours.contains(name) {
            head.headers.append(name, value.clone());
        }
    }
    let connection = whole(session, context, head, body).await?;
    context.record.ending = Ending::Answered { status };
    Ok(connection)
}

async fn whole(
    session: &mut ServerSession,
    context: &Context<'_>,
    mut head: Parts,
    body: bytes::Bytes,
) -> Result<Connection, Stop> {
    cors::mark(&mut head.headers, context);
    let writing = async {
        session.write_response_header(ready(head)).await?;
        match context.head_only {
            true => session.finish_body().await,
            false => session.write_response_body(body, true).await,
        }
    };
    let written = taken(pin!(writing), context).await;
    written.map_err(|_| Stop::ClientGone)?;
    Ok(afterwards(session, context))
}

/// What is left of a request's body is not worth reading to keep the connection: it may drip in for
/// ever.
pub(super) fn afterwards(session: &mut ServerSession, context: &Context<'_>) -> Connection {
    match context.head_read && session.is_body_done() {
        true => Connection::Keep,
        false => Connection::Close,
    }
}

/// Waits until the caller has taken a whole answer. At the gateway's end it is not waited for, and counts as
/// gone where it has no room at once.
pub async fn taken(
    writing: Pin<&mut impl Future<Output = pingora::Result<()>>>,
    context: &Context<'_>,
) -> pingora::Result<()> {
    let taken = context.runtime.drain.taken_whole(writing).await;
    taken.unwrap_or_else(|| Err(PingoraError::new(ErrorType::WriteTimedout)))
}
