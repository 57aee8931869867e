//! Which limits there are.

use std::sync::Arc;

use turnpike_api::Limit;
use turnpike_config::Plan;
use turnpike_limits::{Book, Rule, Rules};

use crate::upstream::quota::{Quota, SharedQuota};

/// The tenant of those who have none.
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

/// The limits of a configuration, but for the caps of its credentials.
pub(super) fn rules(plan: &Plan) -> Rules {
    let rule = |limit: &Arc<Limit>| Rule::new(NO_TENANT, limit.clone());
    let all = |limits: &[Arc<Limit>]| limits.iter().map(rule).collect();
    let roles = plan.roles.iter().filter(|role| !role.limits.is_empty());
    let keys = plan.client_keys.iter().filter(|key| !key.limits.is_empty());
    Rules {
        general: all(&plan.limits),
        of_roles: roles
            .map(|role| (role.name.as_str().into(), all(&role.limits)))
            .collect(),
        of_keys: keys
            .map(|key| (key.name.as_str().into(), all(&key.limits)))
            .collect(),
    }
}
