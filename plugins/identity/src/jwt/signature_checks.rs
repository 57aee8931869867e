use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use blake3::Hash;
use serde_json::Value;

use super::Refused;
use super::generations::Generations;
use super::issuer::Algorithm;
use super::key_set::{KeySet, Unsigned};
use crate::computing::Pool;

/// How many tokens one generation of those with bad signatures has, at most; there are two.
const GENERATION: usize = 4_096;

/// The checks of bearers' signatures, of one process: a few at once, on threads that serve no
/// requests. A signature that was bad is not checked again with the same keys.
pub struct SignatureChecks {
    pool: Pool,
    bad: Arc<Generations<Bad>>,
    computed: Arc<AtomicU64>,
}

/// What of a token its signature is about.
pub(super) struct Signed {
    pub(super) key_id: Option<Box<str>>,
    pub(super) algorithm: Algorithm,
    pub(super) message: Box<[u8]>,
    pub(super) signature: Box<[u8]>,
}

/// When a signature is checked.
#[derive(Clone, Copy)]
pub(super) enum Turn<'c> {
    Now,
    /// When there are not too many others.
    Bearer(&'c SignatureChecks, Bearer),
}

/// A token whose signature is to be checked.
#[derive(Clone, Copy)]
pub(super) struct Bearer {
    pub(super) digest: Hash,
    /// It was found good before: who guesses does not keep its holder away.
    pub(super) was_good: bool,
}

/// That a signature was of none of these keys. Its issuer may publish others.
#[derive(Clone)]
struct Bad {
    keys: Weak<KeySet>,
    why: Unsigned,
}

impl Turn<'_> {
    /// The key that made the signature.
    pub(super) async fn check(
        self,
        signed: &Arc<Signed>,
        keys: &Arc<KeySet>,
    ) -> Result<Result<Arc<Value>, Unsigned>, Refused> {
        match self {
            Self::Now => Ok(signed.with(keys)),
            Self::Bearer(checks, bearer) => checks.check(bearer, signed, keys).await,
        }
    }
}

impl Signed {
    fn with(&self, keys: &KeySet) -> Result<Arc<Value>, Unsigned> {
        let id = self.key_id.as_deref();
        keys.verify(id, self.algorithm, &self.message, &self.signature)
    }
}

impl SignatureChecks {
    /// At most `at_once` at a time.
    pub fn new(at_once: usize) -> Self {
        Self {
            pool: Pool::new("signature", at_once),
            bad: Arc::new(Generations::new(GENERATION)),
            computed: Arc::default(),
        }
    }

    /// How many there were.
    pub fn computed(&self) -> u64 {
        self.computed.load(Ordering::Relaxed)
    }

    async fn check(
        &self,
        Bearer { digest, was_good }: Bearer,
        signed: &Arc<Signed>,
        keys: &Arc<KeySet>,
    ) -> Result<Result<Arc<Value>, Unsigned>, Refused> {
        if !keys.has(signed.key_id.as_deref(), signed.algorithm) {
            return Ok(Err(Unsigned::UnknownKey));
        }
        if let Some(why) = why_bad(&self.bad, &digest, keys) {
            return Ok(Err(why));
        }
        let (bad, computed) = (self.bad.clone(), self.computed.clone());
        let (signed, keys) = (signed.clone(), keys.clone());
        let work = move || {
            // Many may have waited with the same one.
            if let Some(why) = why_bad(&bad, &digest, &keys) {
                return Err(why);
            }
            computed.fetch_add(1, Ordering::Relaxed);
            signed.with(&keys).inspect_err(|&why| {
                let keys = Arc::downgrade(&keys);
                bad.put(digest, Bad { keys, why });
            })
        };
        match was_good {
            true => Ok(work()),
            false => self.pool.run(work).await.map_err(|_| Refused::Busy),
        }
    }
}

/// Why it is known that the token is signed with none of these keys.
fn why_bad(bad: &Generations<Bad>, digest: &Hash, keys: &Arc<KeySet>) -> Option<Unsigned> {
    let same = |bad: &Bad| std::ptr::eq(bad.keys.as_ptr(), Arc::as_ptr(keys));
    bad.get(digest, same).map(|bad| bad.why)
}

#[cfg(test)]
impl SignatureChecks {
    /// Keeps its threads, two at most, until the gate is open.
    pub(super) fn wait_for(&self, gate: &Arc<std::sync::Mutex<()>>) {
        for _ in 0..2 {
            let gate = gate.clone();
            let waiting = self.pool.run(move || drop(gate.lock()));
            futures::FutureExt::now_or_never(waiting);
        }
    }
}
