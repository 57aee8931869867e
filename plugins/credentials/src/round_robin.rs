//! Each request starts with the credential after the one its predecessor started with.

use turnpike_api::{Selector, Slot, Tier};

/// Spreads requests evenly over the tier.
pub struct RoundRobin;

impl Selector for RoundRobin {
    fn pick(&self, tier: &Tier<'_>) -> Option<Slot> {
        let start = tier.turn.checked_rem(tier.len as u64)? as usize;
        (start..tier.len)
            .chain(0..start)
            .find(|&slot| (tier.eligible)(slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conforms() {
        turnpike_api::testing::conforming_selector(&RoundRobin);
    }

    #[test]
    fn is_even() {
        let mut picked = [0; 3];
        for turn in 0..300 {
            let tier = Tier {
                len: 3,
                turn,
                eligible: &|_| true,
            };
            picked[RoundRobin.pick(&tier).unwrap()] += 1;
        }
        assert_eq!(picked, [100; 3]);
    }
}
