//! Changing an upstream credential that lies in a file of the watched directory.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::ETAG;
use serde::{Deserialize, Deserializer};
use turnpike_api::{Clock, Secret};
use turnpike_audit::Action;
use turnpike_credentials::{Edit, edit, open_file, replace_file, seal_file};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::access::Actor;
use super::body::Body;
use super::change::{Change, Words};
use super::credential_files::{NewQuota, holds};
use super::etag::{etag, if_match};
use super::office::Office;
use super::place::{Place, editing};
use super::refusal::Refused;
use crate::upstream::entry::{CredentialEntry, QuotaEntry};
use crate::upstream::roll::{Enrolled, Held};

type Shared = State<Arc<Office>>;

/// What changes; what is left out stays.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CredentialChange {
    /// As in the path.
    provider: Option<String>,
    /// `api_key`.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Another key.
    #[schema(value_type = Option<String>)]
    token: Option<Zeroizing<String>>,
    label: Option<String>,
    /// Lower first.
    priority: Option<i64>,
    /// 1 to 1000.
    weight: Option<u32>,
    /// It is used no more, and kept.
    disabled: Option<bool>,
    quota: Option<NewQuota>,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct QuotaChange {
    /// Tokens, input and output, of one period; `null` = any number.
    #[serde(deserialize_with = "written")]
    limit: Option<u64>,
}

/// To leave a limit out is not to take it away.
fn written<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    Option::deserialize(from)
}

#[derive(Deserialize)]
pub(super) struct Which {
    id: Option<String>,
}

/// Change one
///
/// Only those of `auth.dir`: what is written in the configuration is changed there.
#[utoipa::path(put, path = "/auths/{provider}", tag = "credentials", operation_id = "update_credential",
    params(("provider" = String, Path),
        ("id" = Option<String>, Query, description = "The credential's, where its provider has several"),
        ("if-match" = Option<String>, Header, description = "The `ETag` that it was looked at with")),
    request_body = CredentialChange,
    responses((status = 200, description = "It, without its secret", body = CredentialEntry,
        headers(("etag" = String, description = "For `If-Match`")))))]
pub(super) async fn update(
    State(office): Shared,
    Extension(actor): Extension<Actor>,
    Path(provider): Path<String>,
    Query(Which { id }): Query<Which>,
    headers: HeaderMap,
    Body(change): Body<CredentialChange>,
) -> Result<Response, Refused> {
    let edited = editing(office, move |place| {
        if change
            .provider
            .as_ref()
            .is_some_and(|named| *named != provider)
        {
            return Err(Refused::Body("provider: not that of the path".into()));
        }
        if change.kind.as_ref().is_some_and(|kind| kind != "api_key") {
            return Err(Refused::Body("type: expected `api_key`".into()));
        }
        let edit = Edit {
            key: change
                .token
                .as_ref()
                .map(|token| Secret::new(token.as_str())),
            label: change.label,
            priority: change.priority,
            weight: change.weight,
            disabled: change.disabled,
            limit: change.quota.map(|quota| Some(quota.limit)),
            used: None,
        };
        place.change(&provider, id.as_deref(), &headers, edit, &actor)
    });
    let (entry, tag) = edited.await?;
    Ok(([(ETAG, tag)], Json(entry)).into_response())
}

/// Set the quota of one
///
/// Only of those of `auth.dir`: what is written in the configuration is changed there. What was used of
/// the period that runs stays used.
#[utoipa::path(put, path = "/auths/{provider}/quota", tag = "credentials", operation_id = "set_quota",
    params(("provider" = String, Path),
        ("id" = Option<String>, Query, description = "The credential's, where its provider has several"),
        ("if-match" = Option<String>, Header, description = "The `ETag` that it was looked at with")),
    request_body = QuotaChange,
    responses((status = 200, description = "Its tokens of the period that runs", body = QuotaEntry,
        headers(("etag" = String, description = "For `If-Match`")))))]
