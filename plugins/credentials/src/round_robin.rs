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

    #[test]
    fn conforms() {
        turnpike_api::testing::conforming_selector(&RoundRobin);
    }
}
