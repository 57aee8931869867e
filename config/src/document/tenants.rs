//! The section `tenants`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LimitEntry, LoginMode, ReferenceText, Role, RoleBinding, SsoProvider};

/// Callers who have nothing to do with those of other tenants.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Tenant {
    /// Hosts that are this tenant's alone, without a port.
    pub(crate) hosts: Vec<String>,
    /// What follows the `@` of its people's verified addresses.
    pub(crate) email_domains: Vec<String>,
    /// Those of `jwt.issuers` whose tokens are this tenant's.
    pub(crate) issuers: Vec<String>,
    pub(crate) sso: TenantSso,
    pub(crate) authorization: TenantAuthorization,
    /// With roles or bindings of its own it has these alone, else those of the top level.
    pub(crate) roles: BTreeMap<String, Role>,
    /// Who of its callers has which of these roles.
    pub(crate) role_bindings: Vec<RoleBinding>,
    /// Of its callers, beside those of the top level.
    pub(crate) limits: Vec<LimitEntry>,
    /// Tags of credentials (`pool`) that serve it; none = those without a tag.
    pub(crate) pools: Vec<String>,
    pub(crate) prompts: TenantPrompts,
}

/// Whether what its callers say to models is on record.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TenantPrompts {
    /// What is left out is as in `audit.prompts`.
    pub(crate) enabled: Option<bool>,
}

/// Where people log in at a tenant's hosts.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TenantSso {
    /// With providers of its own it offers these alone, else those of the top level.
    pub(crate) providers: BTreeMap<String, SsoProvider>,
}

/// Who of a tenant's people may have agent tokens, or call with signed ones; what is left out is as at
/// the top level.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TenantAuthorization {
    pub(crate) mode: Option<LoginMode>,
    #[schemars(range(min = 1, max = 8760))]
    pub(crate) session_lifetime_hours: Option<u32>,
    pub(crate) api_url: Option<ReferenceText>,
    #[schemars(range(min = 1, max = 60))]
    pub(crate) api_timeout_seconds: Option<u32>,
    #[schemars(range(min = 1, max = 1440))]
    pub(crate) confirmation_code_expiry_minutes: Option<u32>,
    #[schemars(range(min = 1, max = 100))]
    pub(crate) max_confirmation_attempts: Option<u32>,
}

impl TenantAuthorization {
    /// Whether something is other than at the top level.
    pub(crate) fn says_something(&self) -> bool {
        let numbers = [
            self.session_lifetime_hours,
            self.api_timeout_seconds,
            self.confirmation_code_expiry_minutes,
            self.max_confirmation_attempts,
        ];
        self.mode.is_some() || self.api_url.is_some() || numbers.iter().any(Option::is_some)
    }
}