pub(super) async fn set_quota(
    State(office): Shared,
    Extension(actor): Extension<Actor>,
    Path(provider): Path<String>,
    Query(Which { id }): Query<Which>,
    headers: HeaderMap,
    Body(QuotaChange { limit }): Body<QuotaChange>,
) -> Result<Response, Refused> {
    let edited = editing(office, move |place| {
        let snapshot = place.runtime.snapshot();
        let one = chosen(&snapshot.roll, &provider, id.as_deref(), &actor)?;
        if one.file.is_some() && one.credential().is_none() {
            return Err(Refused::Unusable(one.id.to_string()));
        }
        let edit = Edit {
            limit: Some(limit),
            ..Edit::default()
        };
        place.change(&provider, id.as_deref(), &headers, edit, &actor)
    });
    let (entry, tag) = edited.await?;
    let id = entry.id;
    let quota = entry.quota.ok_or(Refused::NoCredential(id))?;
    Ok(([(ETAG, tag)], Json(quota)).into_response())
}

/// The `ETag` of the credential in this file of `auth.dir`.
pub(super) fn version(bytes: &[u8]) -> String {
    etag(&blake3::hash(bytes).to_hex()[..16])
}

/// The one credential of a provider that is meant.
pub(super) fn chosen<'r>(
    roll: &'r [Enrolled],
    provider: &str,
    id: Option<&str>,
    actor: &Actor,
) -> Result<&'r Enrolled, Refused> {
    let theirs =
        |one: &&Enrolled| &*one.provider == provider && actor.manages(one.tenant.as_deref());
    let mut of_provider = roll.iter().filter(theirs).peekable();
    if of_provider.peek().is_none() {
        let broken = broken(roll, id, actor);
        return Err(broken.unwrap_or_else(|| Refused::NoCredentials(provider.to_owned())));
    }
    let mut meant = of_provider.filter(|one| id.is_none_or(|id| *one.id == *id));
    let one = meant.next().ok_or_else(|| {
        let broken = broken(roll, id, actor);
        broken.unwrap_or_else(|| Refused::NoCredential(id.unwrap_or_default().to_owned()))
    })?;
    match meant.next() {
        Some(_) => Err(Refused::Ambiguous(provider.to_owned())),
        None => Ok(one),
    }
}

/// What is wrong with the file of a credential that was known by this id: of which provider it is
/// may stand inside.
fn broken(roll: &[Enrolled], id: Option<&str>, actor: &Actor) -> Option<Refused> {
    let (_, file) = id?.split_once('/')?;
    let mut roll = roll.iter();
    let one =
        roll.find(|one| matches!(one.held, Held::Broken) && one.file.as_deref() == Some(file));
    let one = one.filter(|one| actor.manages(one.tenant.as_deref()))?;
    one.problem.clone().map(Refused::Unreadable)
}

impl Place {
    /// Answers with what it is now, and its `ETag`.
    fn change(
        &self,
        provider: &str,
        id: Option<&str>,
        headers: &HeaderMap,
        change: Edit,
        actor: &Actor,
    ) -> Result<(CredentialEntry, String), Refused> {
        let taken_over = self.take_over(actor);
        let snapshot = self.runtime.snapshot();
        let chosen = chosen(&snapshot.roll, provider, id, actor);
        // One that has leaked is switched off, whatever else is wrong.
        let is_used = chosen.as_ref().is_ok_and(|one| one.credential().is_some());
        let switches_off = is_used && change.disabled == Some(true);
        if !switches_off {
            taken_over?;
        }
        let one = chosen?;
        let Some(name) = &one.file else {
            return Err(Refused::Configured(one.id.to_string()));
        };
        if let Some(key) = &change.key {
            let is_twin = |other: &&Enrolled| {
                other.id != one.id && other.pool == one.pool && holds(other, key.expose())
            };
            if let Some(twin) = snapshot.roll.iter().find(is_twin) {
                return Err(Refused::SameSecret(twin.id.to_string()));
            }
        }
        let path = self.directory.join(name);
        if path.is_symlink() {
            return Err(Refused::Files(format!(
                "{name}: a link; change what it leads to"
            )));
        }
        let read = || std::fs::read(&path).map(Zeroizing::new);
        let before = read().map_err(|error| self.failed(&error))?;
        if_match(headers, &version(&before))?;
        let told = told(one, &change);
        let after = self.written(one, name, &before, change)?;
        // Other tools write these files, too.
        if read().map_err(|error| self.failed(&error))? != before {
            return Err(Refused::Changed);
        }
        replace_file(&self.directory, name, &after).map_err(|error| self.failed(&error))?;
        if switches_off {
            actor.changed(Action::ChangedCredential, &one.id, told);
            return self.switched_off(one, name, &after, actor);
        }
        let changed = self.in_force(name, actor, |one| {
            actor.changed(Action::ChangedCredential, &one.id, told);
            let entry = CredentialEntry::new(one, self.runtime.board.time.now());
            (entry, version(&after))
        });
        if changed.is_err() {
            let put_back = match read() {
                Ok(now) if now == after => replace_file(&self.directory, name, &before),
                // Somebody has written another one meanwhile.
                _ => Ok(()),
            };
            let _ = self.take_over(actor);
            put_back.map_err(|error| self.failed(&error))?;
        }
        changed
    }

