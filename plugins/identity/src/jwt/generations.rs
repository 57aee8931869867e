use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use blake3::Hash;

/// What is known of tokens, by keyed digest of the whole token; bounded.
///
/// When the young generation is full it becomes the old one, and what nobody has asked for since it
/// last did is forgotten.
pub(super) struct Generations<T> {
    both: RwLock<Both<T>>,
    /// Of one generation.
    capacity: usize,
}

struct Both<T> {
    young: HashMap<Hash, T>,
    old: HashMap<Hash, T>,
}

impl<T: Clone> Generations<T> {
    pub(super) fn new(capacity: usize) -> Self {
        let both = Both {
            young: HashMap::new(),
            old: HashMap::new(),
        };
        Self {
            both: RwLock::new(both),
            capacity,
        }
    }

    /// What is known, if `counts` still.
    pub(super) fn get(&self, digest: &Hash, counts: impl FnOnce(&T) -> bool) -> Option<T> {
        let (known, is_old) = {
            let both = self.both.read().unwrap_or_else(PoisonError::into_inner);
            match both.young.get(digest) {
                Some(known) => (known.clone(), false),
                None => (both.old.get(digest)?.clone(), true),
            }
        };
        if !counts(&known) {
            return None;
        }
        if is_old {
            self.put(*digest, known.clone());
        }
        Some(known)
    }

    pub(super) fn put(&self, digest: Hash, known: T) {
        let mut both = self.both.write().unwrap_or_else(PoisonError::into_inner);
        if both.young.len() >= self.capacity {
            both.old = std::mem::take(&mut both.young);
        }
        both.young.insert(digest, known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_and_keeps_what_is_used() {
        let known = Generations::new(4);
        let digest = |text: &str| blake3::hash(text.as_bytes());
        known.put(digest("used"), 0);
        for index in 1..=100 {
            known.put(digest(&index.to_string()), index);
            assert_eq!(known.get(&digest("used"), |_| true), Some(0), "{index}");
        }
        assert_eq!(known.get(&digest("1"), |_| true), None);
        assert_eq!(known.get(&digest("used"), |_| false), None);
        let both = known.both.read().unwrap();
        assert!(both.young.len() <= 4 && both.old.len() <= 4);
    }
}
