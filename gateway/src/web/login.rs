//! The pages that people log in by: a login's steps, and what a person can do who is signed in.

mod account;
mod authorize;
mod callback;
mod confirm;
mod cookies;
mod desk;
mod device;
mod form;
mod issue;
mod oauth;
mod pages;
mod problem;
mod start;

use std::net::IpAddr;
use std::sync::{Arc, Weak};

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};

use crate::refusal::Refusal;
use crate::runtime::Runtime;
use crate::sso::Sso;
use problem::Problem;

/// What a page is told of a request beside the request.
#[derive(Clone)]
pub struct Visit {
    pub sso: Arc<Sso>,
    /// The address, as trusted proxies tell it.
    pub client: Option<IpAddr>,
}

/// The runtime holds the router.
type Shared = Weak<Runtime>;

pub fn router(runtime: &Arc<Runtime>) -> Router {
    Router::new()
        .route("/", get(to_login))
        .route("/auth", get(to_login))
        .route("/auth/login", get(start::choose))
        .route("/auth/login/{provider}", get(start::begin))
        .route(
            "/auth/callback",
            get(callback::returned).post(callback::posted),
        )
        .route("/auth/confirm", get(confirm::ask).post(confirm::typed))
        .route("/auth/success", get(account::welcome).post(account::create))
        .route("/auth/tokens", get(account::tokens))
        .route("/auth/tokens/revoke", post(account::revoke))
        .route(
            "/auth/logout",
            get(account::ask_logout).post(account::logout),
        )
        .route("/auth/device", get(device::ask).post(device::told))
        .route("/oauth/device_authorization", post(oauth::authorize_device))
        .route("/oauth/token", post(oauth::token))
        .route(oauth::METADATA, get(oauth::metadata))
        .route("/auth/style.css", get(style))
        .route("/auth/icon.svg", get(icon))
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn(finished))
        .with_state(Arc::downgrade(runtime))
}

async fn to_login() -> Redirect {
    Redirect::to("/auth/login")
}

async fn nothing_here() -> Problem {
    Problem::new(404, "unknown_path", "There is no such page")
}

async fn wrong_method() -> Problem {
    Problem::new(
        405,
        "method_not_allowed",
        "This page is not asked like that",
    )
}

async fn style() -> impl IntoResponse {
    let sheet = include_str!("../../templates/auth/style.css");
    kept_awhile("text/css; charset=utf-8", sheet)
}

/// A browser that is told of none asks for `/favicon.ico`.
async fn icon() -> impl IntoResponse {
    let picture = include_str!("../../templates/auth/icon.svg");
    kept_awhile("image/svg+xml", picture)
}

fn kept_awhile(kind: &'static str, text: &'static str) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "public, max-age=300"),
    ];
    (headers, text)
}

/// A page may be shown alone, and may load and call nothing but ours.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
                      frame-ancestors 'none'; base-uri 'none'";

/// Shows a problem in the way that it was asked for, and says how each page may be used.
async fn finished(request: Request, next: Next) -> Response {
    let as_json = as_json(request.headers(), request.uri().path());
    let response = match is_from_elsewhere(&request) {
        true => Problem::form().into_response(),
        false => next.run(request).await,
    };
    finish(response, as_json)
}

/// What is told of a request that did not get as far as a page.
pub fn refused(headers: &HeaderMap, path: &str, refusal: &Refusal) -> Response {
    let words = refusal.reason.words();
    let title = match words.status {
        408 => "This took too long",
        413 => "This is too large",
        503 => "The gateway is busy",
        _ => "This request cannot be read",
    };
    let problem = Problem::new(words.status, words.reason, title).with(refusal.message.clone());
    finish(problem.into_response(), as_json(headers, path))
}

/// Whom a program calls, a program reads.
fn as_json(headers: &HeaderMap, path: &str) -> bool {
    let is_page = path == "/" || path.starts_with("/auth");
    !is_page || desk::wants_json(headers)
}

/// A form that another site's page sends. Its seal would be wrong, too; browsers that say where a
/// form comes from are believed before that. A provider may send the answer to a login so. (`Origin`
/// says nothing here: by our own referrer policy it is `null` for our own forms.)
fn is_from_elsewhere(request: &Request) -> bool {
    let site = request.headers().get("sec-fetch-site");
    let is_foreign = site.is_some_and(|site| site != "same-origin" && site != "none");
    let is_answer = request.uri().path() == "/auth/callback";
    *request.method() == Method::POST && is_foreign && !is_answer
}

fn finish(mut response: Response, as_json: bool) -> Response {
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        response = problem.shown(as_json);
    }
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
