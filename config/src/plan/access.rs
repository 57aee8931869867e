//! What callers may do.

use std::sync::Arc;

use ipnet::IpNet;
use turnpike_api::{Limit, Permission};

use super::Scope;

/// A named set of what may be done.
#[derive(Clone, Debug)]
pub struct RolePlan {
    pub name: String,
    /// Globs; `!` in front of what is denied.
    pub models: Vec<String>,
    /// The same of providers' names.
    pub providers: Vec<String>,
    pub permissions: Vec<Permission>,
    pub management: Vec<Scope>,
    /// From where whoever has it may call; none = from anywhere.
    pub cidrs: Vec<IpNet>,
    /// With which client certificates, by their SHA-256 in lower-case hexadecimal digits; none = any.
    pub certificates: Vec<String>,
    /// On the level of users: `role:NAME:requests_per_minute`.
    pub limits: Vec<Arc<Limit>>,
}

/// Who has a role. At least one of the matchers is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleBindingPlan {
    /// There is one of this name.
    pub role: String,
    pub everyone: bool,
    pub issuers: Vec<String>,
    pub groups: Vec<String>,
    pub scopes: Vec<String>,
    /// A claim and the value it must have.
    pub claims: Vec<(String, String)>,
    pub email_domains: Vec<String>,
    pub users: Vec<String>,
    pub tokens: Vec<String>,
    pub api_keys: Vec<String>,
}
