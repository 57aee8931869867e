//! The sections that say how callers prove who they are.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Span;

/// Long-lived tokens of agents and devices.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AgentTokens {
    /// How long a token that was checked is known without another computation.
    pub(crate) cache_ttl: Span,
    /// How long a token goes on beside the one that took its place.
    pub(crate) rotation_overlap: Span,
    pub(crate) argon2: Argon2,
    /// As many hashes are computed at once.
    #[schemars(range(min = 1, max = 64))]
    pub(crate) max_concurrent_hashes: u32,
}

impl Default for AgentTokens {
    fn default() -> Self {
        Self {
            cache_ttl: Span::seconds(5 * 60),
            rotation_overlap: Span::seconds(24 * 60 * 60),
            argon2: Argon2::default(),
            max_concurrent_hashes: 2,
        }
    }
}

/// What the hash of a new token costs.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Argon2 {
    /// KiB of memory.
    #[schemars(range(min = 1024, max = 1_048_576))]
    pub(crate) memory_kib: u32,
    /// Passes over the memory.
    #[schemars(range(min = 1, max = 100))]
    pub(crate) iterations: u32,
    /// Lanes.
    #[schemars(range(min = 1, max = 16))]
    pub(crate) parallelism: u32,
}

impl Default for Argon2 {
    fn default() -> Self {
        Self {
            memory_kib: 19_456,
            iterations: 2,
            parallelism: 1,
        }
    }
}

/// Tokens that other issuers sign, checked with the keys they publish.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Jwt {
    pub(crate) issuers: Vec<JwtIssuer>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct JwtIssuer {
    /// The `iss` of its tokens, letter for letter; also where its keys are found, unless `jwks_url`
    /// says so.
    pub(crate) issuer: String,
    /// A token must name one of these in `aud`.
    pub(crate) audience: Vec<String>,
    /// Where its keys are; the default is what `/.well-known/openid-configuration` of the issuer
    /// says.
    #[serde(default)]
    pub(crate) jwks_url: Option<String>,
    /// What a token may be signed with: `RS256` to `RS512`, `PS256` to `PS512`, `ES256`, `ES384`,
    /// `EdDSA`.
    #[serde(default = "usual_algorithms")]
    pub(crate) algorithms: Vec<String>,
    /// Whose its tokens are; a tenant may also list it under `issuers`.
    #[serde(default)]
    pub(crate) tenant: Option<String>,
    #[serde(default)]
    pub(crate) claims: JwtClaims,
}

fn usual_algorithms() -> Vec<String> {
    vec!["RS256".into(), "ES256".into()]
}

/// The claims that say what there is to know of a caller; `a.b` is the claim `b` within `a`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct JwtClaims {
    pub(crate) groups: String,
    pub(crate) scopes: String,
    pub(crate) email: String,
    pub(crate) team: String,
}

impl Default for JwtClaims {
    fn default() -> Self {
        Self {
            groups: "groups".into(),
            scopes: "scope".into(),
            email: "email".into(),
            team: "team".into(),
        }
    }
}
