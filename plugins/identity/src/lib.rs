//! Who is calling: one file an authenticator.

mod api_keys;

use std::sync::Arc;

use turnpike_api::{Authenticator, Identity, Row, Secret};

pub use api_keys::ApiKeys;

/// Everything the authenticators are built from.
pub struct Settings {
    /// The configured static keys, each with who holds it.
    pub api_keys: Vec<(Secret, Arc<Identity>)>,
    /// Random, made at start and never written down: what look-ups are keyed by.
    pub digest_key: [u8; 32],
}

/// The authenticators, in the order in which they are asked.
pub const AUTHENTICATORS: &[Row<dyn Authenticator, Settings>] = &[Row {
    kind: "api_keys",
    build: |settings| Arc::new(ApiKeys::new(settings)),
}];
