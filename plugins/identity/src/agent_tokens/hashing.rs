//! Argon2id, by a bounded number of threads.
//!
//! A computation takes some 20 MiB and some 20 ms of a core: whoever presents made-up secrets must
//! not be able to have more of them made at once than that number.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use thiserror::Error;
use tokio::sync::Semaphore;
use turnpike_api::Secret;

/// As many may wait for a computation. Those beyond are told to come back.
const QUEUE: usize = 512;

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
    permits: Arc<Semaphore>,
    queued: Arc<Semaphore>,
    computed: AtomicU64,
}

impl Hashing {
    /// At most `at_once` at a time.
    pub(super) fn new(at_once: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(at_once.max(1))),
            queued: Arc::new(Semaphore::new(QUEUE)),
            computed: AtomicU64::new(0),
        }
    }

    /// How many there were.
    pub(super) fn computed(&self) -> u64 {
        self.computed.load(Ordering::Relaxed)
    }

    /// Whether `secret` is the one that `hash` was made of. A hash that cannot be read is nobody's.
    pub(super) async fn verify(&self, secret: Secret, hash: Arc<str>) -> Result<bool, HashError> {
        self.compute(move || {
            let Ok(hash) = PasswordHash::new(&hash) else {
                return false;
            };
            // The costs are the hash's own.
            let verified = Argon2::default().verify_password(secret.expose().as_bytes(), &hash);
            verified.is_ok()
        })
        .await
    }

    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, HashError> {
        let _queued = self.queued.clone().try_acquire_owned();
        let _queued = _queued.map_err(|_| HashError::Busy)?;
        let permit = self.permits.clone().acquire_owned().await;
        let permit = permit.map_err(|_| HashError::Gone)?;
        self.computed.fetch_add(1, Ordering::Relaxed);
        let computing = tokio::task::spawn_blocking(move || {
            // Held by the computation, which goes on when nobody waits for it any more.
            let _permit = permit;
            work()
        });
        computing.await.map_err(|_| HashError::Gone)
    }
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
