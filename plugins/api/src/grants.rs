//! How replicas share a limit without asking for every call: each draws from it ahead of need, and
//! admits from what it was granted.

use std::sync::Arc;

use crate::Period;

/// What a replica says of one bucket when it draws from it. A bucket is a limit and a subject of it.
///
/// What it says is absolute, so that it may be said again: a store that lost an answer, or all it
/// knew, is put right by the next draw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draw {
    /// The bucket's name. The part before the first `|` is the tenant's: what a store spreads over
    /// several machines stays together by it.
    pub bucket: Arc<str>,
    /// The period that is drawn from.
    pub period: Period,
    /// What is granted comes back: calls that run, not calls that were made. Of a replica that
    /// ended, it comes back once its lease has; otherwise it counts as used.
    pub returns: bool,
    /// The limit.
    pub most: u64,
    /// Grows with every draw of this replica on this bucket and period. A store that has seen a later
    /// one changes nothing and grants nothing: this one was held up on its way.
    pub turn: u64,
    /// All that the replica was granted and has not given back, and what it used beyond that.
    pub total: u64,
    /// Of these: what calls that are over have used.
    pub used: u64,
    /// With less than this, nobody who waits is helped; at most `need`.
    pub least: u64,
    /// So much is waited for.
    pub need: u64,
    /// So much would spare it the next draws; never less than `need`.
    pub want: u64,
}

impl Draw {
    /// What is to be granted where others have drawn `others`, and there are so many replicas.
    ///
    /// What is waited for first. Ahead of need, no more than half of an equal share of what is left
    /// then: the nearer the limit, the smaller, until the last units go to who needs them. What helps
    /// nobody here is left for others: rests at many replicas would be of no use to any.
    pub fn grant(&self, others: u64, replicas: u32) -> u64 {
        let left = self.left(others);
        if left < self.least {
            return 0;
        }
        if left <= self.need {
            return left;
        }
        let spare = (left - self.need) / (2 * u64::from(replicas.max(1)));
        self.need + spare.min(self.want.saturating_sub(self.need))
    }

    /// What is left of the limit.
    pub fn left(&self, others: u64) -> u64 {
        self.most.saturating_sub(others.saturating_add(self.total))
    }
}

/// What a replica got of one bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// So much more may be admitted.
    pub units: u64,
    /// What nobody was granted.
    pub left: u64,
    /// What all replicas have used, by what they last said; the one that draws, by this draw.
    pub used: u64,
}

/// A store's answer to draws.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drawn {
    /// In the order of the draws.
    pub grants: Vec<Grant>,
    /// The store's time, in milliseconds since 1970. Periods begin and end by it.
    pub now: u64,
    /// How many replicas share the store.
    pub replicas: u32,
    /// Another one than before: the store has lost what it knew, and is to be told everything again.
    pub epoch: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(most: u64, total: u64, least: u64, need: u64, want: u64) -> Draw {
        Draw {
            bucket: "|b|a".into(),
            period: Period::ENDLESS,
            returns: false,
            most,
            turn: 1,
            total,
            used: 0,
            least,
            need,
            want,
        }
    }

    #[test]
    fn what_is_needed_comes_first_and_the_rest_is_shared() {
        for (most, others, total, need, want, replicas, expected) in [
            (100, 0, 0, 1, 1, 1, 1),
            (100, 0, 0, 1, 1000, 1, 1 + 49),
            (100, 0, 0, 1, 1000, 4, 1 + 12),
            (100, 0, 0, 1, 5, 4, 5),
            (100, 90, 9, 5, 50, 4, 1),
            (100, 90, 10, 5, 50, 4, 0),
            (100, 190, 10, 5, 50, 4, 0),
            (100, 0, 99, 0, 50, 1, 0),
            (u64::MAX, 0, 0, 1, u64::MAX, 0, 1 + (u64::MAX - 1) / 2),
        ] {
            let granted = draw(most, total, 0, need, want).grant(others, replicas);
            assert_eq!(granted, expected, "{most} {others} {total} {need} {want}");
        }
    }

    #[test]
    fn what_helps_nobody_is_left() {
        for (others, least, need, want, expected) in [
            (50, 50, 120, 200, 50),
            (51, 50, 120, 200, 0),
            (51, 50, 50, 50, 0),
            (50, 50, 50, 60, 50),
            (0, 50, 50, 200, 50 + 12),
        ] {
            let granted = draw(100, 0, least, need, want).grant(others, 2);
            assert_eq!(granted, expected, "{others} {least} {need} {want}");
        }
    }
}
