//! The sections `routing`, `quota_exceeded`, `metering` and `egress`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ProxyText;

#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Routing {
    /// Another name of `auth.selection_strategy`.
    pub(crate) strategy: Option<Strategy>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Strategy {
    RoundRobin,
    FillFirst,
    Priority,
    QuotaAware,
    Weighted,
}

/// What a request does when a credential's quota is spent.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct QuotaExceeded {
    /// Try the other credentials.
    pub(crate) switch_project: bool,
    /// Try the model that stands in, see `preview_of`.
    pub(crate) switch_preview_model: bool,
}

impl Default for QuotaExceeded {
    fn default() -> Self {
        Self {
            switch_project: true,
            switch_preview_model: true,
        }
    }
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Metering {
    /// `auto` = a stream that does not ask for its usage is made to, where something counts it; the
    /// client does not see that part.
    pub(crate) inject_usage: InjectUsage,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum InjectUsage {
    #[default]
    Auto,
    Off,
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Egress {
    /// `http` or `socks5` URL of a proxy for all calls. `HTTP_PROXY` and `HTTPS_PROXY` of
    /// the environment win.
    pub(crate) proxy_url: Option<ProxyText>,
    /// PEM, authorities trusted beside the built-in ones.
    pub(crate) ca_file: Option<String>,
    /// Whether private addresses may be called that this file does not name.
    pub(crate) allow_private: bool,
    /// Hosts that may be called; none = any.
    pub(crate) allowed_hosts: Vec<String>,
}
