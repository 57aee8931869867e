//! Agent tokens: the same as `turnpike token` does, by the same functions.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::response::{IntoResponse, Response};
use futures::executor::block_on;
use http::header::ETAG;
use http::{HeaderMap, StatusCode};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use turnpike_api::Clock;
use turnpike_audit::Action;
use turnpike_identity::agent_tokens::{self, Binding, IssueError, Issued, NewToken};
use utoipa::ToSchema;

use super::access::Actor;
use super::body::Body;
use super::change::{self, Change};
use super::etag::{etag, if_match};
use super::office::Office;
use super::refusal::Refused;
use super::replay::{Answer, Claim};
use crate::cli;
use crate::runtime::Runtime;
use crate::token_entry::{self, NewTokenEntry, TokenEntry};

type Shared = State<Arc<Office>>;

#[derive(Serialize, ToSchema)]
pub(super) struct TokenList {
    tokens: Vec<TokenEntry>,
}

/// What a token is to be.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// The agent's or device's name.
    name: String,
    /// Networks that it may be used from, such as `10.0.0.0/8`; none = any.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    cidrs: Vec<IpNet>,
    /// SHA-256 of the client certificates that it may be used with, in hexadecimal digits.
    #[serde(default)]
    certificates: Vec<String>,
    /// The tenant that it is to act for; left out = none, or that of a tenant's key.
    #[serde(default)]
    tenant: Option<String>,
}

#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Rotation {
    /// How long the old one goes on, such as `24h`; left out = `agent_tokens.rotation_overlap`.
    #[serde(default)]
    overlap: Option<String>,
}

/// List them
#[utoipa::path(get, path = "/tokens", tag = "tokens", operation_id = "list_tokens",
    responses((status = 200, description = "All of them, by name", body = TokenList)))]
pub(super) async fn list(
    State(office): Shared,
    Extension(actor): Extension<Actor>,
) -> Result<Json<TokenList>, Refused> {
    let runtime = office.runtime()?;
    let now = runtime.board.time.now();
    let mut tokens = token_entry::all(&*runtime.store, now).await?;
    tokens.retain(|token| actor.manages(token.tenant.as_deref()));
    Ok(Json(TokenList { tokens }))
}

/// Show one
#[utoipa::path(get, path = "/tokens/{id}", tag = "tokens", operation_id = "show_token",
    params(("id" = String, Path, description = "As the list shows it")),
    responses((status = 200, description = "It", body = TokenEntry,
        headers(("etag" = String, description = "For `If-Match`")))))]
pub(super) async fn show(
    State(office): Shared,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
) -> Result<Response, Refused> {
    let (entry, version) = find(&*office.runtime()?, &actor, &id).await?;
    Ok(([(ETAG, etag(version))], Json(entry)).into_response())
}

/// Make one
///
/// Of a service account, which belongs to no person.
#[utoipa::path(post, path = "/tokens", tag = "tokens", operation_id = "create_token",
    params(("idempotency-key" = Option<String>, Header, description = "Sent again with the same body, no second token is made")),
    request_body = Wanted,
    responses((status = 201, description = "It, shown this once", body = NewTokenEntry)))]
pub(super) async fn create(
    State(office): Shared,
    Extension(actor): Extension<Actor>,
    headers: HeaderMap,
    Body(wanted): Body<Wanted>,
) -> Result<Response, Refused> {
    let claim = Claim::of(&headers, &actor, "create", &wanted)?;
    let runtime = office.runtime()?;
    let tenant = tenant_for(wanted.tenant.as_deref(), &actor, &runtime)?;
    let new = new_token(wanted, tenant)?;
    let make = async move {
        let costs = runtime.snapshot().management.costs;
        let (store, now) = (runtime.store.clone(), runtime.board.time.now());
        let make = move || block_on(agent_tokens::issue(&*store, new, costs, now));
        let issued = hashed(&runtime, make).await?;
        let answer = answered(&runtime, &issued).await?;
        let id = &issued.record.id;
        let made = change::token(&TokenEntry::new(&issued.record, None, now));
        actor.changed(Action::MadeToken, id, Change::made(made));
        Ok(answer)
    };
    once(office, claim, make).await
}

