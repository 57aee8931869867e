//! Why calls were refused.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Path, State};
use serde::Serialize;
use utoipa::ToSchema;

use super::access::Actor;
use super::office::Office;
use super::refusal::Refused;
use crate::decisions::Decision;
use crate::refusal::Told;
use crate::upstream::roll::time;

/// As many are listed.
const LISTED: usize = 100;

#[derive(Serialize, ToSchema)]
pub(super) struct DecisionList {
    /// The latest, newest first.
    decisions: Vec<DecisionEntry>,
}

/// A refusal.
#[derive(Serialize, ToSchema)]
pub(super) struct DecisionEntry {
    /// As the answer's `x-turnpike-decision` said.
    id: String,
    /// As its `x-request-id` did.
    request_id: String,
    at: String,
    status: u16,
    reason: &'static str,
    message: String,
    /// For whom the caller acts, or whose host was called; `null` = no tenant's.
    tenant: Option<String>,
    /// Who called, where that is known.
    caller: Option<String>,
    model: Option<String>,
    /// The limit that fell, where one did.
    #[schema(value_type = Option<Object>)]
    limit: Option<Told>,
}

impl From<&Decision> for DecisionEntry {
    fn from(decision: &Decision) -> Self {
        Self {
            id: decision.id.as_str().to_owned(),
            request_id: decision.request.as_str().to_owned(),
            at: time(decision.at),
            status: decision.status,
            reason: decision.reason,
            message: decision.message.clone(),
            tenant: decision.tenant.as_deref().map(str::to_owned),
            caller: decision.caller.as_deref().map(str::to_owned),
            model: decision.model.as_deref().map(str::to_owned),
            limit: decision.limit.clone(),
        }
    }
}

/// List the latest refusals
#[utoipa::path(get, path = "/decisions", tag = "decisions", operation_id = "list_decisions",
    responses((status = 200, description = "Of this replica", body = DecisionList)))]
pub(super) async fn list(
    State(office): State<Arc<Office>>,
    Extension(actor): Extension<Actor>,
) -> Result<Json<DecisionList>, Refused> {
    let is_theirs = |one: &Decision| actor.manages(one.tenant.as_deref());
    let latest = office.runtime()?.decisions.latest(LISTED, is_theirs);
    let decisions = latest.iter().map(|decision| (&**decision).into()).collect();
    Ok(Json(DecisionList { decisions }))
}

/// Say why a call was refused
///
/// Some ten thousand are remembered, by the replica that refused.
#[utoipa::path(get, path = "/decisions/{id}", tag = "decisions", operation_id = "show_decision",
    params(("id" = String, Path, description = "As the answer's `x-turnpike-decision` said")),
    responses((status = 200, description = "Why", body = DecisionEntry)))]
pub(super) async fn show(
    State(office): State<Arc<Office>>,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
) -> Result<Json<DecisionEntry>, Refused> {
    let decision = office.runtime()?.decisions.find(&id);
    let decision = decision.filter(|one| actor.manages(one.tenant.as_deref()));
    let decision = decision.ok_or(Refused::NoDecision(id))?;
    Ok(Json((&*decision).into()))
}
