//! The sections that say what callers may do.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LimitMap;

/// What whoever has the role may do. A call is allowed where one role of the caller grants all of it,
/// and none denies it.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Role {
    /// Models it grants, as clients name them: `*` for any run of characters, whatever the case, and
    /// `!` in front of what it denies. The default is none.
    pub(crate) models: Vec<String>,
    /// Names of providers that may serve them, written in the same way.
    pub(crate) providers: Vec<String>,
    /// `llm:read` to list models and count tokens, `llm:write` to generate; also scopes of the
    /// management API.
    pub(crate) permissions: Vec<Permission>,
    /// Networks, such as `10.0.0.0/8`, from which whoever has the role may call; the default is all.
    pub(crate) cidrs: Vec<String>,
    /// SHA-256 of the client certificates, in hexadecimal digits, with which whoever has the role may
    /// call; the default is any, and none.
    pub(crate) certificates: Vec<String>,
    /// Of each user who calls by this role: `measure_per_window`, `measure_total`, `concurrency`, such
    /// as `requests_per_minute`. The measures are `requests`, `tokens`, `input_tokens`, `output_tokens`
    /// and `usd`, the windows `second` to `month`.
    pub(crate) limits: LimitMap,
}

impl Default for Role {
    fn default() -> Self {
        Self {
            models: Vec::new(),
            providers: vec!["*".into()],
            permissions: vec![Permission::LlmRead, Permission::LlmWrite],
            cidrs: Vec::new(),
            certificates: Vec::new(),
            limits: LimitMap::default(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub(crate) enum Permission {
    #[serde(rename = "llm:read")]
    LlmRead,
    #[serde(rename = "llm:write")]
    LlmWrite,
    #[serde(rename = "admin:*")]
    All,
    #[serde(rename = "credentials:read")]
    CredentialsRead,
    #[serde(rename = "credentials:write")]
    CredentialsWrite,
    #[serde(rename = "tokens:read")]
    TokensRead,
    #[serde(rename = "tokens:write")]
    TokensWrite,
    #[serde(rename = "sessions:read")]
    SessionsRead,
    #[serde(rename = "sessions:write")]
    SessionsWrite,
    #[serde(rename = "usage:read")]
    UsageRead,
    #[serde(rename = "config:read")]
    ConfigRead,
    #[serde(rename = "config:write")]
    ConfigWrite,
    #[serde(rename = "logs:read")]
    LogsRead,
    #[serde(rename = "logs:write")]
    LogsWrite,
}

/// Who has a role: whom every key that is written matches. Of a list, one must match.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RoleBinding {
    pub(crate) role: String,
    /// Whoever is known, in whatever way; with nothing beside it.
    #[serde(default)]
    pub(crate) everyone: bool,
    /// Who vouches for the caller: the `iss` of their token, the provider they log in through.
    #[serde(default)]
    pub(crate) issuers: Option<Vec<String>>,
    /// Groups of people and of signed tokens.
    #[serde(default)]
    pub(crate) groups: Option<Vec<String>>,
    /// OAuth scopes of signed tokens.
    #[serde(default)]
    pub(crate) scopes: Option<Vec<String>>,
    /// Claims and the value each must have, or have among others; `a.b` is the claim `b` within `a`.
    #[serde(default)]
    pub(crate) claims: Option<BTreeMap<String, String>>,
    /// What follows the `@` of a verified address.
    #[serde(default)]
    pub(crate) email_domains: Option<Vec<String>>,
    /// Verified addresses, or subjects.
    #[serde(default)]
    pub(crate) users: Option<Vec<String>>,
    /// Ids of agent tokens, or names of those that an operator made.
    #[serde(default)]
    pub(crate) tokens: Option<Vec<String>>,
    /// Names of `api_keys`.
    #[serde(default)]
    pub(crate) api_keys: Option<Vec<String>>,
}

#[cfg(test)]
mod tests {
    use schemars::schema_for;

    use super::*;
    use crate::document::AdminScope;

    #[test]
    fn a_role_may_name_every_scope_of_the_management_api() {
        let words = |schema: schemars::Schema| schema.get("enum").cloned();
        let scopes = words(schema_for!(AdminScope)).unwrap();
        let permissions = words(schema_for!(Permission)).unwrap();
        for scope in scopes.as_array().unwrap() {
            assert!(permissions.as_array().unwrap().contains(scope), "{scope}");
        }
    }
}
