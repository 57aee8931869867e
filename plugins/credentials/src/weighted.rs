//! In proportion to the weights.

use turnpike_api::{Selector, Slot, Tier};

/// Spreads requests so that a credential of weight 3 gets three times those of one of weight 1:
/// exactly so over as many turns as the weights' sum, while the tier stays the same.
pub struct Weighted;

/// A prime larger than any sum of weights, which are at most 1,000 each: multiplied by it, the tickets of one round come in
/// another order, each of them once.
const STRIDE: u64 = (1 << 31) - 1;

impl Selector for Weighted {
    fn pick(&self, tier: &Tier<'_>) -> Option<Slot> {
        let Some(&sum) = tier.weights.last() else {
            let start = tier.turn.checked_rem(tier.ids.len() as u64)?;
            return tier.untried_from(start as usize);
        };
        let nth = tier.turn.checked_rem(sum)?;
        let ticket = nth.wrapping_mul(STRIDE) % sum;
        tier.untried_from(holder(tier.weights, ticket, sum))
    }
}

/// The first slot whose sum is above `ticket`. Looked for from where it would be if all weights
/// were the same, which is near where it is.
fn holder(sums: &[u64], ticket: u64, sum: u64) -> Slot {
    let guess = (u128::from(ticket) * sums.len() as u128 / u128::from(sum)) as usize;
    let (mut from, mut to) = (0, sums.len());
    let mut step = 1;
    if sums[guess] > ticket {
        to = guess + 1;
        while let Some(low) = to.checked_sub(step + 1)
            && sums[low] > ticket
        {
            to = low + 1;
            step *= 2;
        }
        from = to.saturating_sub(step + 1).max(from);
    } else {
        from = guess + 1;
        while let Some(&above) = sums.get(from + step)
            && above <= ticket
        {
            from += step + 1;
            step *= 2;
        }
        to = to.min(from + step + 1);
    }
    from + sums[from..to].partition_point(|&sum| sum <= ticket)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tier::Untried;

    #[test]
    fn conforms() {
        turnpike_api::testing::conforming_selector(&Weighted);
    }

    #[test]
    fn weights_are_shares() {
        let counts = Untried::weighing(&[3, 1]).counts(&Weighted, 40);
        assert_eq!(counts, [30, 10]);
        let counts = Untried::weighing(&[1, 5, 4]).counts(&Weighted, 1_000);
        assert_eq!(counts, [100, 500, 400]);
        assert_eq!(Untried::of(4).counts(&Weighted, 400), [100; 4]);
    }

    proptest! {
        /// A round gives everyone exactly its weight, from whatever turn on.
        #[test]
        fn a_round_is_exact(
            weights in prop::collection::vec(1u64..50, 1..80),
            start in 0u64..1_000_000,
        ) {
            let tier = Untried::weighing(&weights);
            let sum: u64 = weights.iter().sum();
            let mut counts = vec![0; weights.len()];
            for turn in start * sum..(start + 1) * sum {
                counts[tier.pick(&Weighted, turn)] += 1;
            }
            prop_assert_eq!(counts, weights);
        }
    }
}
