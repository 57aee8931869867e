//! The different secrets of one token that wait to be checked.
//!
//! Requests with the same secret cost one computation, however many they are: after a restart an
//! application comes with all its workers at once. Different ones cost a computation each, so their
//! number is what has to be bounded.

use std::sync::{Mutex, PoisonError};

use blake3::Hash;

/// As many different secrets of one token may wait.
const MOST: usize = 16;

#[derive(Default)]
pub(super) struct Guesses {
    /// Each with how many requests wait for it.
    waiting: Mutex<Vec<(Hash, usize)>>,
}

/// A request that waits for its secret's check.
pub(super) struct Guess<'g> {
    of: &'g Guesses,
    digest: Hash,
}

impl Guesses {
    /// One more request that waits for this secret; none where others wait for too many others.
    pub(super) fn wait(&self, digest: Hash) -> Option<Guess<'_>> {
        self.with(|waiting| {
            match waiting.iter().position(|(known, _)| *known == digest) {
                Some(at) => waiting[at].1 += 1,
                None if waiting.len() >= MOST => return None,
                None => waiting.push((digest, 1)),
            }
            Some(Guess { of: self, digest })
        })
    }

    fn with<T>(&self, change: impl FnOnce(&mut Vec<(Hash, usize)>) -> T) -> T {
        change(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Guess<'_> {
    fn drop(&mut self) {
        self.of.with(|waiting| {
            let at = waiting.iter().position(|(known, _)| *known == self.digest);
            let Some(at) = at else { return };
            waiting[at].1 -= 1;
            if waiting[at].1 == 0 {
                waiting.swap_remove(at);
            }
        });
    }
}
