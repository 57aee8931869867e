use crate::{Selector, Slot, Tier};

/// Checks a strategy over every tier of up to six slots, every set of tried ones, several weights
/// and quotas: it is total, never picks a tried slot, and gives the same answer for the same tier.
pub fn conforming_selector(selector: &dyn Selector) {
    for len in 0..=6usize {
        for weights in weights(len) {
            for mask in 0..(1u32 << len) {
                for turn in [0, 1, 2, 3, 5, 7, 11, u64::MAX - 1, u64::MAX] {
                    for last in [0, 20, 25, u32::MAX] {
                        check(selector, len, &weights, mask, turn, last);
                    }
                }
            }
        }
    }
}

/// None at all, all of one, rising ones, and one that outweighs the rest.
fn weights(len: usize) -> [Vec<u64>; 4] {
    let sums = |weight: fn(usize) -> u64| {
        let mut sum = 0;
        (0..len)
            .map(|slot| {
                sum += weight(slot);
                sum
            })
            .collect()
    };
    [
        Vec::new(),
        sums(|_| 1),
        sums(|slot| slot as u64 + 1),
        sums(|slot| if slot == 1 { 1_000_000 } else { 1 }),
    ]
}

fn check(selector: &dyn Selector, len: usize, weights: &[u64], mask: u32, turn: u64, last: u32) {
    let ids: Vec<u32> = (0..len as u32).map(|slot| 20 + slot * 3).collect();
    let tried = |slot: Slot| mask & (1 << slot) != 0;
    let remaining = |slot: Slot| [u64::MAX, 7, 0, 7, 1 << 40, 3][slot];
    let tier = Tier {
        ids: &ids,
        weights,
        turn,
        last,
        tried: &tried,
        remaining: &remaining,
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
            assert!(!tried(slot), "picked slot {slot}, which was tried");
        }
        None => assert_eq!(
            mask.count_ones() as usize,
            len,
            "picked nothing though only {mask:b} were tried"
        ),
    }
}
