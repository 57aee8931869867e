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
}

impl Default for State {
    fn default() -> Self {
        Self {
            backend: Backend::default(),
            path: "turnpike.db".into(),
            max_stale: Span::seconds(60),
        }
    }
}

#[derive(Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Backend {
    #[default]
    Embedded,
}
