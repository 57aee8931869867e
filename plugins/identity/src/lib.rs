//! Who is calling: one file an authenticator.

pub mod agent_tokens;
mod api_keys;

use std::sync::Arc;

use turnpike_api::{Authenticator, Identity, Row, Secret};

pub use agent_tokens::{AgentTokens, Checks, TokenBook};
pub use api_keys::ApiKeys;

/// Everything the authenticators are built from.
pub struct Settings {
    /// The configured static keys, each with who holds it.
    pub api_keys: Vec<(Secret, Arc<Identity>)>,
    /// Random, made at start and never written down: what look-ups are keyed by.
    pub digest_key: [u8; 32],
    /// The agent tokens there are.
    pub agent_tokens: Arc<TokenBook>,
    /// How they are checked.
    pub checks: Checks,
}

#[cfg(test)]
impl Settings {
    /// Nobody is known.
    fn none() -> Self {
        use std::time::Duration;
        let clock = Arc::new(tests::Noon);
        Self {
            api_keys: Vec::new(),
            digest_key: [7; 32],
            agent_tokens: Arc::new(TokenBook::new([7; 32], 1, clock)),
            checks: Checks {
                cache_ttl: Duration::from_secs(300),
                max_stale: Duration::from_secs(60),
            },
        }
    }
}

/// The authenticators, in the order in which they are asked.
pub const AUTHENTICATORS: &[Row<dyn Authenticator, Settings>] = &[
    Row {
        kind: "api_keys",
        build: |settings| Arc::new(ApiKeys::new(settings)),
    },
    Row {
        kind: "agent_tokens",
        build: |settings| Arc::new(AgentTokens::new(settings)),
    },
];

#[cfg(test)]
mod tests {
    use turnpike_api::Clock;

    /// A clock that stands still.
    pub(crate) struct Noon;

    impl Clock for Noon {
        fn now(&self) -> u64 {
            1_800_000_000_000
        }
    }
}
