use crate::{Selector, Slot, Tier};

/// Checks a strategy over every tier of up to six slots and every set of eligible ones: it is
/// total, never picks an ineligible slot, and gives the same answer for the same tier.
pub fn conforming_selector(selector: &dyn Selector) {
    for len in 0..=6usize {
        for mask in 0..(1u32 << len) {
            let eligible = |slot: Slot| mask & (1 << slot) != 0;
            for turn in [0, 1, 2, 3, 5, 7, 11, u64::MAX - 1, u64::MAX] {
                let tier = Tier {
                    len,
                    turn,
                    eligible: &eligible,
                };
                let picked = selector.pick(&tier);
                assert_eq!(
                    picked,
                    selector.pick(&tier),
                    "the same tier gave two answers"
                );
                match picked {
                    Some(slot) => {
                        assert!(slot < len, "slot {slot} of a tier of {len}");
                        assert!(eligible(slot), "picked slot {slot}, which is not eligible");
                    }
                    None => assert_eq!(mask, 0, "picked nothing though {mask:b} was eligible"),
                }
            }
        }
    }
}
