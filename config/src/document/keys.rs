//! The sections `api_keys` and `unauthenticated_response`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LimitMap, SecretText};

/// A client key: the key alone, or with a name and the models it may use.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum ClientKeyEntry {
    Plain(SecretText),
    Full(ClientKey),
}

impl ClientKeyEntry {
    pub(crate) fn key(&self) -> &SecretText {
        match self {
            Self::Plain(key) => key,
            Self::Full(full) => &full.key,
        }
    }

    pub(crate) fn full(&self) -> Option<&ClientKey> {
        match self {
            Self::Plain(_) => None,
            Self::Full(full) => Some(full),
        }
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClientKey {
    pub(crate) key: SecretText,
    /// How logs and metrics call it; the default is `key-` and its position.
    #[serde(default)]
    pub(crate) name: Option<String>,
    /// Whose key it is; the default is that of the host it is used at, or nobody's.
    #[serde(default)]
    pub(crate) tenant: Option<String>,
    /// Models it may use, with `*` for any run of characters and `!` in front of one that is
    /// denied; the default is any.
    #[serde(default)]
    pub(crate) models: Option<Vec<String>>,
    /// Roles it has, beside those that `role_bindings` give it.
    #[serde(default)]
    pub(crate) roles: Vec<String>,
    /// Of this key, written as those of `roles`.
    #[serde(default)]
    pub(crate) limits: LimitMap,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unauthenticated {
    Sandbox,
    Unauthorized,
}
