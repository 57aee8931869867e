//! Each request starts with the credential after the one its predecessor started with.

use turnpike_api::{Selector, Slot, Tier};

/// Spreads requests evenly over the tier.
pub struct RoundRobin;

impl Selector for RoundRobin {
    fn pick(&self, tier: &Tier<'_>) -> Option<Slot> {
        let start = tier.turn.checked_rem(tier.ids.len() as u64)?;
        tier.untried_from(start as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tier::Untried;

    #[test]
    fn conforms() {
        turnpike_api::testing::conforming_selector(&RoundRobin);
    }

    #[test]
    fn takes_turns() {
        let tier = Untried::of(3);
        let picked: Vec<Slot> = (0..6).map(|turn| tier.pick(&RoundRobin, turn)).collect();
        assert_eq!(picked, [0, 1, 2, 0, 1, 2]);
    }
}
