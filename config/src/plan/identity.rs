//! How callers prove who they are.

use std::time::Duration;

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
