//! How long a model's answers are, to know what to expect of a call that gives no bound.

use std::sync::atomic::{AtomicU64, Ordering};

/// Tokens that an answer is expected to have of which nothing is known yet.
const FIRST: u64 = 500;

/// A bound that few answers pass: raised by each that does, lowered a little by every other.
pub struct Answers(AtomicU64);

impl Default for Answers {
    fn default() -> Self {
        Self(AtomicU64::new(FIRST))
    }
}

impl Answers {
    /// Tokens that the next one is expected to have at most.
    pub fn expected(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// One had so many.
    pub fn had(&self, tokens: u64) {
        let expected = self.expected();
        let next = match tokens > expected {
            true => tokens,
            false => expected - (expected - tokens) / 16,
        };
        // Of two at once one may be forgotten: it is an estimate.
        if next != expected {
            self.0.store(next, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_of_late_is_expected() {
        let answers = Answers::default();
        assert_eq!(answers.expected(), FIRST);
        answers.had(4000);
        assert_eq!(answers.expected(), 4000);
        answers.had(0);
        assert_eq!(answers.expected(), 3750);
        (0..200).for_each(|_| answers.had(100));
        assert!((100..120).contains(&answers.expected()));
    }
}
