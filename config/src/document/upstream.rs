//! The sections `auth`, `routing` and `egress`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ProxyText;

/// How upstream credentials are used.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Auth {
    /// Which credential is next among those of one priority; the default is `round_robin`.
    pub(crate) selection_strategy: Option<Strategy>,
}

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
    Priority,
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
