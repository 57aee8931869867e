//! Adding and removing upstream credentials: as files of the watched directory, so that they are
//! there after a restart and to every other way of looking at them.

use std::io;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use turnpike_api::{Clock, Secret};
use turnpike_audit::Action;
use turnpike_credentials::{add_file, parse, remove_file, seal_file};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::access::Actor;
use super::body::Body;
use super::change::{self, Change};
use super::office::Office;
use super::place::{Place, editing};
use super::refusal::Refused;
use crate::assemble::no_such_provider;
use crate::snapshot::Snapshot;
use crate::upstream::credential::Source;
use crate::upstream::entry::CredentialEntry;
use crate::upstream::roll::Enrolled;

type Shared = State<Arc<Office>>;

/// A credential, with its secret.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewCredential {
    /// One of the configuration, or one that is known by its name.
    provider: String,
    /// `api_key`.
    #[serde(rename = "type")]
    kind: String,
    /// The key.
    #[serde(default)]
    #[schema(value_type = String)]
    token: Option<Zeroizing<String>>,
    #[serde(default)]
    label: Option<String>,
    /// Lower first; left out = 1.
    #[serde(default)]
    priority: Option<i64>,
    /// 1 to 1000; left out = 1.
    #[serde(default)]
    weight: Option<u32>,
    #[serde(default)]
    quota: Option<NewQuota>,
    /// The tag by which tenants name it under `pools`. Left out, it serves those who name none; with a
    /// tenant's key, the tenant, where that has one pool of its own.
    #[serde(default)]
    pool: Option<String>,
}

#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewQuota {
    /// Tokens, input and output, of one period.
    pub(super) limit: u64,
}

#[derive(Deserialize)]
pub(super) struct Which {
    id: Option<Zeroizing<String>>,
}

/// The file as it is written.
#[derive(Serialize)]
struct Written<'a> {
    provider: &'a str,
    r#type: &'static str,
    token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quota: Option<&'a NewQuota>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pool: Option<&'a str>,
}

/// Add one
///
/// It is kept in a file of `auth.dir`, and used at once.
#[utoipa::path(post, path = "/auths", tag = "credentials", operation_id = "add_credential",
    request_body = NewCredential,
    responses((status = 201, description = "It, without its secret", body = CredentialEntry)))]
pub(super) async fn add(
    State(office): Shared,
    Extension(actor): Extension<Actor>,
    Body(new): Body<NewCredential>,
) -> Result<Response, Refused> {
    let entry = editing(office, move |place| place.add(new, &actor));
    Ok((StatusCode::CREATED, Json(entry.await?)).into_response())
}

/// Remove one
///
/// Only those of `auth.dir`: what is written in the configuration is removed there.
#[utoipa::path(delete, path = "/auths/{provider}", tag = "credentials", operation_id = "remove_credential",
    params(("provider" = String, Path),
        ("id" = String, Query, description = "The credential's id, or its secret")),
    responses((status = 204, description = "It is used no more")))]
pub(super) async fn remove(
    State(office): Shared,
    Extension(actor): Extension<Actor>,
    Path(provider): Path<String>,
    Query(Which { id }): Query<Which>,
) -> Result<StatusCode, Refused> {
    let missing = || Refused::Body("name the credential with `?id=`".into());
    let wanted = id.ok_or_else(missing)?;
    let removed = editing(office, move |place| {
        place.remove(&provider, &wanted, &actor)?;
        Ok(StatusCode::NO_CONTENT)
    });
    removed.await
}

impl Place {
    fn add(&self, new: NewCredential, actor: &Actor) -> Result<CredentialEntry, Refused> {
        self.take_over(actor)?;
        let snapshot = self.runtime.snapshot();
        let pool = pool_for(new.pool.as_deref(), actor, &snapshot)?;
        knows_provider(&new.provider, actor, &snapshot)?;
        let new = &NewCredential { pool, ..new };
        let bytes = written(new)?;
        let token = new.token.as_ref().map_or("", |token| token);
        // Tenants know nothing of each other's: one secret may be several's.
        let is_twin = |one: &&Enrolled| one.pool == new.pool && holds(one, token);
        if let Some(twin) = snapshot.roll.iter().find(is_twin) {
            return Err(Refused::SameSecret(twin.id.to_string()));
        }
        let name = format!("key-{:016x}.json", fastrand::u64(..));
        let bytes = match snapshot.management.seals {
            false => bytes,
            true => Zeroizing::new(seal_file(&name, &bytes, &snapshot.management.keyring)?),
        };
        add_file(&self.directory, &name, &bytes).map_err(|error| self.failed(&error))?;
        let added = self.in_force(&name, actor, |one| {
            let change = Change::made(change::credential(one));
            actor.changed(Action::AddedCredential, &one.id, change);
            CredentialEntry::new(one, self.runtime.board.time.now())
        });
        if added.is_err() {
            let removed = remove_file(&self.directory, &name);
            let _ = self.take_over(actor);
            removed.map_err(|error| self.failed(&error))?;
        }
        added
    }

