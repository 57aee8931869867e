//! Argon2id, of which a computation takes some 20 MiB and some 20 ms of a core.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use thiserror::Error;
use turnpike_api::Secret;

use crate::computing::{Pool, PoolError};

/// What a computation costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Costs {
    pub memory_kib: u32,
    pub iterations: u32,
    pub parallelism: u32,
}

impl Default for Costs {
    /// OWASP's first choice for Argon2id (Password Storage Cheat Sheet).
    fn default() -> Self {
        Self {
            memory_kib: 19_456,
            iterations: 2,
            parallelism: 1,
        }
    }
}

/// Why there is no hash.
#[derive(Debug, Error)]
pub enum HashError {
    #[error("Argon2 cannot work with these costs: {0}")]
    Costs(String),
    #[error("too many tokens are being checked")]
    Busy,
    #[error("the thread that computed it is gone")]
    Gone,
}

/// The computations of one process.
pub(super) struct Hashing {
    pool: Pool,
    computed: Arc<AtomicU64>,
}

impl From<PoolError> for HashError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Busy => Self::Busy,
            PoolError::Gone => Self::Gone,
        }
    }
}

impl Hashing {
    /// At most `at_once` at a time.
    pub(super) fn new(at_once: usize) -> Self {
        Self {
            pool: Pool::new("hash", at_once),
            computed: Arc::default(),
        }
    }

    /// How many there were.
    pub(super) fn computed(&self) -> u64 {
        self.computed.load(Ordering::Relaxed)
    }

    /// Keeps one of the threads busy until the other end of `gate` is dropped.
    #[cfg(test)]
    pub(super) async fn hold(&self, gate: std::sync::mpsc::Receiver<()>) {
        let held = self.pool.run(move || gate.recv().is_err());
        assert!(held.await.unwrap());
    }

    /// Whether `secret` is the one that `hash` was made of. A hash that cannot be read is nobody's.
    pub(super) async fn verify(&self, secret: Secret, hash: Arc<str>) -> Result<bool, HashError> {
        let computed = self.computed.clone();
        let work = move || {
            computed.fetch_add(1, Ordering::Relaxed);
            is_of(&secret, &hash)
        };
        Ok(self.pool.run(work).await?)
    }
}

fn is_of(secret: &Secret, hash: &str) -> bool {
    // The costs are the hash's own.
    PasswordHash::new(hash).is_ok_and(|hash| {
        let verified = Argon2::default().verify_password(secret.expose().as_bytes(), &hash);
        verified.is_ok()
    })
}

/// Hashes a new secret, as a PHC string with a salt of its own.
pub(super) fn hash(secret: &Secret, costs: Costs) -> Result<String, HashError> {
    let params = Params::new(costs.memory_kib, costs.iterations, costs.parallelism, None);
    let params = params.map_err(|error| HashError::Costs(error.to_string()))?;
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password(secret.expose().as_bytes())
        .map(|hash| hash.to_string())
        .map_err(|error| HashError::Costs(error.to_string()))
}
