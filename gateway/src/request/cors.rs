//! Web pages of other origins that may call models (F29, the Fetch standard's CORS protocol): those
//! that `server.cors.allowed_origins` names, and nowhere but where models are called and listed.
//! Logins and the management API are never told to a page.

use std::pin::pin;

use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use pingora::protocols::http::ServerSession;
use turnpike_api::Dialect;

use super::answer::{afterwards, taken};
use super::{Connection, Stop};
use crate::answer_head::{answer_head, ready};
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
    if origins.is_empty() {
        return None;
    }
    let origin = headers.get(header::ORIGIN)?;
    let mut known = origins.iter();
    known.find(|known| *known == origin).cloned()
}

/// Lets the page that called read the answer.
pub fn mark(headers: &mut HeaderMap, context: &Context<'_>) {
    if context.snapshot.allowed_origins.is_empty() {
        return;
    }
    // Another page, and whoever is none, are told something else.
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = &context.page {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        let exposed = HeaderValue::from_static(EXPOSED);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
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
) -> Result<Connection, Stop> {
    let headers = session.req_header().headers.get(REQUEST_HEADERS).cloned();
    let head = head(context, wanted, headers);
    let written = async {
        session.write_response_header(ready(head)).await?;
        session.finish_body().await
    };
    let written = taken(pin!(written), context).await;
    written.map_err(|_| Stop::ClientGone)?;
    context.record.ending = Ending::Answered { status: 204 };
    Ok(afterwards(session, context))
}

const REQUEST_HEADERS: HeaderName = header::ACCESS_CONTROL_REQUEST_HEADERS;

fn head(context: &Context<'_>, wanted: &Method, headers: Option<HeaderValue>) -> Parts {
    let id = context.record.id.header();
    let mut head = answer_head(StatusCode::NO_CONTENT, id, Dialect::OpenAi, 0);
    mark(&mut head.headers, context);
    if let Ok(wanted) = HeaderValue::from_str(wanted.as_str()) {
        head.headers
            .insert(header::ACCESS_CONTROL_ALLOW_METHODS, wanted);
    }
    // Whatever it asks for: the credential's header differs from SDK to SDK, and which headers go to
    // a provider is decided elsewhere.
    if let Some(headers) = headers.filter(|headers| headers.len() <= LONGEST) {
        head.headers
            .insert(header::ACCESS_CONTROL_ALLOW_HEADERS, headers);
    }
    let remembered = HeaderValue::from_static(REMEMBERED);
    head.headers
        .insert(header::ACCESS_CONTROL_MAX_AGE, remembered);
    let asked = "access-control-request-method, access-control-request-headers";
    head.headers
        .append(header::VARY, HeaderValue::from_static(asked));
    head
}
