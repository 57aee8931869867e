//! The credential with the most tokens left.

use turnpike_api::{Selector, Slot, Tier};

/// As many are compared. In a larger tier one is drawn from each of eight equal parts of it, so
/// that the cost stays the same.
const COMPARED: usize = 8;

/// Empties quotas evenly. Credentials without a quota have the most left, and take turns.
pub struct QuotaAware;

impl Selector for QuotaAware {
    fn pick(&self, tier: &Tier<'_>) -> Option<Slot> {
        let parts = tier.ids.len().min(COMPARED);
        let first = tier.turn.checked_rem(parts as u64)? as usize;
        let drawn = (first..parts).chain(0..first);
        let mut fullest: Option<(u64, Slot)> = None;
        for slot in drawn.map(|part| draw(tier, part, parts)) {
            let remaining = (tier.remaining)(slot);
            if fullest.is_none_or(|(most, _)| remaining > most) && !(tier.tried)(slot) {
                fullest = Some((remaining, slot));
            }
        }
        match fullest {
            Some((_, slot)) => Some(slot),
            None => tier.untried_from(first),
        }
    }
}

/// This turn's slot of a part. Each part moves on in an order of its own: in step, the same few
/// would meet again and again, and never be compared with the others.
fn draw(tier: &Tier<'_>, part: usize, parts: usize) -> Slot {
    let len = tier.ids.len();
    let start = part * len / parts;
    let end = (part + 1) * len / parts;
    let mixed = scatter(tier.turn ^ scatter(part as u64 + 1));
    start + (mixed % (end - start) as u64) as usize
}

/// SplitMix64's finalizer: neighbouring numbers become unlike each other.
fn scatter(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tier::Untried;

    #[test]
    fn conforms() {
        turnpike_api::testing::conforming_selector(&QuotaAware);
    }

    #[test]
    fn the_most_left_comes_first() {
        let mut tier = Untried::of(4);
        tier.remaining = vec![5, 900, 20, 899];
        for turn in 0..9 {
            assert_eq!(tier.pick(&QuotaAware, turn), 1);
            assert_eq!(tier.pick_beside(&QuotaAware, turn, &[1]), Some(3));
        }
    }

    #[test]
    fn without_quotas_they_take_turns() {
        let counts = Untried::of(5).counts(&QuotaAware, 500);
        assert_eq!(counts, [100; 5]);
    }

    #[test]
    fn the_fullest_of_a_large_tier_is_found_often() {
        let mut tier = Untried::of(1_000);
        tier.remaining = vec![1; 1_000];
        tier.remaining[777] = 2;
        let found = (0..10_000)
            .filter(|&turn| tier.pick(&QuotaAware, turn) == 777)
            .count();
        // Eight times as often as by turns.
        assert!((60..=100).contains(&found), "{found}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// From any start, once as much was used as it takes to level the quotas, what is left is
        /// even to 5 % of the average.
        #[test]
        fn what_is_left_becomes_even(
            limits in prop::collection::vec(200_000u64..1_000_000, 2..60),
            sizes in prop::collection::vec(1u64..2_000, 16),
        ) {
            let mut tier = Untried::of(limits.len() as u32);
            tier.remaining = limits.clone();
            let smallest = limits.iter().min().copied().unwrap_or_default();
            let mut turn = 0;
            // Down to half of the smallest: everyone has had to give.
            while tier.remaining.iter().sum::<u64>() > smallest / 2 * limits.len() as u64 {
                let slot = tier.pick(&QuotaAware, turn);
                let size = sizes[turn as usize % sizes.len()];
                tier.remaining[slot] = tier.remaining[slot].saturating_sub(size);
                turn += 1;
            }
            let average = tier.remaining.iter().sum::<u64>() / limits.len() as u64;
            for left in tier.remaining {
                prop_assert!(left.abs_diff(average) * 20 <= average, "{left} of {average}");
            }
        }
    }
}
