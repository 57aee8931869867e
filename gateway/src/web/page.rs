//! What every page has in common, whoever it is for.

use askama::Template;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::upstream::roll::time;

/// A page may be shown alone, and may load and call nothing but ours.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
                      frame-ancestors 'none'; base-uri 'none'";

/// A time, for programs and for people.
pub(super) struct When {
    pub(super) exact: String,
    pub(super) shown: String,
}

impl When {
    pub(super) fn at(millis: u64) -> Self {
        Self::read(time(millis))
    }

    /// Of `2026-11-21T07:00:33Z`; nobody reads seconds.
    pub(super) fn read(exact: String) -> Self {
        let shown = match (exact.get(..10), exact.get(11..16)) {
            (Some(day), Some(minute)) => format!("{day} {minute} UTC"),
            _ => exact.clone(),
        };
        Self { exact, shown }
    }
}

/// A page with a template, which cannot fail but for want of memory.
pub(super) fn html(page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => {
            let kind = HeaderValue::from_static("text/html; charset=utf-8");
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "a page cannot be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Elsewhere, by GET. An address that is no header's value leads nowhere.
pub(super) fn see_other(url: &str) -> Response {
    (StatusCode::SEE_OTHER, [("location", url)]).into_response()
}

/// What pages are drawn with.
pub(super) fn kept_awhile(kind: &'static str, text: &'static str) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "public, max-age=300"),
    ];
    (headers, text)
}

/// A form that another site's page sends. Its seal would be wrong, too; browsers that say where a
/// form comes from are believed before that. (`Origin` says nothing here: by our own referrer policy
/// it is `null` for our own forms.)
pub(super) fn is_from_elsewhere(request: &Request) -> bool {
    let site = request.headers().get("sec-fetch-site");
    let is_foreign = site.is_some_and(|site| site != "same-origin" && site != "none");
    *request.method() == Method::POST && is_foreign
}

/// Says how a page may be used.
pub(super) fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    set(header::CONTENT_SECURITY_POLICY, POLICY);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::X_FRAME_OPTIONS, "DENY");
    set(header::REFERRER_POLICY, "no-referrer");
    set(
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    );
    let unsaid = HeaderValue::from_static("no-store");
    headers.entry(header::CACHE_CONTROL).or_insert(unsaid);
    response
}
