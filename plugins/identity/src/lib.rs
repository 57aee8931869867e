//! Who is calling: one file an authenticator.

pub mod agent_tokens;
mod api_keys;
mod computing;
pub mod jwt;
pub mod names;
pub mod people;
pub mod sso;

use std::sync::Arc;

use jwt::{Issuer, JwtVerifier, KeyCache, SignatureChecks};
use turnpike_api::{Authenticator, Clock, Identity, Row, Secret};

pub use agent_tokens::{AgentTokens, Checks, TokenBook};
pub use api_keys::ApiKeys;
pub use jwt::JwtBearers;
pub use names::Names;

/// Everything the authenticators are built from.
pub struct Settings {
    /// The configured static keys, each with who holds it.
    pub api_keys: Vec<(Secret, Arc<Identity>)>,
    /// Random, made at start and never written down: what look-ups are keyed by.
    pub digest_key: [u8; 32],
    /// Issuers whose signed tokens are taken; each once.
    pub jwt_issuers: Vec<TrustedIssuer>,
    /// Who checks their tokens' signatures.
    pub signature_checks: Arc<SignatureChecks>,
    pub clock: Arc<dyn Clock>,
    /// The agent tokens there are.
    pub agent_tokens: Arc<TokenBook>,
    /// How they are checked.
    pub checks: Checks,
}

/// An issuer, and the keys it signs with. They outlive a configuration that does not change it.
#[derive(Clone)]
pub struct TrustedIssuer {
    /// On what terms its tokens are taken.
    pub issuer: Issuer,
    /// Its keys.
    pub keys: Arc<KeyCache>,
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
            jwt_issuers: Vec::new(),
            signature_checks: Arc::new(SignatureChecks::new(1)),
            clock: clock.clone(),
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
    Row {
        kind: "jwt",
        build: |settings| {
            let issuers = settings.jwt_issuers.iter();
            let verifiers = issuers.map(|TrustedIssuer { issuer, keys }| {
                JwtVerifier::new(issuer.clone(), keys.clone(), settings.clock.clone())
            });
            let (clock, checks) = (settings.clock.clone(), settings.signature_checks.clone());
            Arc::new(JwtBearers::new(
                verifiers,
                clock,
                settings.digest_key,
                checks,
            ))
        },
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
