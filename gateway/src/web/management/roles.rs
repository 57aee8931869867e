//! What callers may do.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Path, State};
use serde::Serialize;
use turnpike_api::{Identity, ModelRules, Permission};
use turnpike_identity::agent_tokens::{self, AgentTokenRecord};
use utoipa::ToSchema;

use super::access::Actor;
use super::office::Office;
use super::refusal::Refused;
use crate::listing;
use crate::snapshot::Snapshot;

/// What the holder of a token may do.
#[derive(Serialize, ToSchema)]
pub(super) struct InEffect {
    /// The names of the roles that they have; `null` = no roles are configured, and everything is
    /// allowed.
    roles: Option<Vec<String>>,
    /// What these roles grant, for their own models: of `llm:read`, `llm:write`.
    permissions: Option<Vec<&'static str>>,
    /// The models that their lists show.
    models: Vec<String>,
}

/// Say what the holder of one may do
#[utoipa::path(get, path = "/tokens/{id}/roles", tag = "tokens", operation_id = "show_token_roles",
    params(("id" = String, Path, description = "As the list shows it")),
    responses((status = 200, description = "Whether it is active or not", body = InEffect)))]
pub(super) async fn of_token(
    State(office): State<Arc<Office>>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
) -> Result<Json<InEffect>, Refused> {
    let runtime = office.runtime()?;
    let found = agent_tokens::look(&*runtime.store, &id).await?;
    let record = found.filter(|record| actor.manages(record.tenant.as_deref()));
    let record = record.ok_or(Refused::NoToken(id))?;
    Ok(Json(in_effect(&record, &runtime.snapshot()).await))
}

async fn in_effect(record: &AgentTokenRecord, snapshot: &Snapshot) -> InEffect {
    let holder = Identity::new(record.name.as_str(), ModelRules::any()).with(record.attributes());
    let Some(tenant) = snapshot.tenants.find(record.tenant.as_deref()) else {
        // Nobody is known by it any more.
        return InEffect {
            roles: Some(Vec::new()),
            permissions: Some(Vec::new()),
            models: Vec::new(),
        };
    };
    let roles = tenant.roles.as_ref();
    let grants = roles.map(|roles| roles.grants(&holder));
    let names = grants.as_ref().map(|grants| {
        let roles = grants.roles.iter();
        roles.map(|role| role.name.to_string()).collect()
    });
    let permissions = grants.as_ref().map(|grants| {
        let granted = [Permission::Read, Permission::Write].into_iter();
        let granted = granted.filter(|one| grants.roles.iter().any(|role| role.grants(*one)));
        granted.map(Permission::as_str).collect()
    });
    InEffect {
        roles: names,
        permissions,
        models: listing::names(&holder, tenant).await,
    }
}
