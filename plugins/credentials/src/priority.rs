//! The first credential, always, until it cannot serve.

use turnpike_api::{Selector, Slot, Tier};

/// Prefers credentials in configured order, and goes back to the first as soon as it is ready.
pub struct Priority;

impl Selector for Priority {
    fn pick(&self, tier: &Tier<'_>) -> Option<Slot> {
        tier.untried_from(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tier::Untried;

    #[test]
    fn conforms() {
        turnpike_api::testing::conforming_selector(&Priority);
    }

    #[test]
    fn keeps_to_the_first() {
        let tier = Untried::of(3);
        for turn in 0..9 {
            assert_eq!(tier.pick(&Priority, turn), 0);
            assert_eq!(tier.pick_beside(&Priority, turn, &[0]), Some(1));
        }
    }
}
