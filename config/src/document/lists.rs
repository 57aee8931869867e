//! The lists `openai_api_key` and so on: another way to write `providers`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::provider::{CredentialQuota, Weight, first};
use super::{Caps, ModelEntry, ProxyText, SecretText};

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyEntry {
    pub(crate) api_key: SecretText,
    /// The default is the provider's own.
    #[serde(default)]
    pub(crate) base_url: Option<String>,
    /// Serve its models also as `prefix/model`.
    #[serde(default)]
    pub(crate) prefix: Option<String>,
    /// The models it serves; none = the kind's own patterns.
    #[serde(default)]
    pub(crate) models: Vec<ModelEntry>,
    /// Models it does not serve, exact or with `*`.
    #[serde(default)]
    pub(crate) excluded_models: Vec<String>,
    /// Sent with every request.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, SecretText>,
    /// `http` or `socks5` URL of a proxy, or `direct` for none.
    #[serde(default)]
    pub(crate) proxy_url: Option<ProxyText>,
    /// Lower first.
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

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CompatibleEntry {
    /// The provider's name.
    pub(crate) name: String,
    /// With the version, `https://llm.example.com/v1`.
    pub(crate) base_url: String,
    /// One key; several go into `api_key_entries`.
    #[serde(default)]
    pub(crate) api_key: Option<SecretText>,
    #[serde(default)]
    pub(crate) api_key_entries: Vec<CompatibleKey>,
    /// Serve its models also as `prefix/model`.
    #[serde(default)]
    pub(crate) prefix: Option<String>,
    /// The models it serves.
    #[serde(default)]
    pub(crate) models: Vec<ModelEntry>,
    /// Models it does not serve, exact or with `*`.
    #[serde(default)]
    pub(crate) excluded_models: Vec<String>,
    /// Sent with every request.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, SecretText>,
    /// `http` or `socks5` URL of a proxy, or `direct` for none.
    #[serde(default)]
    pub(crate) proxy_url: Option<ProxyText>,
    /// Lower first.
    #[serde(default = "first")]
    pub(crate) priority: i64,
    /// The share of each of its keys under `weighted`.
    #[serde(default)]
    pub(crate) weight: Weight,
    #[serde(default)]
    pub(crate) disabled: bool,
    /// What each of its keys may use until `auth.quota.reset_schedule` says so again.
    #[serde(default)]
    pub(crate) quota: CredentialQuota,
    /// Of each of its keys.
    #[serde(default)]
    pub(crate) caps: Caps,
    /// The tag by which tenants name its keys under `pools`; the default serves whoever names none.
    #[serde(default)]
    pub(crate) pool: Option<String>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CompatibleKey {
    pub(crate) api_key: SecretText,
    /// The default is the provider's.
    #[serde(default)]
    pub(crate) proxy_url: Option<ProxyText>,
}
