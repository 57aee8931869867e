//! Who is logged in, and whose logins are slowed down.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Path, Query, State};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use turnpike_api::{Clock, Store, StoreError};
use turnpike_audit::Action;
use turnpike_identity::sso::{LoginRate, Session, Tries, session};
use utoipa::ToSchema;

use super::access::Actor;
use super::change::{self, Change, Words};
use super::office::Office;
use super::refusal::Refused;
use crate::token_entry::OwnerEntry;
use crate::upstream::roll::time;

type Shared = State<Arc<Office>>;

#[derive(Serialize, ToSchema)]
pub(super) struct SessionList {
    sessions: Vec<SessionEntry>,
}

/// A person's session, in all their browsers.
#[derive(Serialize, ToSchema)]
pub(super) struct SessionEntry {
    id: String,
    person: OwnerEntry,
    /// By which they logged in last.
    provider: String,
    /// When they did so.
    created_at: String,
    expires_at: String,
    is_live: bool,
    /// As the authorization API said.
    roles: Vec<String>,
    tenant: Option<String>,
    /// The ids of their agent tokens, which work while the session lasts.
    tokens: Vec<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct LimitList {
    login_rate_limits: Vec<LimitEntry>,
}

/// Attempts that are counted together.
#[derive(Serialize, ToSchema)]
pub(super) struct LimitEntry {
    id: String,
    /// `address`, `browser`, `person`, or `device` (an address that asks for device logins).
    kind: &'static str,
    attempts: u32,
    /// Until when no further one is let through; `null` = the next one is.
    wait_until: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    id: Option<String>,
}

/// List sessions
///
/// Those that are over are listed while the person has tokens.
#[utoipa::path(get, path = "/sessions", tag = "logins", operation_id = "list_sessions",
    responses((status = 200, description = "All of them", body = SessionList)))]
pub(super) async fn sessions(
    State(office): Shared,
    Extension(actor): Extension<Actor>,
) -> Result<Json<SessionList>, Refused> {
    let runtime = office.runtime()?;
    let now = runtime.board.time.now();
    let sessions = theirs(&*runtime.store, &actor).await?.into_iter();
    Ok(Json(SessionList {
        sessions: sessions
            .map(|(id, session)| entry(id, &session, now))
            .collect(),
    }))
}

/// End one
///
/// In every browser; the person's agent tokens stop at once, until they log in again.
#[utoipa::path(delete, path = "/sessions/{id}", tag = "logins", operation_id = "end_session",
    params(("id" = String, Path, description = "As the list shows it")),
    responses((status = 204, description = "It is over, also where it was before")))]
pub(super) async fn end_session(
    State(office): Shared,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
) -> Result<StatusCode, Refused> {
    let runtime = office.runtime()?;
    // Whoever asked may be gone: what was begun is finished.
    let ending = tokio::spawn(async move {
        let found = session::find(&*runtime.store, &id).await?;
        let is_theirs = |session: &Session| actor.manages(session.person.tenant.as_deref());
        if !found.is_some_and(|(session, _)| is_theirs(&session)) {
            return Err(Refused::NoSession(id));
        }
        let Some(before) = runtime.sign_out(&id).await? else {
            return Err(Refused::NoSession(id));
        };
        let now = runtime.board.time.now();
        let change = Change::of(on_record(&before, now), "live false");
        actor.changed(Action::EndedSession, &id, change);
        Ok(StatusCode::NO_CONTENT)
    });
    let broken = || Refused::Failed("the gateway failed at this; its log says why".into());
    ending.await.unwrap_or_else(|_| Err(broken()))
}

/// List login rate limits
///
/// Attempts are forgotten some time after the last one.
#[utoipa::path(get, path = "/login-rate-limits", tag = "logins", operation_id = "list_login_rate_limits",
    responses((status = 200, description = "Everybody whose attempts are counted", body = LimitList)))]
pub(super) async fn limits(
    State(office): Shared,
    Extension(actor): Extension<Actor>,
) -> Result<Json<LimitList>, Refused> {
    let runtime = office.runtime()?;
    let now = runtime.board.time.now();
    let tries = tries(&*runtime.store, &actor).await?;
    let login_rate_limits = tries.into_iter().map(|tries| limit(tries, now)).collect();
    Ok(Json(LimitList { login_rate_limits }))
}

