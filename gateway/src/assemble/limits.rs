//! Which limits there are.

use std::sync::Arc;

use turnpike_api::{Level, Limit};
use turnpike_config::Plan;
use turnpike_config::plan::TenantPlan;
use turnpike_limits::{Book, Rule, Rules};

use crate::upstream::quota::{Quota, SharedQuota};

/// The tenant of those who have none, and of what is counted whoever calls.
const NO_TENANT: &str = "";

/// What may be asked of a credential: its own caps, and `limits`, those for all of them.
pub(super) fn of_credential(limits: &Rules, id: &str, caps: &[Arc<Limit>]) -> Vec<Rule> {
    let own = caps.iter().map(|limit| Rule::new(NO_TENANT, limit.clone()));
    own.chain(limits.of_credential(id)).collect()
}

/// A credential's quota, as replicas share it.
pub(super) fn quota_of_all(id: &str, quota: &Quota, book: &Book) -> Option<SharedQuota> {
    let shared = |limit| SharedQuota::new(NO_TENANT, id, limit, &quota.schedule, book);
    quota.limit.map(shared)
}

/// The limits of a tenant's callers, or of those of none. Each tenant has buckets of its own.
pub(super) fn rules(plan: &Plan, tenant: Option<&TenantPlan>) -> Rules {
    let name = tenant.map_or(NO_TENANT, |tenant| &tenant.name);
    let rule = |limit: &Arc<Limit>| Rule::new(name, limit.clone());
    let all = |limits: &[Arc<Limit>]| limits.iter().map(rule).collect();
    let access = tenant.and_then(|tenant| tenant.access.as_ref());
    let roles = access.map_or(&plan.roles, |access| &access.roles);
    let roles = roles.iter().filter(|role| !role.limits.is_empty());
    let keys = plan.client_keys.iter().filter(|key| !key.limits.is_empty());
    // One that names no tenant acts for whichever tenant's host is called.
    let is_theirs = |key: &str| tenant.is_some_and(|tenant| tenant.name == key);
    let keys = keys.filter(|key| key.tenant.as_deref().is_none_or(is_theirs));
    // Whoever calls, a credential is one: its limits are counted together, and stand here once.
    let is_for = |limit: &&Arc<Limit>| tenant.is_none() || limit.level != Level::Credential;
    let own = tenant.map_or(&[][..], |tenant| &tenant.limits);
    let general = plan.limits.iter().filter(is_for).chain(own);
    Rules {
        general: general.map(rule).collect(),
        of_roles: roles
            .map(|role| (role.name.as_str().into(), all(&role.limits)))
            .collect(),
        of_keys: keys
            .map(|key| (key.name.as_str().into(), all(&key.limits)))
            .collect(),
    }
}
