use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use blake3::Hash;
use turnpike_api::Identity;

/// How many tokens one generation has, at most; there are two.
const GENERATION: usize = 16_384;

/// Tokens whose signatures have been checked, by keyed digest of the whole token.
///
/// Only good tokens get in, so nobody can fill it with made-up ones. When the young generation is
/// full it becomes the old one, and what nobody has used since it last did is forgotten.
pub(super) struct Verified {
    digest_key: [u8; 32],
    generations: RwLock<Generations>,
    capacity: usize,
}

#[derive(Default)]
struct Generations {
    young: HashMap<Hash, Entry>,
    old: HashMap<Hash, Entry>,
}

#[derive(Clone)]
struct Entry {
    identity: Arc<Identity>,
    until: u64,
}

impl Verified {
    pub(super) fn new(digest_key: [u8; 32]) -> Self {
        Self::with_capacity(digest_key, GENERATION)
    }

    fn with_capacity(digest_key: [u8; 32], capacity: usize) -> Self {
        Self {
            digest_key,
            generations: RwLock::default(),
            capacity,
        }
    }

    /// What to look a token up by.
    pub(super) fn digest(&self, token: &str) -> Hash {
        blake3::keyed_hash(&self.digest_key, token.as_bytes())
    }

    /// Whose it is, if it was found good and its time is not over.
    pub(super) fn get(&self, digest: &Hash, now: u64) -> Option<Arc<Identity>> {
        let (entry, is_old) = {
            let generations = self
                .generations
                .read()
                .unwrap_or_else(PoisonError::into_inner);
            match generations.young.get(digest) {
                Some(entry) => (entry.clone(), false),
                None => (generations.old.get(digest)?.clone(), true),
            }
        };
        if now >= entry.until {
            return None;
        }
        let identity = entry.identity.clone();
        if is_old {
            self.put(*digest, entry);
        }
        Some(identity)
    }

    /// Remembers a token that was found good, for as long as that will do.
    pub(super) fn insert(&self, digest: Hash, identity: Arc<Identity>, until: u64) {
        self.put(digest, Entry { identity, until });
    }

    fn put(&self, digest: Hash, entry: Entry) {
        let mut generations = self
            .generations
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if generations.young.len() >= self.capacity {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(digest, entry);
    }
}

#[cfg(test)]
mod tests {
    use turnpike_api::ModelRules;

    use super::*;

    fn caller(name: &str) -> Arc<Identity> {
        Arc::new(Identity::new(name, ModelRules::any()))
    }

    #[test]
    fn an_entry_ends_at_its_time() {
        let verified = Verified::new([1; 32]);
        let digest = verified.digest("token");
        verified.insert(digest, caller("ann"), 1_000);
        assert_eq!(verified.get(&digest, 999), Some(caller("ann")));
        assert_eq!(verified.get(&digest, 1_000), None);
    }

    #[test]
    fn it_is_bounded_and_keeps_what_is_used() {
        let verified = Verified::with_capacity([1; 32], 4);
        let used = verified.digest("used");
        verified.insert(used, caller("ann"), 1_000);
        for index in 0..100 {
            let digest = verified.digest(&format!("token {index}"));
            verified.insert(digest, caller("somebody"), 1_000);
            assert!(verified.get(&used, 0).is_some(), "forgotten after {index}");
        }
        let generations = verified.generations.read().unwrap();
        assert!(generations.young.len() <= 4 && generations.old.len() <= 4);
    }
}
