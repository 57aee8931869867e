//! How callers prove who they are.

use std::time::Duration;

use url::Url;

/// Long-lived tokens of agents and devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentTokensPlan {
    /// How long a token that was checked is known without another computation.
    pub cache_ttl: Duration,
    /// How long a token goes on beside the one that took its place.
    pub rotation_overlap: Duration,
    pub argon2: Argon2Plan,
    /// As many hashes are computed at once; never 0.
    pub max_concurrent_hashes: usize,
}

/// What the hash of a new token costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argon2Plan {
    pub memory_kib: u32,
    pub iterations: u32,
    pub parallelism: u32,
}

/// An issuer whose signed tokens are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtIssuerPlan {
    /// As its tokens name it in `iss`.
    pub issuer: String,
    /// The same, to find its keys by.
    pub url: Url,
    /// Never empty.
    pub audience: Vec<String>,
    /// Where its keys are; `None` = where its discovery document says.
    pub jwks_url: Option<Url>,
    /// Never empty; what they stand for is for whoever checks them to say.
    pub algorithms: Vec<String>,
    pub claims: ClaimNamesPlan,
    /// Whose its tokens are. There is such a tenant.
    pub tenant: Option<String>,
}

/// Under which claims an issuer says what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimNamesPlan {
    pub groups: String,
    pub scopes: String,
    pub email: String,
    pub team: String,
}
