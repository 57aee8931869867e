//! Who has nothing to do with whom.

use std::sync::Arc;

use turnpike_api::Limit;

use super::{RemotePlan, RoleBindingPlan, RolePlan, SsoPlan};

/// A tenant.
#[derive(Clone)]
pub struct TenantPlan {
    /// Letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// As DNS has them, in lower case; no other tenant has one of them.
    pub hosts: Vec<String>,
    /// In lower case; no other tenant has one of them.
    pub email_domains: Vec<String>,
    /// How its people log in, where that differs from the top level.
    pub sso: Option<TenantSsoPlan>,
    /// Who is asked about its callers with signed tokens; `None` = nobody.
    pub remote: Option<RemotePlan>,
    /// `None` = those of the top level.
    pub access: Option<TenantAccessPlan>,
    /// Beside those of the top level; none has the name of one of them.
    pub limits: Vec<Arc<Limit>>,
    /// In order, each once; empty = the credentials without a tag.
    pub pools: Vec<String>,
    /// Whether what its callers say to models is on record; `None` = as everybody's.
    pub prompts: Option<bool>,
}

/// A tenant's own logins.
#[derive(Clone)]
pub struct TenantSsoPlan {
    pub sso: SsoPlan,
    /// Whoever logs in through one of these providers is this tenant's.
    pub has_own_providers: bool,
}

/// A tenant's own roles.
#[derive(Clone)]
pub struct TenantAccessPlan {
    pub roles: Vec<RolePlan>,
    pub role_bindings: Vec<RoleBindingPlan>,
}
