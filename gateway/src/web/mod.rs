//! Pages and APIs that are not proxied: one axum router, served on the admin listener and, for
//! what belongs there, called in-process from the proxy port.

mod admin;
pub mod login;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderValue, Method};
use pingora::protocols::http::ServerSession;
use tower::ServiceExt;

use crate::context::Context;
use crate::refusal::{Reason, Refusal};
use crate::request::{self, Connection, Stop, body};
use crate::runtime::Runtime;

/// A page is built whole before it is sent from the proxy port; the metrics are the largest.
const PAGE: usize = 16 << 20;

/// What the admin listener serves.
pub fn router(runtime: &Arc<Runtime>) -> Router {
    admin::router(runtime)
}

/// The largest form.
const FORM: u64 = 64 << 10;

/// Whether people log in here, and this is asked by one of them: anything below `/auth`, or a
/// browser that was given the gateway's address.
pub fn is_login(session: &ServerSession, context: &Context<'_>, path: &str) -> bool {
    let accepts = session.req_header().headers.get(ACCEPT);
    let is_browser = accepts
        .and_then(|accepts| accepts.to_str().ok())
        .is_some_and(|accepts| accepts.contains("text/html"));
    context.snapshot.sso.is_some() && (path != "/" || is_browser)
}

/// A page that people log in by, with what it needs to know of who asks.
pub async fn login_page(
    session: &mut ServerSession,
    context: &mut Context<'_>,
    path: &str,
    query: &str,
) -> Result<Connection, Stop> {
    let body = body::receive_up_to(session, context, FORM).await?.bytes;
    let (router, sso) = (context.runtime.login_pages.get(), &context.snapshot.sso);
    let (Some(router), Some(sso)) = (router, sso) else {
        return Err(Stop::ClientGone);
    };
    let head = session.req_header();
    let target = match query {
        "" => path.to_owned(),
        query => format!("{path}?{query}"),
    };
    // A head is answered with what it is the head of.
    let method = match &head.method {
        &Method::HEAD => Method::GET,
        method => method.clone(),
    };
    let request = Request::builder().method(method).uri(target);
    let mut request = request.body(Body::from(body)).map_err(|_| {
        Stop::from(Refusal::new(
            Reason::InvalidRequest,
            "the path or its query is not a URL's",
        ))
    })?;
    *request.headers_mut() = head.headers.clone();
    request.extensions_mut().insert(login::Visit {
        sso: sso.clone(),
        client: context.record.client,
    });
    let Ok(response) = router.clone().oneshot(request).await;
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, PAGE).await.unwrap_or_default();
    request::respond_as(session, context, parts, body).await
}

/// A page asked for on the proxy port. Health is answered there too; the rest belongs to the
/// admin listener, unless one listener serves both.
pub async fn page(
    session: &mut ServerSession,
    context: &mut Context<'_>,
    path: &str,
) -> Result<Connection, Stop> {
    let is_health = matches!(path, "/health" | "/healthz");
    let Some(router) = context
        .runtime
        .pages
        .get()
        .filter(|_| is_health || context.runtime.listening.shared)
    else {
        return Err(Refusal::new(
            Reason::UnknownPath,
            format!("{path} is served on the admin listener, not here"),
        )
        .into());
    };
    let request = Request::builder()
        .uri(path)
        .body(Body::empty())
        .map_err(|_| Stop::ClientGone)?;
    let Ok(response) = router.clone().oneshot(request).await;
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, PAGE).await.unwrap_or_default();

    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    let kind = parts.headers.get(CONTENT_TYPE).cloned().unwrap_or(plain);
    request::respond(session, context, parts.status.as_u16(), kind, body).await
}