/// Make one that takes the place of another
///
/// The old one goes on for a while.
#[utoipa::path(post, path = "/tokens/{id}/rotate", tag = "tokens", operation_id = "rotate_token",
    params(("id" = String, Path, description = "As the list shows it"),
        ("idempotency-key" = Option<String>, Header, description = "Sent again with the same body, no second token is made"),
        ("if-match" = Option<String>, Header, description = "The `ETag` that it was looked at with")),
    request_body = Option<Rotation>,
    responses((status = 201, description = "The new one, shown this once", body = NewTokenEntry)))]
pub(super) async fn rotate(
    State(office): Shared,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Body(rotation): Body<Rotation>,
) -> Result<Response, Refused> {
    let claim = Claim::of(&headers, &actor, &format!("rotate {id}"), &rotation)?;
    let overlap = rotation.overlap.as_deref().map(duration).transpose()?;
    let runtime = office.runtime()?;
    let rotate = async move {
        let (before, version) = expected(&runtime, &actor, &id, &headers).await?;
        let (costs, overlap) = {
            let terms = &runtime.snapshot().management;
            (terms.costs, overlap.unwrap_or(terms.rotation_overlap))
        };
        let (store, now) = (runtime.store.clone(), runtime.board.time.now());
        let old = id.clone();
        let rotate = move || {
            let rotated = agent_tokens::rotate_if(&*store, &old, version, overlap, costs, now);
            block_on(rotated)
        };
        let issued = hashed(&runtime, rotate).await?;
        let answer = answered(&runtime, &issued).await?;
        follow(&runtime, &id).await;
        let change = Change::of(before, now_of(&runtime, &id, now).await);
        actor.changed(Action::RotatedToken, &id, change);
        Ok(answer)
    };
    once(office, claim, rotate).await
}

/// End one for good
#[utoipa::path(delete, path = "/tokens/{id}", tag = "tokens", operation_id = "revoke_token",
    params(("id" = String, Path, description = "As the list shows it"),
        ("if-match" = Option<String>, Header, description = "The `ETag` that it was looked at with")),
    responses((status = 204, description = "It is refused from now on, also where it was revoked before")))]
