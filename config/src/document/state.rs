//! The section `state`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Span;

/// Where the state is kept that outlives a restart.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct State {
    pub(crate) backend: Backend,
    /// The SQLite file, relative to this file; it is made when it does not exist.
    pub(crate) path: String,
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
}
