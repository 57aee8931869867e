//! Who may manage the gateway over its API: the keys in `admin`, and `remote_management`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{SecretOrNone, SecretText};

/// A key of the management API.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AdminKey {
    /// At least 16 characters.
    pub(crate) key: SecretText,
    /// How logs call it; the default is `key-` and its position.
    #[serde(default)]
    pub(crate) name: Option<String>,
    /// What it may do; the default is everything.
    #[serde(default = "everything")]
    pub(crate) scopes: Vec<AdminScope>,
    /// The tenant that it is for; the default is the whole gateway.
    #[serde(default)]
    pub(crate) tenant: Option<String>,
}

fn everything() -> Vec<AdminScope> {
    vec![AdminScope::All]
}

/// What a key may do. To write does not include to read.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub(crate) enum AdminScope {
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

/// Who may use the management API from where.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RemoteManagement {
    /// Whether other machines may; otherwise only programs on this one.
    pub(crate) allow_remote: bool,
    /// One more key of the management API, for everything; empty = none.
    pub(crate) secret_key: SecretOrNone,
}
