//! Health, readiness and metrics.

use std::sync::{Arc, Weak};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use crate::runtime::Runtime;

/// The runtime holds the router, so the router must not hold the runtime: its store is closed when
/// the last one who holds it is gone.
type Shared = Weak<Runtime>;

pub(super) fn router(runtime: &Arc<Runtime>) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/healthz", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Arc::downgrade(runtime))
}

/// The process answers: no more is asked of a liveness probe.
async fn health() -> Response {
    Json(json!({ "status": "ok" })).into_response()
}

/// Whether traffic should be sent here. A configuration is always in force, or the process would
/// not run; providers that are away do not make a replica unready, for then all would be at once.
async fn ready(State(runtime): State<Shared>) -> Response {
    let Some(runtime) = runtime.upgrade() else {
        return stopped();
    };
    let generation = runtime.snapshot().generation;
    if runtime.drain.is_begun() {
        let left = runtime.metrics.in_flight().get();
        let body = json!({ "status": "draining", "generation": generation, "requests": left });
        return (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response();
    }
    let mut body = json!({ "status": "ready", "generation": generation });
    let mut degraded = Vec::new();
    if runtime.usage_is_lost() {
        // Calls are served, and quotas hold until the process ends.
        degraded.push("usage is not written down".to_owned());
    }
    if let Some(why) = runtime.store_is_away() {
        // Calls are served, with agent tokens for as long as what is known of them counts.
        degraded.push(why.to_string());
    }
    if runtime.audit.has_room().is_err() {
        // Not unready: `/ready` would take all replicas out at once when their receiver is away.
        degraded.push("the audit spool has no room: calls are refused".to_owned());
    }
    if !degraded.is_empty() {
        body["degraded"] = json!(degraded.join("; "));
    }
    Json(body).into_response()
}

async fn metrics(State(runtime): State<Shared>) -> Response {
    let Some(runtime) = runtime.upgrade() else {
        return stopped();
    };
    match runtime.exposition() {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("the metrics cannot be rendered: {error}\n"),
        )
            .into_response(),
    }
}

fn stopped() -> Response {
    let body = json!({ "status": "stopped" });
    (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
}
