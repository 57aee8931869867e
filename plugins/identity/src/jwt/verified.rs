use std::sync::Arc;

use blake3::Hash;
use turnpike_api::Identity;

use super::generations::Generations;

/// How many tokens one generation has, at most; there are two.
const GENERATION: usize = 16_384;

/// Tokens whose signatures have been checked, by keyed digest of the whole token. Only good tokens
/// get in, so nobody can fill it with made-up ones.
pub(super) struct Verified {
    digest_key: [u8; 32],
    known: Generations<Entry>,
}

#[derive(Clone)]
struct Entry {
    identity: Arc<Identity>,
    until: u64,
}

impl Verified {
    pub(super) fn new(digest_key: [u8; 32]) -> Self {
        Self {
            digest_key,
            known: Generations::new(GENERATION),
        }
    }

    /// What to look a token up by.
    pub(super) fn digest(&self, token: &str) -> Hash {
        blake3::keyed_hash(&self.digest_key, token.as_bytes())
    }

    /// Whose it is, if it was found good and its time is not over.
    pub(super) fn get(&self, digest: &Hash, now: u64) -> Option<Arc<Identity>> {
        let entry = self.known.get(digest, |entry| now < entry.until)?;
        Some(entry.identity)
    }

    /// Whether it was found good, be its time over or not.
    pub(super) fn had(&self, digest: &Hash) -> bool {
        self.known.get(digest, |_| true).is_some()
    }

    /// Remembers a token that was found good, for as long as that will do.
    pub(super) fn insert(&self, digest: Hash, identity: Arc<Identity>, until: u64) {
        self.known.put(digest, Entry { identity, until });
    }
}

#[cfg(test)]
mod tests {
    use turnpike_api::ModelRules;

    use super::*;

    #[test]
    fn an_entry_ends_at_its_time() {
        let caller = Arc::new(Identity::new("ann", ModelRules::any()));
        let verified = Verified::new([1; 32]);
        let digest = verified.digest("token");
        verified.insert(digest, caller.clone(), 1_000);
        assert_eq!(verified.get(&digest, 999), Some(caller));
        assert_eq!(verified.get(&digest, 1_000), None);
        assert!(verified.had(&digest) && !verified.had(&verified.digest("another")));
    }
}
