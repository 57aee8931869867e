//! The section `state`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{SecretOrNone, Span};

/// Where the state is kept that outlives a restart.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct State {
    pub(crate) backend: Backend,
    /// The SQLite file, relative to this file; it is made when it does not exist. With Redis it keeps
    /// what this replica counts.
    pub(crate) path: String,
    pub(crate) redis: Redis,
    /// How long known tokens stay valid while the store cannot be read.
    pub(crate) max_stale: Span,
    pub(crate) retention: Retention,
}

/// How many days the store keeps what it need not; 0 = for good.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Retention {
    /// Usage by day.
    #[schemars(range(max = 36_500))]
    pub(crate) usage_days: u32,
    /// Agent tokens after they were revoked.
    #[schemars(range(max = 36_500))]
    pub(crate) revoked_token_days: u32,
    /// People, with all their tokens, after the end of their last session.
    #[schemars(range(max = 36_500))]
    pub(crate) absent_person_days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            usage_days: 800,
            revoked_token_days: 90,
            absent_person_days: 400,
        }
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            backend: Backend::default(),
            path: "turnpike.db".into(),
            redis: Redis::default(),
            max_stale: Span::seconds(60),
            retention: Retention::default(),
        }
    }
}

#[derive(Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Backend {
    #[default]
    Embedded,
    Redis,
}

/// The Redis that replicas share what they know by, where `backend` is `redis`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Redis {
    /// `redis://host:port/database`, `rediss://` for TLS, or `unix:///path`; without a login.
    pub(crate) url: String,
    pub(crate) mode: RedisMode,
    /// The sentinels, or some nodes of the cluster, each as `host:port`; over TLS where `url` says so. The
    /// host in `url` is then not asked.
    pub(crate) nodes: Vec<String>,
    /// What the sentinels call the master.
    pub(crate) master_name: String,
    /// The ACL user; the default is Redis' own `default`.
    pub(crate) username: String,
    pub(crate) password: SecretOrNone,
    pub(crate) tls: RedisTls,
    /// What the name of every key begins with: letters, digits and any of `- _ . :`.
    pub(crate) key_prefix: String,
    /// How long any one call may take; at most 10s.
    pub(crate) deadline: Span,
    /// How long a connection may take to be made; at most 60s.
    pub(crate) connect_timeout: Span,
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            url: "redis://127.0.0.1:6379/0".into(),
            mode: RedisMode::default(),
            nodes: Vec::new(),
            master_name: String::new(),
            username: String::new(),
            password: SecretOrNone::default(),
            tls: RedisTls::default(),
            key_prefix: "tp1".into(),
            deadline: Span(Duration::from_millis(50)),
            connect_timeout: Span(Duration::from_millis(200)),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RedisMode {
    #[default]
    Standalone,
    Sentinel,
    Cluster,
}

/// For a URL that begins with `rediss://`. Paths are relative to this file.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RedisTls {
    /// PEM, the authorities of the Redis' certificate; the default is the system's.
    pub(crate) ca_file: Option<String>,
    /// PEM, the certificate that the gateway shows, and its chain.
    pub(crate) cert: Option<String>,
    /// PEM, the key of `cert`.
    pub(crate) key: Option<String>,
}
