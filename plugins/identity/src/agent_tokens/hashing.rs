//! Argon2id, by a bounded number of threads.
//!
//! A computation takes some 20 MiB and some 20 ms of a core: whoever presents made-up secrets must
//! not be able to have more of them made at once than that number.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use futures::channel::oneshot;
use thiserror::Error;
use turnpike_api::Secret;

/// As many may wait for a computation. Those beyond are told to come back.
const QUEUE: usize = 512;

type Work = Box<dyn FnOnce() + Send>;

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

/// The computations of one process, on threads of their own: they begin with the first one, and end
/// with this.
pub(super) struct Hashing {
    at_once: usize,
    queue: OnceLock<SyncSender<Work>>,
    computed: Arc<AtomicU64>,
}

impl Hashing {
    /// At most `at_once` at a time.
    pub(super) fn new(at_once: usize) -> Self {
        Self {
            at_once: at_once.max(1),
            queue: OnceLock::new(),
            computed: Arc::default(),
        }
    }

    /// How many there were.
    pub(super) fn computed(&self) -> u64 {
        self.computed.load(Ordering::Relaxed)
    }

    /// Whether `secret` is the one that `hash` was made of. A hash that cannot be read is nobody's.
    pub(super) async fn verify(&self, secret: Secret, hash: Arc<str>) -> Result<bool, HashError> {
        let (tell, told) = oneshot::channel();
        let computed = self.computed.clone();
        let work = move || {
            computed.fetch_add(1, Ordering::Relaxed);
            // Nobody may be waiting for it any more.
            let _ = tell.send(is_of(&secret, &hash));
        };
        let queue = self.queue.get_or_init(|| start(self.at_once));
        match queue.try_send(Box::new(work)) {
            Ok(()) => told.await.map_err(|_| HashError::Gone),
            Err(TrySendError::Full(_)) => Err(HashError::Busy),
            Err(TrySendError::Disconnected(_)) => Err(HashError::Gone),
        }
    }
}

/// Threads that take work until nobody can give them any.
fn start(at_once: usize) -> SyncSender<Work> {
    let (sender, receiver) = sync_channel::<Work>(QUEUE);
    let receiver = Arc::new(Mutex::new(receiver));
    for nth in 0..at_once {
        let receiver = receiver.clone();
        let working = move || {
            loop {
                let next = receiver
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .recv();
                match next {
                    Ok(work) => work(),
                    Err(_) => return,
                }
            }
        };
        let thread = thread::Builder::new().name(format!("hash-{nth}"));
        if let Err(error) = thread.spawn(working) {
            // With none at all, the channel is closed and each check is told so.
            tracing::error!(%error, "a thread for the hashes of tokens cannot be started");
        }
    }
    sender
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
