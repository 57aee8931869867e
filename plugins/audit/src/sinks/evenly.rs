//! Time that does not leap: a clock that was wrong must not have a receiver confirm at once.

/// Milliseconds that have passed, as far as somebody has looked.
pub(super) struct Evenly {
    /// What the clock said last.
    seen: u64,
    passed: u64,
    /// No more passes from one look to the next.
    most: u64,
}

impl Evenly {
    pub(super) fn new(now: u64, most: u64) -> Self {
        Self {
            seen: now,
            passed: 0,
            most,
        }
    }

    /// How many there were since it began. A clock that is put back makes none, and one that leaps
    /// forward few.
    pub(super) fn look(&mut self, now: u64) -> u64 {
        self.passed += now.saturating_sub(self.seen).min(self.most);
        self.seen = now;
        self.passed
    }
}
