//! The OpenAPI document, made of the handlers: it cannot say something else than they do.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use turnpike_config::plan::Scope;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, ResponseBuilder};
use utoipa::{Modify, OpenApi as _};

use super::office::Office;
use super::refusal::Problem;

const BEARER: &str = "bearer";
const HEADER: &str = "management_key";

/// Everything but the paths.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Turnpike management API",
        description = "Served on the admin listener, to those who have a key of it."
    ),
    components(schemas(Problem)),
    modifiers(&Keys)
)]
struct Base;

struct Keys;

impl Modify for Keys {
    fn modify(&self, openapi: &mut OpenApi) {
        let components = openapi.components.get_or_insert_default();
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme(BEARER, SecurityScheme::Http(bearer));
        let header = ApiKey::Header(ApiKeyValue::new("X-Management-Key"));
        components.add_security_scheme(HEADER, SecurityScheme::ApiKey(header));
    }
}

/// Says of each operation which scope its key needs, and what else than success may be answered.
pub(super) fn describe(routes: &mut OpenApi, scope: Option<Scope>) {
    let scopes: Vec<&str> = scope.map(Scope::as_str).into_iter().collect();
    for item in routes.paths.paths.values_mut() {
        let operations = [
            &mut item.get,
            &mut item.put,
            &mut item.post,
            &mut item.delete,
        ];
        for operation in operations.into_iter().flatten() {
            let needs = |scheme: &str| SecurityRequirement::new(scheme, scopes.clone());
            operation.security = Some(vec![needs(BEARER), needs(HEADER)]);
            add_problem(operation);
        }
    }
}

fn add_problem(operation: &mut Operation) {
    let schema = Ref::from_schema_name("Problem");
    let content = ContentBuilder::new().schema(Some(schema)).build();
    let response = ResponseBuilder::new()
        .description("Not done; `code` says why")
        .content("application/json", content)
        .build();
    let responses = &mut operation.responses.responses;
    responses.insert("default".into(), response.into());
}

/// The document of these paths.
pub(super) fn complete(paths: OpenApi) -> OpenApi {
    let mut document = Base::openapi();
    document.merge(paths);
    document
}

/// Show this document
#[utoipa::path(get, path = "/openapi.json", tag = "process", operation_id = "show_openapi",
    responses((status = 200, description = "It", body = Object)))]
pub(super) async fn show(State(office): State<Arc<Office>>) -> Response {
    let kind = [(CONTENT_TYPE, "application/json")];
    (kind, office.document.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_committed_copy_is_up_to_date() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../docs/reference/openapi.json"
        );
        let current = crate::web::management::document();
        let current = serde_json::to_string_pretty(&current).unwrap() + "\n";
        if std::env::var_os("RENEW").is_some() {
            std::fs::write(path, &current).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == current,
            "docs/reference/openapi.json is stale; renew it: turnpike config openapi > docs/reference/openapi.json"
        );
    }
}
