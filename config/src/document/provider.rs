//! The section `providers`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Caps, ProxyText, SecretText, Strategy};

/// A provider. All but `kind`, `enabled` and `selection_strategy` is for each of its credentials.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Provider {
    /// How it wants to be called; the default is its name, when that is a known kind.
    pub(crate) kind: Option<String>,
    pub(crate) enabled: bool,
    /// Where it is. For the OpenAI-like with the version (`/v1`), for claude and gemini without.
    pub(crate) base_url: Option<String>,
    /// The models it serves; none = the kind's own patterns.
    pub(crate) models: Vec<ModelEntry>,
    /// Models it does not serve, exact or with `*`.
    pub(crate) excluded_models: Vec<String>,
    /// Serve its models also as `prefix/model`.
    pub(crate) prefix: Option<String>,
    /// Sent with every request to it.
    pub(crate) headers: BTreeMap<String, SecretText>,
    /// `http` or `socks5` URL of a proxy, or `direct` for none.
    pub(crate) proxy_url: Option<ProxyText>,
    /// The default is `auth.selection_strategy`.
    pub(crate) selection_strategy: Option<Strategy>,
    pub(crate) credentials: Vec<Credential>,
}

impl Default for Provider {
    fn default() -> Self {
        Self {
            kind: None,
            enabled: true,
            base_url: None,
            models: Vec::new(),
            excluded_models: Vec::new(),
            prefix: None,
            headers: BTreeMap::new(),
            proxy_url: None,
            selection_strategy: None,
            credentials: Vec::new(),
        }
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Credential {
    pub(crate) api_key: SecretText,
    /// How logs and metrics call it; the default is a digest of the key.
    #[serde(default)]
    pub(crate) label: Option<String>,
    /// Lower first; the next is used when none of the first can be.
    #[serde(default = "first")]
    pub(crate) priority: i64,
    /// Its share under `weighted`, against those of the others.
    #[serde(default)]
    pub(crate) weight: Weight,
    #[serde(default)]
    pub(crate) disabled: bool,
    /// What it may use until `auth.quota.reset_schedule` says so again.
    #[serde(default)]
    pub(crate) quota: CredentialQuota,
    #[serde(default)]
    pub(crate) caps: Caps,
    /// The tag by which tenants name it under `pools`; the default serves whoever names none.
    #[serde(default)]
    pub(crate) pool: Option<String>,
}

pub(crate) fn first() -> i64 {
    1
}

#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub(crate) struct Weight(#[schemars(range(min = 1, max = 1000))] pub(crate) u32);

impl Default for Weight {
    fn default() -> Self {
        Self(1)
    }
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CredentialQuota {
    /// Tokens, input and output; the default is no limit.
    #[schemars(range(min = 1))]
    pub(crate) limit: Option<u64>,
}

/// A model: its name at the provider alone, or with the name that clients use.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum ModelEntry {
    Plain(String),
    Full(Model),
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Model {
    /// What the provider calls it.
    pub(crate) name: String,
    /// What clients call it; the default is the same.
    #[serde(default)]
    pub(crate) alias: Option<String>,
    /// The name, as clients use it, of the model that this one stands in for when that one is out
    /// of quota.
    #[serde(default)]
    pub(crate) preview_of: Option<String>,
    /// Names, as clients use them, of the models to try in turn when this one cannot be served.
    #[serde(default)]
    pub(crate) fallback: Vec<String>,
}