/// Clear login rate limits
#[utoipa::path(delete, path = "/login-rate-limits", tag = "logins", operation_id = "clear_login_rate_limits",
    params(("id" = Option<String>, Query, description = "As the list shows it; left out = all")),
    responses((status = 204, description = "Their next attempt is let through")))]
pub(super) async fn clear(
    State(office): Shared,
    Extension(actor): Extension<Actor>,
    Query(Which { id }): Query<Which>,
) -> Result<StatusCode, Refused> {
    let runtime = office.runtime()?;
    // Whoever asked may be gone: what was begun is finished.
    let clearing = tokio::spawn(async move {
        let store = &*runtime.store;
        let mut before = tries(store, &actor).await?;
        if let Some(id) = &id {
            before.retain(|one| one.who == *id);
        }
        let (mut cleared, mut failed) = (Vec::new(), None);
        for one in before {
            match LoginRate::forget(store, &one.who).await {
                Ok(true) => cleared.push(one),
                Ok(false) => {}
                // What was cleared before it goes on record all the same.
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        if let Some(error) = &failed
            && cleared.is_empty()
        {
            return Err(error.clone().into());
        }
        let change = Change::of(change::attempts(&cleared), change::attempts(&[]));
        match id {
            Some(_) if cleared.is_empty() => return Err(Refused::NoLimit),
            Some(id) => actor.changed(Action::ClearedLoginLimit, &id, change),
            None => actor.changed(Action::ClearedLoginLimits, "all", change),
        }
        match failed {
            Some(error) => Err(error.into()),
            None => Ok(StatusCode::NO_CONTENT),
        }
    });
    let broken = || Refused::Failed("the gateway failed at this; its log says why".into());
    clearing.await.unwrap_or_else(|_| Err(broken()))
}

/// A session as it goes on record.
fn on_record(session: &Session, now: u64) -> Words {
    Words::default()
        .with("live", session.is_live(now))
        .with("expires", time(session.expires_at))
        .with("tokens", session.token_ids().len())
}

/// The sessions that somebody manages.
async fn theirs(store: &dyn Store, actor: &Actor) -> Result<Vec<(String, Session)>, StoreError> {
    let mut sessions = session::all(store).await?;
    sessions.retain(|(_, session)| actor.manages(session.person.tenant.as_deref()));
    Ok(sessions)
}

/// The attempts that somebody manages: of a tenant, those of its people. Addresses and browsers are
/// no tenant's.
async fn tries(store: &dyn Store, actor: &Actor) -> Result<Vec<Tries>, StoreError> {
    let mut tries = LoginRate::all(store).await?;
    if actor.tenant.is_some() {
        let people = theirs(store, actor).await?.into_iter();
        let people: Vec<String> = people.map(|(key, _)| LoginRate::of_person(&key)).collect();
        tries.retain(|one| people.contains(&one.who));
    }
    Ok(tries)
}

fn entry(id: String, session: &Session, now: u64) -> SessionEntry {
    let owner = session.person.owner();
    SessionEntry {
        id,
        person: OwnerEntry {
            issuer: owner.issuer,
            subject: owner.subject,
            email: owner.email,
        },
        provider: session.provider.clone(),
        created_at: time(session.created_at),
        expires_at: time(session.expires_at),
        is_live: session.is_live(now),
        roles: session.roles.clone(),
        tenant: session.person.tenant.clone(),
        tokens: session.token_ids().to_vec(),
    }
}

/// The id begins with what it is of.
fn limit(tries: Tries, now: u64) -> LimitEntry {
    let kind = match tries.who.split(' ').next() {
        Some("ip") => "address",
        Some("flow") => "browser",
        Some("device") => "device",
        _ => "person",
    };
    LimitEntry {
        kind,
        attempts: tries.attempts,
        wait_until: (now < tries.until).then(|| time(tries.until)),
        id: tries.who,
    }
}