pub(super) async fn revoke(
    State(office): Shared,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Refused> {
    let runtime = office.runtime()?;
    // Whoever asked may be gone: what was begun is finished.
    let revoking = tokio::spawn(async move {
        let (before, version) = expected(&runtime, &actor, &id, &headers).await?;
        let (store, now) = (&*runtime.store, runtime.board.time.now());
        agent_tokens::revoke_if(store, &id, version, now).await?;
        follow(&runtime, &id).await;
        let change = Change::of(before, now_of(&runtime, &id, now).await);
        actor.changed(Action::RevokedToken, &id, change);
        Ok(StatusCode::NO_CONTENT)
    });
    revoking.await.unwrap_or_else(|_| Err(broken()))
}

/// The tenant of a new token. Of another than their own, somebody hears what they would of one that
/// is not configured.
fn tenant_for(
    wanted: Option<&str>,
    actor: &Actor,
    runtime: &Runtime,
) -> Result<Option<String>, Refused> {
    let wanted = wanted.or(actor.tenant.as_deref());
    let is_there = runtime.snapshot().tenants.find(wanted).is_some();
    match is_there && actor.manages(wanted) {
        true => Ok(wanted.map(str::to_owned)),
        false => Err(Refused::Body("tenant: there is no such tenant".into())),
    }
}

async fn find(runtime: &Runtime, actor: &Actor, id: &str) -> Result<(TokenEntry, u64), Refused> {
    let now = runtime.board.time.now();
    let found = token_entry::one(&*runtime.store, id, now).await?;
    let found = found.filter(|(token, _)| actor.manages(token.tenant.as_deref()));
    found.ok_or_else(|| Refused::NoToken(id.to_owned()))
}

/// The token as it is to be on record, and the version of it that the request was made of, if it says so.
async fn expected(
    runtime: &Runtime,
    actor: &Actor,
    id: &str,
    headers: &HeaderMap,
) -> Result<(change::Words, Option<u64>), Refused> {
    let (entry, version) = find(runtime, actor, id).await?;
    if_match(headers, &etag(version))?;
    let says = headers.contains_key(http::header::IF_MATCH);
    Ok((change::token(&entry), says.then_some(version)))
}

/// The token as it is now, for the record. That it was changed is on record also where the store does
/// not say how it is.
async fn now_of(runtime: &Runtime, id: &str, now: u64) -> String {
    match token_entry::one(&*runtime.store, id, now).await {
        Ok(Some((entry, _))) => change::token(&entry).into(),
        Ok(None) => "gone".into(),
        Err(error) => format!("changed; the store does not answer: {error}"),
    }
}

fn new_token(wanted: Wanted, tenant: Option<String>) -> Result<NewToken, Refused> {
    let certificates = wanted.certificates.iter();
    let certificates = certificates.map(|text| cli::fingerprint(text));
    let certificates: Result<Vec<String>, _> = certificates.collect();
    Ok(NewToken {
        name: wanted.name,
        tenant,
        binding: Binding {
            cidrs: wanted.cidrs,
            certificates: certificates
                .map_err(|why| Refused::Body(format!("certificates: {why}")))?,
        },
        ..NewToken::default()
    })
}

fn duration(text: &str) -> Result<Duration, Refused> {
    let message = "overlap: expected a duration such as 24h";
    humantime::parse_duration(text).map_err(|_| Refused::Body(message.into()))
}

async fn hashed(
    runtime: &Runtime,
    work: impl FnOnce() -> Result<Issued, IssueError> + Send + 'static,
) -> Result<Issued, Refused> {
    Ok(runtime.hash(work).await.map_err(|_| broken())??)
}

/// Makes a new token known, and says what is answered.
async fn answered(runtime: &Runtime, issued: &Issued) -> Result<Answer, Refused> {
    let id = issued.record.id.clone();
    follow(runtime, &id).await;
    let now = runtime.board.time.now();
    let body = serde_json::to_vec(&NewTokenEntry::new(issued, now));
    let body = body.map_err(|_| broken())?;
    Ok(Answer::new(id, body))
}

/// This process need not wait for the news. If it cannot read the record, they tell it.
async fn follow(runtime: &Runtime, id: &str) {
    let _ = runtime.agent_tokens.read_one(id, &*runtime.store).await;
}

/// Does it once for one `Idempotency-Key`, and to its end: whoever asked may be gone before.
async fn once(
    office: Arc<Office>,
    claim: Option<Claim>,
    work: impl Future<Output = Result<Answer, Refused>> + Send + 'static,
) -> Result<Response, Refused> {
    let doing = tokio::spawn(async move {
        let Some(claim) = claim else {
            return work.await.map(Answer::first);
        };
        let runtime = office.runtime()?;
        let (store, now) = (&*runtime.store, runtime.board.time.now());
        if let Some(again) = office.replays.begin(store, &claim, now).await? {
            return Ok(again.again());
        }
        match work.await {
            Ok(answer) => {
                office.replays.done(store, claim, &answer, now).await;
                Ok(answer.first())
            }
            Err(refused) => {
                office.replays.failed(store, &claim).await;
                Err(refused)
            }
        }
    });
    doing.await.unwrap_or_else(|_| Err(broken()))
}

fn broken() -> Refused {
    Refused::Failed("the gateway failed at this; its log says why".into())
}
