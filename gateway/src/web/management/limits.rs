//! What callers have used of their limits.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Query, State};
use serde::{Deserialize, Serialize};
use turnpike_limits::{Account, Rule};
use utoipa::ToSchema;

use super::access::Actor;
use super::office::Office;
use super::refusal::Refused;
use crate::request::limit_fell::amount;
use crate::tenant::Tenant;
use crate::upstream::roll::time;

/// As many subjects of a limit are listed.
const SUBJECTS: usize = 1000;

#[derive(Serialize, ToSchema)]
pub(super) struct Limits {
    /// Replicas that share them.
    replicas: u32,
    /// The store cannot be asked: each limit does as its `on_unavailable` says.
    store_is_away: bool,
    limits: Vec<OneLimit>,
}

/// A limit, with those of whom this replica knows what they have used. Money is in dollars.
#[derive(Serialize, ToSchema)]
pub(super) struct OneLimit {
    name: String,
    /// Whose callers it is for; `null` = those of no tenant.
    tenant: Option<String>,
    scope: &'static str,
    measure: &'static str,
    window: &'static str,
    #[schema(value_type = f64)]
    limit: serde_json::Number,
    subjects: Vec<Subject>,
    /// There are more subjects than are listed; ask for one with `subject`.
    more: bool,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Subject {
    subject: String,
    /// By all replicas, as the store last said; of running calls and of the last second, here.
    #[schema(value_type = f64)]
    used: serde_json::Number,
    /// What this replica would admit at once, and what nobody holds.
    #[schema(value_type = f64)]
    remaining: serde_json::Number,
    reset_at: Option<String>,
}

/// A subject of a limit, and what is known of it here.
type Known = (Box<str>, Arc<Account>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    name: Option<String>,
    subject: Option<String>,
    tenant: Option<String>,
}

/// List limits, and what is used of them
#[utoipa::path(get, path = "/limits", tag = "limits", operation_id = "list_limits",
    params(
        ("name" = Option<String>, Query, description = "Of this limit only"),
        ("subject" = Option<String>, Query, description = "Of this subject only"),
        ("tenant" = Option<String>, Query, description = "Of this tenant only")),
    responses((status = 200, description = "All that are configured", body = Limits)))]
pub(super) async fn list(
    State(office): State<Arc<Office>>,
    Extension(actor): Extension<Actor>,
    Query(which): Query<Which>,
) -> Result<Json<Limits>, Refused> {
    let runtime = office.runtime()?;
    let book = &runtime.limits;
    let mut known: HashMap<Arc<str>, Vec<Known>> = HashMap::new();
    book.each(|rule, subject, account| {
        if which.subject.as_deref().is_none_or(|only| only == subject) {
            let of_rule = known.entry(rule.clone()).or_default();
            of_rule.push((subject.into(), account.clone()));
        }
    });
    let snapshot = runtime.snapshot();
    let is_meant = |rule: &&Rule| {
        which
            .name
            .as_deref()
            .is_none_or(|name| *rule.limit.name == *name)
    };
    let wanted = which.tenant.as_deref();
    let is_wanted = |name: Option<&str>| wanted.is_none() || wanted == name;
    let mut tenants: Vec<&Arc<Tenant>> = snapshot
        .tenants
        .all()
        .filter(|tenant| actor.manages(tenant.name()) && is_wanted(tenant.name()))
        .collect();
    tenants.sort_by_key(|tenant| tenant.name());
    let rules = tenants.into_iter().flat_map(|tenant| {
        let rules = tenant.rules.all().filter(is_meant);
        rules.map(|rule| (rule, tenant.name()))
    });
    let limits = rules.map(|(rule, tenant)| {
        let subjects = known.remove(rule.name()).unwrap_or_default();
        one(rule, tenant, subjects)
    });
    Ok(Json(Limits {
        replicas: book.replicas(),
        store_is_away: book.is_away(),
        limits: limits.collect(),
    }))
}

fn one(rule: &Rule, tenant: Option<&str>, mut subjects: Vec<Known>) -> OneLimit {
    let limit = &rule.limit;
    subjects.sort_by(|(one, _), (other, _)| one.cmp(other));
    let more = subjects.len() > SUBJECTS;
    subjects.truncate(SUBJECTS);
    let subject = |(subject, account): Known| {
        let end = account.period().end;
        Subject {
            subject: subject.into(),
            used: amount(limit.measure, account.used()),
            remaining: amount(limit.measure, account.remaining()),
            reset_at: (end != u64::MAX).then(|| time(end)),
        }
    };
    OneLimit {
        name: limit.name.to_string(),
        tenant: tenant.map(str::to_owned),
        scope: limit.level.as_str(),
        measure: limit.measure.as_str(),
        window: limit.window.as_str(),
        limit: amount(limit.measure, limit.most),
        subjects: subjects.into_iter().map(subject).collect(),
        more,
    }
}
