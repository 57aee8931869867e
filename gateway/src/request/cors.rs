//! Web pages of other origins that may call models (F29, the Fetch standard's CORS protocol): those
//! that `server.cors.allowed_origins` names, and nowhere but where models are called and listed.
//! Logins and the management API are never told to a page.

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;

use super::{Connection, Stop};
use crate::context::Context;
use crate::path::{self, Resource};
use crate::record::Ending;

/// What a page may read of an answer beside its body: what SDKs look at.
const EXPOSED: &str = "anthropic-ratelimit-requests-limit, anthropic-ratelimit-requests-remaining, \
    anthropic-ratelimit-requests-reset, anthropic-ratelimit-tokens-limit, \
    anthropic-ratelimit-tokens-remaining, anthropic-ratelimit-tokens-reset, request-id, retry-after, \
    retry-after-ms, x-ratelimit-limit-requests, x-ratelimit-limit-tokens, \
    x-ratelimit-remaining-requests, x-ratelimit-remaining-tokens, x-ratelimit-reset-requests, \
    x-ratelimit-reset-tokens, x-request-id, x-should-retry, x-turnpike-decision";

/// How long a browser may remember what it was told, in seconds.
const REMEMBERED: &str = "600";

/// A page asks for no more headers than this has characters.
const LONGEST: usize = 1024;

/// The origin of the page that calls, if it is named; `None` where no page calls.
pub fn allowed(headers: &HeaderMap, origins: &[HeaderValue]) -> Option<HeaderValue> {
    let origin = headers.get(header::ORIGIN)?;
    let mut known = origins.iter();
    known.find(|known| *known == origin).cloned()
}

/// Lets the page that called read the answer.
pub fn mark(head: &mut ResponseHeader, context: &Context<'_>) -> Result<()> {
    if context.snapshot.allowed_origins.is_empty() {
        return Ok(());
    }
    // Another page, and whoever is none, are told something else.
    head.append_header(header::VARY, "origin")?;
    if let Some(origin) = &context.page {
        head.insert_header(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone())?;
        head.insert_header(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED)?;
    }
    Ok(())
}

/// What a browser wants to send for a page, if it asks whether it may.
pub fn asked(method: &Method, headers: &HeaderMap, canonical: &str) -> Option<Method> {
    if method != Method::OPTIONS {
        return None;
    }
    let wanted = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
    let wanted = Method::from_bytes(wanted.as_bytes()).ok()?;
    let is_open = matches!(
        path::parse(&wanted, canonical),
        Resource::Call { .. } | Resource::Models { .. } | Resource::Model { .. }
    );
    is_open.then_some(wanted)
}

/// Yes: the call itself is still to bring a credential.
pub async fn answer(
    session: &mut ServerSession,
    context: &mut Context<'_>,
    wanted: &Method,
) -> std::result::Result<Connection, Stop> {
    let headers = session.req_header().headers.get(REQUEST_HEADERS).cloned();
    let head = head(context, wanted, headers).map_err(|_| Stop::ClientGone)?;
    let written = async {
        session.write_response_header(head).await?;
        session.finish_body().await
    };
    written.await.map_err(|_| Stop::ClientGone)?;
    context.record.ending = Ending::Answered { status: 204 };
    Ok(match session.is_body_done() {
        true => Connection::Keep,
        false => Connection::Close,
    })
}

const REQUEST_HEADERS: HeaderName = header::ACCESS_CONTROL_REQUEST_HEADERS;

fn head(
    context: &Context<'_>,
    wanted: &Method,
    headers: Option<HeaderValue>,
) -> Result<Box<ResponseHeader>> {
    let mut head = Box::new(ResponseHeader::build_no_case(204, Some(8))?);
    head.insert_header("x-request-id", context.record.id.header().clone())?;
    mark(&mut head, context)?;
    head.insert_header(header::ACCESS_CONTROL_ALLOW_METHODS, wanted.as_str())?;
    // Whatever it asks for: the credential's header differs from SDK to SDK, and which headers go to
    // a provider is decided elsewhere.
    if let Some(headers) = headers.filter(|headers| headers.len() <= LONGEST) {
        head.insert_header(header::ACCESS_CONTROL_ALLOW_HEADERS, headers)?;
    }
    head.insert_header(header::ACCESS_CONTROL_MAX_AGE, REMEMBERED)?;
    head.append_header(
        header::VARY,
        "access-control-request-method, access-control-request-headers",
    )?;
    Ok(head)
}