    /// Takes over that a credential is switched off. That is not put back.
    fn switched_off(
        &self,
        before: &Enrolled,
        name: &str,
        file: &[u8],
        actor: &Actor,
    ) -> Result<(CredentialEntry, String), Refused> {
        let find = |roll: &[Enrolled]| {
            let mut roll = roll.iter();
            let one = roll.find(|one| one.file.as_deref() == Some(name))?;
            let now = self.runtime.board.time.now();
            let is_off = one.credential().is_none();
            is_off.then(|| CredentialEntry::new(one, now))
        };
        let mut entry = None;
        self.take_over_kept(actor, |now| {
            entry = find(&now.roll);
            entry.is_some()
        })?;
        let gone = || Refused::NoCredential(before.id.to_string());
        Ok((entry.ok_or_else(gone)?, version(file)))
    }

    /// The file as it is to be: encrypted where the others are, and where it was.
    fn written(
        &self,
        one: &Enrolled,
        name: &str,
        before: &[u8],
        change: Edit,
    ) -> Result<Zeroizing<Vec<u8>>, Refused> {
        let snapshot = self.runtime.snapshot();
        let terms = &snapshot.management;
        let opened = open_file(name, before, &terms.keyring);
        let (json, sealed) =
            opened.map_err(|error| Refused::Unreadable(format!("{name} {error}")))?;
        let seals = terms.seals || sealed.is_some();
        let used = one.credential().map(|credential| {
            credential.begin_period(self.runtime.board.time.now());
            let start = credential.standing.allowance.running().start;
            credential.quota.spent_before(start)
        });
        let stem = name.strip_suffix(".json").unwrap_or(name);
        let change = Edit { used, ..change };
        // Its errors name the key and quote nothing.
        let json = edit(stem, &json, &change).map_err(|error| Refused::Body(error.to_string()))?;
        match seals {
            false => Ok(json),
            true => Ok(Zeroizing::new(seal_file(name, &json, &terms.keyring)?)),
        }
    }
}

/// What changes, before and after, as it goes on record: never a secret.
fn told(one: &Enrolled, change: &Edit) -> Change {
    let credential = one.credential();
    let (mut before, mut after) = (Words::default(), Words::default());
    if change.key.is_some() {
        before = before.with("key", "as it was");
        after = after.with("key", "another one");
    }
    if let Some(label) = &change.label {
        before = before.quoting("label", Some(one.label.as_deref().unwrap_or_default()));
        after = after.quoting("label", Some(label));
    }
    if let Some(priority) = change.priority {
        before = before.or_none("priority", credential.map(|one| one.priority));
        after = after.with("priority", priority);
    }
    if let Some(weight) = change.weight {
        before = before.or_none("weight", credential.map(|one| one.weight));
        after = after.with("weight", weight);
    }
    if let Some(disabled) = change.disabled {
        before = before.with("disabled", matches!(one.held, Held::Disabled));
        after = after.with("disabled", disabled);
    }
    if let Some(limit) = change.limit {
        before = before.or_none("limit", credential.and_then(|one| one.quota.limit));
        after = after.or_none("limit", limit);
    }
    Change::of(before, after)
}
