//! The first credential, always, until it cannot serve.

use turnpike_api::{Selector, Slot, Tier};

/// Prefers credentials in configured order.
pub struct Priority;

impl Selector for Priority {
    fn pick(&self, tier: &Tier<'_>) -> Option<Slot> {
        tier.untried_from(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conforms() {
        turnpike_api::testing::conforming_selector(&Priority);
    }
}
