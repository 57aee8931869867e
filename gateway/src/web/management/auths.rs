//! Upstream credentials: how they stand, as `turnpike credentials` shows it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::header::ETAG;
use serde::{Deserialize, Serialize};
use turnpike_api::{Clock, StoreError};
use turnpike_audit::Action;
use utoipa::ToSchema;

use super::access::Actor;
use super::body::Body;
use super::change::{self, Change};
use super::credential_changes::{chosen, version};
use super::office::Office;
use super::place::looking;
use super::refusal::Refused;
use crate::background::quotas;
use crate::observe::events::CredentialRecovered;
use crate::runtime::Runtime;
use crate::upstream::Credential;
use crate::upstream::entry::{CredentialEntry, QuotaEntry};
use crate::upstream::roll::Enrolled;
use crate::upstream::standing::Cooldowns;

type Shared = State<Arc<Office>>;

#[derive(Serialize, ToSchema)]
pub(super) struct CredentialList {
    auths: Vec<CredentialEntry>,
}

#[derive(Deserialize)]
pub(super) struct Which {
    id: Option<String>,
}

/// Which credentials; left out = all of them.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Chosen {
    #[serde(default)]
    provider: Option<String>,
    #[serde(default)]
    id: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Reset {
    /// The ids of those whose quota and cooldowns were cleared.
    reset: Vec<String>,
}

/// List them
#[utoipa::path(get, path = "/auths", tag = "credentials", operation_id = "list_credentials",
    responses((status = 200, description = "All of them", body = CredentialList)))]
pub(super) async fn list(
    State(office): Shared,
    Extension(actor): Extension<Actor>,
) -> Result<Json<CredentialList>, Refused> {
    let auths = entries(&*office.runtime()?, &actor, |_| true);
    Ok(Json(CredentialList { auths }))
}

/// List those of a provider
#[utoipa::path(get, path = "/auths/{provider}", tag = "credentials", operation_id = "list_credentials_of_provider",
    params(("provider" = String, Path)),
    responses((status = 200, description = "Its credentials", body = CredentialList)))]
pub(super) async fn of_provider(
    State(office): Shared,
    Extension(actor): Extension<Actor>,
    Path(provider): Path<String>,
) -> Result<Json<CredentialList>, Refused> {
    let runtime = office.runtime()?;
    let auths = entries(&runtime, &actor, |entry| entry.provider == provider);
    match auths.is_empty() {
        true => Err(Refused::NoCredentials(provider)),
        false => Ok(Json(CredentialList { auths })),
    }
}

/// Show the quota of one
#[utoipa::path(get, path = "/auths/{provider}/quota", tag = "credentials", operation_id = "show_quota",
    params(("provider" = String, Path),
        ("id" = Option<String>, Query, description = "The credential's, where its provider has several")),
    responses((status = 200, description = "Its tokens of the period that runs", body = QuotaEntry,
        headers(("etag" = String, description = "For `If-Match`, of one of `auth.dir`")))))]
pub(super) async fn quota(
    State(office): Shared,
    Extension(actor): Extension<Actor>,
    Path(provider): Path<String>,
    Query(Which { id }): Query<Which>,
) -> Result<Response, Refused> {
    // A change that is under way is made first: what is shown is what the tag is of.
    let shown = looking(office, move |place| {
        // One that cannot be taken over is told where it is made.
        let _ = place.take_over(&actor);
        let snapshot = place.runtime.snapshot();
        let one = chosen(&snapshot.roll, &provider, id.as_deref(), &actor)?;
        let entry = CredentialEntry::new(one, place.runtime.board.time.now());
        let unusable = || Refused::NoCredential(entry.id.clone());
        let quota = entry.quota.map(Json).ok_or_else(unusable)?;
        let path = one.file.as_ref().map(|name| place.directory.join(name));
        // It may be removed meanwhile.
        let bytes = path.and_then(|path| std::fs::read(path).ok());
        Ok((quota, bytes.map(|bytes| version(&bytes))))
    });
    Ok(match shown.await? {
        (quota, Some(tag)) => ([(ETAG, tag)], quota).into_response(),
        (quota, None) => quota.into_response(),
    })
}

/// Clear quotas and cooldowns
///
/// What was used of the running period counts as nought, and what failed is tried again at once.
#[utoipa::path(post, path = "/reset-quota", tag = "credentials", operation_id = "reset_quota",
    request_body = Option<Chosen>,
    responses((status = 200, description = "Which they were", body = Reset)))]
pub(super) async fn reset(
    State(office): Shared,
    Extension(actor): Extension<Actor>,
    Body(Chosen { provider, id }): Body<Chosen>,
) -> Result<Json<Reset>, Refused> {
    let runtime = office.runtime()?;
    let snapshot = runtime.snapshot();
    let is_meant = |credential: &&Arc<Credential>| {
        let of_provider = |name: &String| *credential.vendor.name == **name;
        let of_id = |id: &String| *credential.id == **id;
        provider.as_ref().is_none_or(of_provider) && id.as_ref().is_none_or(of_id)
    };
    let theirs = snapshot
        .roll
        .iter()
        .filter(|one| actor.manages(one.tenant.as_deref()))
        .filter_map(Enrolled::credential);
    let chosen: Vec<Arc<Credential>> = theirs.filter(is_meant).cloned().collect();
    if chosen.is_empty() {
        return Err(match (id, provider) {
            (Some(id), _) => Refused::NoCredential(id),
            (None, Some(provider)) => Refused::NoCredentials(provider),
            (None, None) => return Ok(Json(Reset { reset: Vec::new() })),
        });
    }
    // Whoever asked may be gone: what was begun is finished.
    let resetting = tokio::spawn(async move {
        let mut reset = Vec::new();
        for credential in chosen {
            credential.begin_period(runtime.board.time.now());
            let before = change::counted(&credential);
            clear(&runtime, &credential).await?;
            let change = Change::of(before, change::counted(&credential));
            actor.changed(Action::ClearedQuota, &credential.id, change);
            reset.push(credential.id.to_string());
        }
        Ok(Json(Reset { reset }))
    });
    let failed = || Refused::Failed("the gateway failed at this; its log says why".into());
    resetting.await.unwrap_or_else(|_| Err(failed()))
}

async fn clear(runtime: &Runtime, credential: &Arc<Credential>) -> Result<(), StoreError> {
    let standing = &credential.standing;
    credential.begin_period(runtime.board.time.now());
    let start = standing.allowance.running().start;
    match credential.quota.shared {
        Some(_) => quotas::forgive(runtime, credential).await?,
        None => standing.allowance.reset(),
    }
    runtime.store.forget_spent(&credential.id, start).await?;
    if standing.cooldowns().is_empty() {
        runtime.board.changed();
        return Ok(());
    }
    standing.restore(Cooldowns::default());
    runtime.board.cooldowns_changed(standing);
    CredentialRecovered {
        credential,
        model: None,
        by: "operator",
        metrics: &runtime.metrics,
        audit: &runtime.audit,
    }
    .tell();
    Ok(())
}

fn entries(
    runtime: &Runtime,
    actor: &Actor,
    is_meant: impl Fn(&CredentialEntry) -> bool,
) -> Vec<CredentialEntry> {
    let now = runtime.board.time.now();
    let snapshot = runtime.snapshot();
    let entries = snapshot.roll.iter();
    let entries = entries.filter(|one| actor.manages(one.tenant.as_deref()));
    let entries = entries.map(|one| CredentialEntry::new(one, now));
    entries.filter(is_meant).collect()
}
