//! What a credential has used of its quota in the period that runs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Tokens of one credential.
///
/// Periods are told apart by when they began, so that a new one needs no reset: what was used
/// before simply belongs to another.
#[derive(Default)]
pub struct Allowance {
    period: Mutex<Running>,
    /// As in `period`, to be read without the lock.
    spent: AtomicU64,
    ends: AtomicU64,
    /// What the running calls are expected to use.
    expected: AtomicU64,
}

/// The period that runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Running {
    /// In milliseconds since 1970.
    pub start: u64,
    /// The first millisecond after it; `u64::MAX` = it never ends, 0 = none has begun.
    pub end: u64,
    /// Tokens used, `before` among them.
    pub spent: u64,
    /// Tokens that somebody else had counted before this gateway did.
    pub before: u64,
    /// Of these: what an operator's reset has taken off.
    pub forgiven: u64,
    /// Of the other tokens, where replicas count them together: likewise.
    pub forgiven_of_all: u64,
    /// What was forgiven of a period that has not begun by this machine's clock: its start, and as
    /// above.
    ahead: Option<(u64, u64, u64)>,
}

impl Running {
    /// What others had counted and still counts.
    fn others(&self) -> u64 {
        self.before.saturating_sub(self.forgiven)
    }
}

impl Running {
    fn forgive(&mut self, start: u64, before: u64, of_all: u64) {
        if self.start < start || self.end == 0 {
            self.ahead = Some((start, before, of_all));
        } else if self.start == start {
            let others = self.others();
            self.forgiven = self.forgiven.max(before.min(self.before));
            let more = of_all.saturating_sub(self.forgiven_of_all);
            self.forgiven_of_all += more;
            let less = (others - self.others()).saturating_add(more);
            self.spent = self.spent.saturating_sub(less);
        }
    }
}

impl Allowance {
    /// Whether another period has begun by now.
    pub fn is_over(&self, now: u64) -> bool {
        now >= self.ends.load(Ordering::Acquire)
    }

    /// Begins a period, unless it is the one that runs, with what is known to be used of it: what
    /// this gateway counted, and what others had before.
    pub fn begin(&self, start: u64, end: u64, counted: u64, before: u64) {
        let mut running = self.lock();
        if running.end == 0 || running.start != start {
            let spent = counted.saturating_add(before);
            let ahead = running.ahead;
            *running = Running {
                start,
                end,
                spent,
                before,
                ..Running::default()
            };
            if let Some((of, before, of_all)) = ahead {
                running.forgive(of, before, of_all);
            }
            self.spent.store(running.spent, Ordering::Release);
        }
        running.end = end;
        self.ends.store(end, Ordering::Release);
    }

    /// Others had counted this much of the period that began at `start`, not what was known.
    pub fn recount(&self, start: u64, before: u64) {
        let mut running = self.lock();
        if running.start == start {
            let counted = running.spent - running.others().min(running.spent);
            running.before = before;
            running.forgiven = running.forgiven.min(before);
            running.spent = counted.saturating_add(running.others());
            self.spent.store(running.spent, Ordering::Release);
        }
    }

    /// Nothing is used of the period that runs, whoever counted it.
    pub fn reset(&self) {
        let mut running = self.lock();
        running.forgiven = running.before;
        running.spent = 0;
        self.spent.store(0, Ordering::Release);
    }

    /// An operator's reset on any replica: of the period that began at `start`, so much is not
    /// counted of what others had before, and of what all replicas count. Told twice, it is one.
    pub fn forgive(&self, start: u64, before: u64, of_all: u64) {
        let mut running = self.lock();
        running.forgive(start, before, of_all);
        self.spent.store(running.spent, Ordering::Release);
    }

    /// What was forgiven of the period that runs: its start, and as [`forgive`](Self::forgive) was told.
    pub fn forgiven(&self) -> Option<(u64, u64, u64)> {
        let running = self.lock();
        let (before, of_all) = (running.forgiven, running.forgiven_of_all);
        (before > 0 || of_all > 0).then_some((running.start, before, of_all))
    }

    /// All replicas together have counted this much of the period that began at `start`. Answers with
    /// what counts by now, and what did before.
    pub fn heard(&self, start: u64, counted: u64) -> (u64, u64) {
        let mut running = self.lock();
        let known = running.spent;
        if running.start == start {
            let counted = counted.saturating_sub(running.forgiven_of_all);
            running.spent = counted.saturating_add(running.others());
            self.spent.store(running.spent, Ordering::Release);
        }
        (running.spent, known)
    }

    /// How much all replicas may count in the period that began at `start`, where `limit` is what may be
    /// used of it and `before` was, by others.
    pub fn ceiling(&self, start: u64, limit: u64, before: u64) -> u64 {
        let running = self.lock();
        let (forgiven, of_all) = match running.start == start {
            true => (running.forgiven, running.forgiven_of_all),
            false => (0, 0),
        };
        let others = before.saturating_sub(forgiven);
        limit.saturating_sub(others).saturating_add(of_all)
    }

