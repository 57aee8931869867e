//! The pages that people log in by: a login's steps, and what a person can do who is signed in.

mod account;
mod authorize;
mod callback;
mod confirm;
mod desk;
mod device;
mod issue;
mod oauth;
mod operator;
mod pages;
mod start;
mod whose;

use std::net::IpAddr;
use std::sync::{Arc, Weak};

use axum::Router;
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};

use super::page::{guarded, is_from_elsewhere, kept_awhile};
use super::problem::Problem;
use super::{cookies, form, page, problem};
use crate::refusal::Refusal;
use crate::runtime::Runtime;
use crate::snapshot::Snapshot;
use crate::sso::Sso;
use crate::tenant::{Site, Tenant};

/// What a page is told of a request beside the request.
#[derive(Clone)]
pub struct Visit {
    pub sso: Arc<Sso>,
    /// Whose host it is: the house, where it is no tenant's.
    pub tenant: Arc<Tenant>,
    pub snapshot: Arc<Snapshot>,
    pub site: Site,
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
        .route("/auth/operator", get(operator::pass))
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
    Problem::nothing_here()
}

async fn wrong_method() -> Problem {
    Problem::wrong_method()
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

/// Shows a problem in the way that it was asked for, and says how each page may be used.
async fn finished(request: Request, next: Next) -> Response {
    let as_json = as_json(request.headers(), request.uri().path());
    let response = match is_foreign(&request) {
        true => Problem::form().into_response(),
        false => next.run(request).await,
    };
    finish(response, as_json)
}

/// What is told of a request that did not get as far as a page.
pub fn refused(headers: &HeaderMap, path: &str, refusal: &Refusal) -> Response {
    let problem = Problem::of_refusal(refusal);
    finish(problem.into_response(), as_json(headers, path))
}

/// Whom a program calls, a program reads.
fn as_json(headers: &HeaderMap, path: &str) -> bool {
    let is_page = path == "/" || path.starts_with("/auth");
    !is_page || desk::wants_json(headers)
}

/// A form of elsewhere. A provider may send the answer to a login so.
fn is_foreign(request: &Request) -> bool {
    is_from_elsewhere(request) && request.uri().path() != "/auth/callback"
}

fn finish(mut response: Response, as_json: bool) -> Response {
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        response = problem.shown(as_json);
    }
    guarded(response)
}
