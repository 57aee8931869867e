//! Pages and APIs that are not proxied: one axum router, served on the admin listener and, for
//! what belongs there, called in-process from the proxy port.

mod admin;
pub mod management;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use pingora::protocols::http::ServerSession;
use tower::ServiceExt;

use crate::context::Context;
use crate::refusal::{Reason, Refusal};
use crate::reload::Reloader;
use crate::request::{self, Connection, Stop};
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
