//! The management API, under `/v0/management` of the admin listener.
//!
//! Its routes are those of [`routes`]. [`access`] lets nobody in without a key, [`refusal`] says
//! what is answered else, and [`document`] is made of the same handlers. [`pages`] are for people.

mod access;
mod attempts;
mod auths;
mod body;
mod change;
mod credential_changes;
mod credential_files;
mod decisions;
mod document;
mod etag;
mod limits;
mod logins;
mod office;
mod pages;
mod place;
mod process;
mod refusal;
mod replay;
mod replicas;
mod roles;
mod tokens;
mod usage;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use turnpike_config::plan::Scope;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) use access::Actor;
pub use access::Terms;
use office::Office;
pub(super) use pages::{is_page, refused as refused_page};
pub use refusal::Refused;

use crate::reload::Reloader;
use crate::runtime::Runtime;

/// Under which all of it is.
const ROOT: &str = "/v0/management";

/// The largest body of a request.
const BODY: usize = 64 << 10;

type Routes = OpenApiRouter<Arc<Office>>;

/// Everything there is, by the scope that a key needs for it.
fn routes() -> Routes {
    OpenApiRouter::new()
        .merge(access::open_to_every_key(
            OpenApiRouter::new()
                .routes(routes!(process::whoami))
                .routes(routes!(document::show)),
        ))
        .merge(access::needing(
            Scope::CredentialsRead,
            OpenApiRouter::new()
                .routes(routes!(auths::list))
                .routes(routes!(auths::of_provider))
                .routes(routes!(auths::quota)),
        ))
        .merge(access::needing(
            Scope::CredentialsWrite,
            OpenApiRouter::new()
                .routes(routes!(credential_files::add))
                .routes(routes!(credential_files::remove))
                .routes(routes!(credential_changes::update))
                .routes(routes!(credential_changes::set_quota))
                .routes(routes!(auths::reset)),
        ))
        .merge(access::needing(
            Scope::TokensRead,
            OpenApiRouter::new()
                .routes(routes!(tokens::list))
                .routes(routes!(tokens::show))
                .routes(routes!(roles::of_token)),
        ))
        .merge(access::needing(
            Scope::TokensWrite,
            OpenApiRouter::new()
                .routes(routes!(tokens::create))
                .routes(routes!(tokens::rotate))
                .routes(routes!(tokens::revoke)),
        ))
        .merge(access::needing(
            Scope::SessionsRead,
            OpenApiRouter::new()
                .routes(routes!(logins::sessions))
                .routes(routes!(logins::limits)),
        ))
        .merge(access::needing(
            Scope::SessionsWrite,
            OpenApiRouter::new()
                .routes(routes!(logins::end_session))
                .routes(routes!(logins::clear)),
        ))
        .merge(access::needing(
            Scope::UsageRead,
            OpenApiRouter::new()
                .routes(routes!(limits::list))
                .routes(routes!(usage::report))
                .routes(routes!(decisions::list))
                .routes(routes!(decisions::show)),
        ))
        .merge(access::needing(
            Scope::ConfigRead,
            OpenApiRouter::new()
                .routes(routes!(process::config))
                .routes(routes!(replicas::list)),
        ))
        .merge(access::needing(
            Scope::ConfigWrite,
            OpenApiRouter::new().routes(routes!(process::reload)),
        ))
        .merge(access::needing(
            Scope::LogsRead,
            OpenApiRouter::new().routes(routes!(process::log_level)),
        ))
        .merge(access::needing(
            Scope::LogsWrite,
            OpenApiRouter::new().routes(routes!(process::set_log_level)),
        ))
}

/// The routes and what they are described by.
fn parts() -> (Router<Arc<Office>>, OpenApi) {
    let nested = OpenApiRouter::new().nest(ROOT, routes());
    let (_, openapi) = nested.split_for_parts();
    let (router, _) = routes().split_for_parts();
    (router, document::complete(openapi))
}

/// The OpenAPI document.
pub fn document() -> OpenApi {
    parts().1
}

/// What the admin listener serves of it.
pub fn router(runtime: &Arc<Runtime>, reloader: &Arc<Reloader>) -> Router {
    let (router, document) = parts();
    let office = Arc::new(Office::new(runtime, reloader, &document));
    let served = router
        .method_not_allowed_fallback(async || Refused::WrongMethod)
        .fallback(async || Refused::NothingHere)
        .layer(DefaultBodyLimit::max(BODY))
        .layer(from_fn_with_state(office.clone(), access::on_record))
        .with_state(office.clone());
    let pages = pages::router(&office, served.clone());
    // Around the whole router: a route of its own would say by `Allow` that it is there.
    let guarded = Router::new()
        .fallback_service(served)
        .layer(from_fn_with_state(office, access::admit))
        .layer(from_fn(access::keep_private));
    Router::new().nest(ROOT, guarded).merge(pages)
}
