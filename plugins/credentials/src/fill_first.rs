//! One credential until it cannot serve, then the next one, and that until it cannot.

use turnpike_api::{Selector, Slot, Tier};

/// Stays with the credential that served last.
///
/// One that comes back waits until the round gets to it: going back at once would cost the prompt
/// cache of the one that serves now, every time a short cooldown ends.
pub struct FillFirst;

impl Selector for FillFirst {
    fn pick(&self, tier: &Tier<'_>) -> Option<Slot> {
        tier.untried_from(at_or_after(tier.last, tier.ids))
    }
}

/// Where `last` is, or the one that follows it; round the end.
fn at_or_after(last: u32, ids: &[u32]) -> Slot {
    let guess = last as usize;
    // While all of a tier are ready, ids and slots are the same.
    if ids.get(guess) == Some(&last) {
        return guess;
    }
    let next = ids.partition_point(|&id| id < last);
    if next < ids.len() { next } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tier::Untried;

    #[test]
    fn conforms() {
        turnpike_api::testing::conforming_selector(&FillFirst);
    }

    #[test]
    fn stays_with_the_last_and_goes_round() {
        let mut tier = Untried::of(3);
        tier.ids = vec![2, 4, 7];
        for (last, expected) in [(2, 0), (4, 1), (7, 2), (3, 1), (5, 2), (8, 0), (0, 0)] {
            tier.last = last;
            assert_eq!(tier.pick(&FillFirst, 5), expected, "after {last}");
        }
        tier.last = 7;
        assert_eq!(tier.pick_beside(&FillFirst, 5, &[2]), Some(0));
    }
}
