//! Pages and APIs that are not proxied: one axum router, served on the admin listener and, for
//! what belongs there, called in-process from the proxy port.

mod admin;
mod cookies;
mod form;
pub mod login;
pub mod management;
mod page;
mod problem;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{Request, Response};
use bytes::Bytes;
use http::Method;
use http::header::ACCEPT;
use pingora::protocols::http::ServerSession;
use tower::ServiceExt;

use crate::context::Context;
use crate::record::Ending;
use crate::refusal::{Reason, Refusal};
use crate::reload::Reloader;
use crate::request::{self, Connection, Stop, body};
use crate::runtime::Runtime;
use management::Refused;

/// A page is built whole before it is sent from the proxy port; the metrics are the largest.
const PAGE: usize = 16 << 20;

/// What the admin listener serves.
pub fn router(runtime: &Arc<Runtime>, reloader: &Arc<Reloader>) -> Router {
    admin::router(runtime)
        .merge(management::router(runtime, reloader))
        .fallback(async || Refused::NothingHere)
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
    context.at().sso.is_some() && (path != "/" || is_browser)
}

/// A page that people log in by, with what it needs to know of who asks.
pub async fn login_page(
    session: &mut ServerSession,
    context: &mut Context<'_>,
    path: &str,
    query: &str,
) -> Result<Connection, Stop> {
    let at = context.at().clone();
    let router = context.runtime.login_pages.get();
    let (Some(router), Some(sso)) = (router, at.sso.clone()) else {
        return Err(Stop::ClientGone);
    };
    let (mut request, _held) = match request_for(session, context, path, query).await {
        Ok(request) => request,
        Err(Stop::Refused(refusal)) => {
            let page = login::refused(&session.req_header().headers, path, &refusal);
            return told(session, context, page, &refusal).await;
        }
        Err(gone) => return Err(gone),
    };
    request.extensions_mut().insert(login::Visit {
        sso,
        tenant: at,
        snapshot: context.snapshot.clone(),
        site: context.site().clone(),
        client: context.record.client,
    });
    answered(session, context, router, request).await
}

/// A page asked for on the proxy port. Health is answered there too; the rest belongs to the
/// admin listener, unless one listener serves both.
pub async fn page(
    session: &mut ServerSession,
    context: &mut Context<'_>,
    path: &str,
    query: &str,
) -> Result<Connection, Stop> {
    let is_health = matches!(path, "/health" | "/healthz");
    let runtime = context.runtime;
    let is_here = is_health || runtime.listening.shared;
    let Some(router) = runtime.pages.get().filter(|_| is_here) else {
        return Err(Refusal::new(
            Reason::UnknownPath,
            format!("{path} is served on the admin listener, not here"),
        )
        .into());
    };
    let (mut request, _held) = match request_for(session, context, path, query).await {
        Err(Stop::Refused(refusal)) if management::is_page(path) => {
            let page = management::refused_page(&refusal);
            return told(session, context, page, &refusal).await;
        }
        request => request?,
    };
    // The connection's own: what others say of it is not asked where operators come from.
    if let Some(peer) = session.client_addr().and_then(|peer| peer.as_inet()) {
        request.extensions_mut().insert(ConnectInfo(*peer));
    }
    answered(session, context, router, request).await
}

/// The request as a router takes it, and its body for as long as that counts as held.
async fn request_for<'r>(
    session: &mut ServerSession,
    context: &Context<'r>,
    path: &str,
    query: &str,
) -> Result<(Request<Body>, Option<body::Body<'r>>), Stop> {
    let held = match session.req_header().method {
        // What is asked for does not hang on a body, and is not kept waiting for one.
        Method::GET | Method::HEAD => None,
        _ => {
            let share = body::Share::of_known(context).up_to(FORM);
            Some(body::receive(session, context, share).await?)
        }
    };
    let body = held
        .as_ref()
        .map_or(Bytes::new(), |held| held.bytes.clone());
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
    Ok((request, held))
}

/// A page that says why the request did not get as far as one.
async fn told(
    session: &mut ServerSession,
    context: &mut Context<'_>,
    page: Response<Body>,
    refusal: &Refusal,
) -> Result<Connection, Stop> {
    let kept = sent(session, context, page).await;
    context.record.ending = Ending::Refused {
        status: refusal.reason.words().status,
        reason: refusal.reason,
    };
    kept
}

async fn answered(
    session: &mut ServerSession,
    context: &mut Context<'_>,
    router: &Router,
    request: Request<Body>,
) -> Result<Connection, Stop> {
    let Ok(response) = router.clone().oneshot(request).await;
    sent(session, context, response).await
}

async fn sent(
    session: &mut ServerSession,
    context: &mut Context<'_>,
    response: Response<Body>,
) -> Result<Connection, Stop> {
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, PAGE).await.map_err(|_| {
        let message = "the page is too large to be served here: ask the admin listener for it";
        Stop::from(Refusal::new(Reason::Overloaded, message))
    })?;
    request::respond_as(session, context, parts, body).await
}
