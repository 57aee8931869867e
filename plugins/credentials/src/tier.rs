//! Tiers to try strategies on.

use turnpike_api::{Selector, Slot, Tier};

/// A tier of `len` credentials of which none was tried.
pub(crate) struct Untried {
    pub(crate) ids: Vec<u32>,
    pub(crate) weights: Vec<u64>,
    pub(crate) remaining: Vec<u64>,
    pub(crate) last: u32,
}

impl Untried {
    pub(crate) fn of(len: u32) -> Self {
        Self {
            ids: (0..len).collect(),
            weights: Vec::new(),
            remaining: vec![u64::MAX; len as usize],
            last: 0,
        }
    }

    pub(crate) fn weighing(weights: &[u64]) -> Self {
        let mut sum = 0;
        let sums = weights.iter().map(|weight| {
            sum += weight;
            sum
        });
        Self {
            weights: sums.collect(),
            ..Self::of(weights.len() as u32)
        }
    }

    pub(crate) fn pick(&self, selector: &dyn Selector, turn: u64) -> Slot {
        self.pick_beside(selector, turn, &[]).unwrap()
    }

    pub(crate) fn pick_beside(
        &self,
        selector: &dyn Selector,
        turn: u64,
        tried: &[Slot],
    ) -> Option<Slot> {
        selector.pick(&Tier {
            ids: &self.ids,
            weights: &self.weights,
            turn,
            last: self.last,
            tried: &|slot| tried.contains(&slot),
            remaining: &|slot| self.remaining[slot],
        })
    }

    /// How often each slot is picked in `turns` turns.
    pub(crate) fn counts(&self, selector: &dyn Selector, turns: u64) -> Vec<u64> {
        let mut counts = vec![0; self.ids.len()];
        (0..turns).for_each(|turn| counts[self.pick(selector, turn)] += 1);
        counts
    }
}