    /// Counts tokens, and answers with the period they are counted in: its start goes with them
    /// into the ledger.
    pub fn spend(&self, tokens: u64) -> Running {
        let mut running = self.lock();
        running.spent = running.spent.saturating_add(tokens);
        self.spent.store(running.spent, Ordering::Release);
        *running
    }

    pub fn running(&self) -> Running {
        *self.lock()
    }

    /// Tokens used.
    pub fn spent(&self) -> u64 {
        self.spent.load(Ordering::Acquire)
    }

    /// What is left of `limit` once the running calls have used what they are expected to.
    pub fn left_of(&self, limit: Option<u64>) -> u64 {
        limit.map_or(u64::MAX, |limit| {
            let expected = self.expected.load(Ordering::Relaxed);
            limit.saturating_sub(self.spent().saturating_add(expected))
        })
    }

    /// A call begins that is expected to use so much.
    pub fn expect(&self, tokens: u64) {
        self.expected.fetch_add(tokens, Ordering::Relaxed);
    }

    /// That call is over.
    pub fn expect_no_more(&self, tokens: u64) {
        self.expected.fetch_sub(tokens, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.period.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_begins_with_what_is_known_of_it() {
        let allowance = Allowance::default();
        assert!(allowance.is_over(0));
        allowance.begin(100, 200, 5, 2);
        assert!(!allowance.is_over(199));
        assert_eq!(allowance.spend(5).start, 100);
        // Begun by somebody else in the meantime.
        allowance.begin(100, 200, 0, 0);
        assert_eq!(allowance.spent(), 12);
        // Of the period before.
        allowance.recount(0, 50);
        assert_eq!(allowance.spent(), 12);
        allowance.recount(100, 3);
        allowance.recount(100, 3);
        assert_eq!(allowance.spent(), 13);
        assert!(allowance.is_over(200));
        allowance.begin(200, u64::MAX, 0, 0);
        assert_eq!(allowance.spent(), 0);
        assert!(!allowance.is_over(u64::MAX - 1));
    }

    #[test]
    fn a_reset_counts_for_what_others_had_counted_too() {
        let allowance = Allowance::default();
        allowance.begin(0, 100, 5, 40);
        allowance.reset();
        assert_eq!(allowance.spent(), 0);
        allowance.spend(3);
        // As after every reload: others say the same as before the reset, then more.
        allowance.recount(0, 40);
        assert_eq!(allowance.spent(), 3);
        allowance.recount(0, 42);
        assert_eq!(allowance.spent(), 5);
        allowance.recount(0, 0);
        allowance.recount(0, 7);
        assert_eq!(allowance.spent(), 10);
        allowance.begin(100, 200, 0, 0);
        allowance.recount(100, 9);
        assert_eq!(allowance.spent(), 9);
    }

    #[test]
    fn replicas_count_together_and_forgive_together() {
        let allowance = Allowance::default();
        allowance.begin(100, 200, 0, 40);
        assert_eq!(allowance.ceiling(100, 1_000, 40), 960);
        // Its own call, then what all have by now, that one among them.
        allowance.spend(10);
        assert_eq!(allowance.heard(100, 35), (75, 50));
        assert_eq!(allowance.forgiven(), None);
        allowance.forgive(100, 40, 35);
        allowance.forgive(100, 40, 35);
        assert_eq!(allowance.forgiven(), Some((100, 40, 35)));
        assert_eq!(allowance.spent(), 0);
        assert_eq!(allowance.ceiling(100, 1_000, 40), 1_035);
        assert_eq!(allowance.heard(100, 55), (20, 0));
        // Of another period.
        allowance.heard(0, 5_000);
        allowance.forgive(0, 0, 5_000);
        assert_eq!(allowance.spent(), 20);
        assert_eq!(allowance.ceiling(200, 1_000, 0), 1_000);
        // Of the next one, by a clock that is ahead.
        allowance.forgive(200, 0, 7);
        assert_eq!(allowance.spent(), 20);
        allowance.begin(200, 300, 9, 0);
        assert_eq!(allowance.spent(), 2);
    }

    #[test]
    fn running_calls_take_from_what_is_left() {
        let allowance = Allowance::default();
        allowance.begin(0, 100, 30, 0);
        allowance.expect(50);
        assert_eq!(allowance.left_of(Some(100)), 20);
        assert_eq!(allowance.left_of(Some(60)), 0);
        assert_eq!(allowance.left_of(None), u64::MAX);
        allowance.expect_no_more(50);
        assert_eq!(allowance.left_of(Some(100)), 70);
    }
}
