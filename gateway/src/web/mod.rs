//! Pages and APIs that are not proxied: one axum router, served on the admin listener and, for
//! what belongs there, called in-process from the proxy port.

mod admin;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use tower::ServiceExt;

use crate::context::Context;
use crate::record::Ending;
use crate::refusal::{Reason, Refusal};
use crate::request::{Connection, Stop};
use crate::runtime::Runtime;

/// A page is built whole before it is sent from the proxy port; the metrics are the largest.
const PAGE: usize = 16 << 20;

/// What the admin listener serves.
pub fn router(runtime: Arc<Runtime>) -> Router {
    admin::router(runtime)
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

    let written = async {
        let mut head = Box::new(ResponseHeader::build_no_case(parts.status, Some(4))?);
        if let Some(kind) = parts.headers.get(CONTENT_TYPE) {
            head.insert_header(CONTENT_TYPE, kind.clone())?;
        }
        head.insert_header(CONTENT_LENGTH, body.len())?;
        head.insert_header("x-request-id", context.record.id.header().clone())?;
        session.write_response_header(head).await?;
        match context.head_only {
            true => session.finish_body().await,
            false => session.write_response_body(body, true).await,
        }
    };
    match written.await {
        Ok(()) => {
            context.record.ending = Ending::Answered {
                status: parts.status.as_u16(),
            };
            Ok(Connection::Keep)
        }
        Err(_) => Err(Stop::ClientGone),
    }
}