    fn remove(&self, provider: &str, wanted: &str, actor: &Actor) -> Result<(), Refused> {
        // One that has leaked goes, whatever else is wrong.
        let taken_over = self.take_over(actor);
        let snapshot = self.runtime.snapshot();
        let of_provider =
            |one: &&Enrolled| &*one.provider == provider && actor.manages(one.tenant.as_deref());
        let mut found = snapshot.roll.iter().filter(of_provider).peekable();
        if found.peek().is_none() {
            taken_over?;
            return Err(Refused::NoCredentials(provider.to_owned()));
        }
        let one = found.find(|one| &*one.id == wanted || holds(one, wanted));
        let Some(one) = one else {
            taken_over?;
            // What was asked for may be a secret.
            return Err(Refused::NoSuchCredential);
        };
        let Some(name) = &one.file else {
            return Err(Refused::Configured(one.id.to_string()));
        };
        match remove_file(&self.directory, name) {
            Ok(()) => {
                let change = Change::ended(change::credential(one));
                actor.changed(Action::RemovedCredential, &one.id, change);
            }
            // It was removed before, and is in force as yet.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(self.failed(&error)),
        }
        self.take_over_kept(actor, |now| {
            let mut roll = now.roll.iter();
            roll.all(|one| one.file.as_ref() != Some(name))
        })
    }
}

/// The tag that a new credential gets: of a tenant's operator, one that nobody else names.
fn pool_for(
    wanted: Option<&str>,
    actor: &Actor,
    snapshot: &Snapshot,
) -> Result<Option<String>, Refused> {
    let tenants = &snapshot.tenants;
    let Some(tenant) = actor.tenant.as_deref() else {
        return match wanted {
            Some(pool) if !tenants.pools.contains_key(pool) => {
                Err(Refused::Body(format!("pool: no tenant names `{pool}`")))
            }
            wanted => Ok(wanted.map(str::to_owned)),
        };
    };
    let is_own = |pool: &&str| {
        let only = tenants.pools.get(*pool).and_then(|only| only.as_deref());
        only == Some(tenant)
    };
    if let Some(wanted) = wanted {
        let refused = || Refused::Body("pool: not one of your tenant's own".into());
        let own = Some(wanted).filter(is_own).ok_or_else(refused)?;
        return Ok(Some(own.to_owned()));
    }
    let of = tenants.find(Some(tenant));
    let own = of.iter().flat_map(|of| of.pools.iter().map(String::as_str));
    let own: Vec<&str> = own.filter(is_own).collect();
    match own[..] {
        [only] => Ok(Some(only.to_owned())),
        _ => Err(Refused::Body("pool: name one of your tenant's own".into())),
    }
}

/// Of a provider that serves other tenants alone, a tenant's operator hears what they would of one that
/// is not there: its address and headers are theirs.
fn knows_provider(provider: &str, actor: &Actor, snapshot: &Snapshot) -> Result<(), Refused> {
    let tenant = snapshot.tenants.find(actor.tenant.as_deref());
    let pools = tenant.map_or(&[][..], |tenant| &tenant.pools);
    let serves = |one: &&Enrolled| match &one.pool {
        None => true,
        Some(pool) => pools.contains(pool),
    };
    let mut known = snapshot
        .roll
        .iter()
        .filter(|one| &*one.provider == provider)
        .peekable();
    match actor.tenant.is_none() || known.peek().is_none() || known.any(|one| serves(&one)) {
        true => Ok(()),
        false => Err(Refused::Body(no_such_provider(provider))),
    }
}

/// The file, if it would be a good one.
fn written(new: &NewCredential) -> Result<Zeroizing<Vec<u8>>, Refused> {
    if new.kind != "api_key" {
        return Err(Refused::Body("type: expected `api_key`".into()));
    }
    let token = new.token.as_ref().filter(|token| !token.is_empty());
    let token = token.ok_or_else(|| Refused::Body("token: missing".into()))?;
    let written = Written {
        provider: &new.provider,
        r#type: "api_key",
        token,
        label: new.label.as_deref(),
        priority: new.priority,
        weight: new.weight,
        quota: new.quota.as_ref(),
        pool: new.pool.as_deref(),
    };
    let bytes = serde_json::to_vec(&written);
    let bytes = Zeroizing::new(bytes.map_err(|error| Refused::Failed(error.to_string()))?);
    // Its errors name the key and quote nothing.
    parse("key", &bytes).map_err(|error| Refused::Body(error.to_string()))?;
    match new.provider.is_empty() {
        true => Err(Refused::Body("provider: missing".into())),
        false => Ok(bytes),
    }
}

/// Whether a credential's secret is this one.
pub(super) fn holds(one: &Enrolled, secret: &str) -> bool {
    let credential = one.credential();
    credential.is_some_and(|credential| match &credential.source {
        Source::Fixed(access) => digest(&access.secret) == digest(&Secret::new(secret)),
        Source::Minted(_) => false,
    })
}

/// Compared in constant time.
fn digest(secret: &Secret) -> blake3::Hash {
    blake3::hash(secret.expose().as_bytes())
}
