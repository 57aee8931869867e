//! The operator's pages, under `/admin` of the admin listener.
//!
//! Somebody signs in ([`sign_in`]) with a key of the management API, or as a person whom a role
//! lets manage, and is an [`operator`] from then on. What is shown and changed goes
//! through the management API's own routes, in this process ([`api`]): what it does not let
//! somebody do, their pages cannot.

mod api;
mod credentials;
mod entrance;
mod frame;
mod gateway;
mod list;
mod logins;
mod operator;
mod problem;
mod sign_in;
mod tokens;
mod usage;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::BODY;
use super::office::Office;
use super::refusal::Refused;
use crate::refusal::Refusal;
use crate::web::page::{guarded, is_from_elsewhere, kept_awhile, see_other};
use crate::web::problem::Problem;
use api::Api;
pub(super) use entrance::Entrance;
use operator::Nearby;

/// Under which all of them are.
const ROOT: &str = "/admin";

/// What the pages share.
struct Pages {
    office: Arc<Office>,
    api: Api,
}

type Shared = Arc<Pages>;

/// The pages, which use these routes of the API.
pub(super) fn router(office: &Arc<Office>, api: Router) -> Router {
    let pages = Arc::new(Pages {
        office: office.clone(),
        api: Api::new(api),
    });
    let served = Router::new()
        .route("/", get(frame::first))
        .route("/sign-in", get(sign_in::ask).post(sign_in::typed))
        .route("/sign-in/login", get(sign_in::to_login))
        .route("/sign-in/return", get(sign_in::returned))
        .route("/sign-out", post(sign_in::leave))
        .route("/credentials", get(credentials::list))
        .route("/credentials/reset", post(credentials::reset))
        .route(
            "/credentials/remove",
            get(credentials::ask_removal).post(credentials::remove),
        )
        .route("/tokens", get(tokens::list))
        .route(
            "/tokens/revoke",
            get(tokens::ask_revocation).post(tokens::revoke),
        )
        .route("/logins", get(logins::list))
        .route("/logins/end", get(logins::ask_end).post(logins::end))
        .route("/logins/clear", post(logins::clear))
        .route("/usage", get(usage::show))
        .route("/gateway", get(gateway::show))
        .route("/gateway/reload", post(gateway::reload))
        .route("/gateway/log-level", post(gateway::set_log_level))
        .route("/gateway/configuration", get(gateway::configuration))
        .route("/openapi.json", get(gateway::document))
        .route("/style.css", get(style))
        .route("/icon.svg", get(icon))
        .fallback(async || Problem::nothing_here())
        .method_not_allowed_fallback(async || Problem::wrong_method())
        .layer(DefaultBodyLimit::max(BODY))
        .with_state(pages.clone());
    // Around the whole router: where there are no pages, there is nothing.
    let inside = Router::new()
        .fallback_service(served)
        .layer(from_fn_with_state(pages.clone(), admit));
    let home = Router::new().route("/", get(home)).with_state(pages);
    Router::new().nest(ROOT, inside).merge(home)
}

/// Whether a path of a listener that serves callers, too, is one of these.
pub(in crate::web) fn is_page(path: &str) -> bool {
    let below = path.strip_prefix(ROOT);
    below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
}

/// What is told there of a request that did not get as far as a page.
pub(in crate::web) fn refused(refusal: &Refusal) -> Response {
    finished(Problem::of_refusal(refusal).into_response())
}

/// `GET /` of the admin listener.
async fn home(State(pages): State<Shared>) -> Response {
    match pages.office.runtime() {
        Ok(runtime) if runtime.snapshot().management.has_pages() => see_other(ROOT),
        Ok(_) => Refused::NothingHere.into_response(),
        Err(refused) => refused.into_response(),
    }
}

/// Lets through who is where an operator may be, and says how each page may be used.
async fn admit(State(pages): State<Shared>, mut request: Request, next: Next) -> Response {
    let runtime = match pages.office.runtime() {
        Ok(runtime) => runtime,
        Err(refused) => return refused.into_response(),
    };
    if let Err(refused) = pages.office.may_still(request.method()) {
        return refused.into_response();
    }
    let snapshot = runtime.snapshot();
    drop(runtime);
    let terms = &snapshot.management;
    if !terms.has_pages() {
        return Refused::NothingHere.into_response();
    }
    let connection = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let peer = connection.map(|connection| connection.0.ip());
    let nearby = terms.nearby(peer);
    drop(snapshot);
    let response = match nearby {
        Err(_) => Problem::remote().into_response(),
        Ok(_) if is_from_elsewhere(&request) => Problem::form().into_response(),
        Ok(peer) => {
            request.extensions_mut().insert(Nearby(peer));
            next.run(request).await
        }
    };
    finished(response)
}

/// Shows a problem as a page.
fn finished(mut response: Response) -> Response {
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        response = problem.shown_to_operator();
    }
    guarded(response)
}

/// People's pages and these look alike.
async fn style() -> impl IntoResponse {
    let sheet = concat!(
        include_str!("../../../templates/auth/style.css"),
        include_str!("../../../templates/admin/style.css"),
    );
    kept_awhile("text/css; charset=utf-8", sheet)
}

async fn icon() -> impl IntoResponse {
    let picture = include_str!("../../../templates/auth/icon.svg");
    kept_awhile("image/svg+xml", picture)
}
