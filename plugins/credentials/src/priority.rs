//! The first credential, always, until it cannot serve.

use turnpike_api::{Selector, Slot, Tier};

/// Prefers credentials in configured order.
pub struct Priority;

impl Selector for Priority {
    fn pick(&self, tier: &Tier<'_>) -> Option<Slot> {
        (0..tier.len).find(|&slot| (tier.eligible)(slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conforms() {
        turnpike_api::testing::conforming_selector(&Priority);
    }

    #[test]
    fn keeps_to_the_first() {
        for turn in 0..9 {
            let tier = Tier {
                len: 3,
                turn,
                eligible: &|slot| slot > 0,
            };
            assert_eq!(Priority.pick(&tier), Some(1));
        }
    }
}
